package e2e

import (
	"context"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// lease is that of the nodes of these tests.
const lease = 4 * time.Second

const operator = "operator-of-the-tests"

// nodes is a few servers on one PostgreSQL behind a round-robin proxy, with a
// load that goes on whatever happens to them, and a sink for each callback. There
// are two callbacks for each API key, so that the keys have different homes.
type nodes struct {
	t      *testing.T
	pg     *pgtest.Server
	url    string // of the database
	lease  time.Duration
	binary string // what c.serve starts
	keyset string
	extra  []string         // options of the nodes that c.serve starts
	cl     *client.Client   // of the first key
	keys   []*client.Client // by key ID - 1
	proxy  *httptest.Server
	sinks  []*sink // by callback ID - 1; the callback is of key keyOf
	loads  []*load // by key ID - 1
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	up   []*server
	next int

	// broken counts, for each attempt, the disturbances that found it made
	// and not recorded.
	broken []map[try]int
}

func newNodes(t *testing.T, n, callbacks int, pgSettings ...string) *nodes {
	t.Helper()
	pg, err := pgtest.Start(pgSettings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	return newNodesOn(t, pg, pg.Schema(t), lease, n, callbacks)
}

func newNodesOn(t *testing.T, pg *pgtest.Server, db string, lease time.Duration, n, callbacks int) *nodes {
	t.Helper()
	return newNodesBy(t, binary, pg, db, lease, n, callbacks)
}

// newNodesBy begins with nodes of the binary of any version.
func newNodesBy(t *testing.T, bin string, pg *pgtest.Server, db string, lease time.Duration, n, callbacks int) *nodes {
	t.Helper()
	c := &nodes{t: t, pg: pg, url: db, lease: lease, binary: bin, keyset: filepath.Join(t.TempDir(), "keys.json"), up: make([]*server, n)}
	for range max(1, callbacks/2) {
		c.newKey()
	}
	c.cl = c.keys[0]
	for i := range n {
		c.up[i] = c.serve(c.url)
	}
	c.proxy = httptest.NewServer(http.HandlerFunc(c.forward))
	t.Cleanup(c.proxy.Close)
	for _, cl := range c.keys {
		cl.Base = c.proxy.URL
	}
	for i := range callbacks {
		sk := newSink(t)
		sk.answer = func(_ context.Context, a try, _ int64) int {
			if a.n == 1 && crc32.ChecksumIEEE([]byte(a.id))%11 == 0 { // scattered: the breaker stays shut
				return 503
			}
			return 200
		}
		c.sinks, c.broken = append(c.sinks, sk), append(c.broken, map[try]int{})
		if _, err := c.keys[c.keyOf(i)].CreateCallback(t.Context(), client.NewCallback{Event: event, URL: sk.URL, Name: fmt.Sprint("c", i), Retry: []string{"0s", "100ms", "200ms", "500ms", "1s", "1s", "2s", "5s", "5s"}}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// newKey makes an API key, whose client publishes through the proxy once that runs.
func (c *nodes) newKey() *client.Client {
	cl := newClientBy(c.t, c.binary, "", c.on()...)
	if c.proxy != nil {
		cl.Base = c.proxy.URL
	}
	c.keys = append(c.keys, cl)
	return cl
}

// keyOf returns the index of the key of the callback with an index.
func (c *nodes) keyOf(callback int) int { return callback % len(c.keys) }

// on is the options that name the database.
func (c *nodes) on() []string { return []string{"--database-url", c.url, "--secret-keys", c.keyset} }

func (c *nodes) serve(db string) *server {
	c.t.Helper()
	return listening(c.t, start(c.t, c.command(db)))
}

func (c *nodes) command(db string) *exec.Cmd {
	args := []string{"serve", "--listen", "127.0.0.1:0", "--database-url", db, "--secret-keys", c.keyset,
		"--allow-target", "127.0.0.0/8", "--log-level", "warn", "--lease", c.lease.String(), "--grace", "5s", "--operator-token", operator}
	return by(c.binary, command(append(args, c.extra...)...))
}

// forward takes a request to the next node.
func (c *nodes) forward(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.next++
	to, err := url.Parse(c.up[c.next%len(c.up)].url)
	c.mu.Unlock()
	if err != nil {
		panic(err)
	}
	p := httputil.NewSingleHostReverseProxy(to)
	p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p.ServeHTTP(w, r)
}

func (c *nodes) node(i int) *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up[i]
}

func (c *nodes) replace(i int, s *server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up[i] = s
}

// begin starts the load.
func (c *nodes) begin() {
	ctx, stop := context.WithCancel(c.t.Context())
	c.stop = stop
	for range c.keys {
		l := &load{wake: c.sinks[0].wake}
		l.base.Store(&c.proxy.URL)
		c.loads = append(c.loads, l)
	}
	for w := range 6 {
		key := (w + w/3) % len(c.keys) // each key gets several kinds of load
		l, cl := c.loads[key], *c.keys[key]
		cl.HTTP = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
		publish := []func(context.Context, client.Client, func(int) string){l.single, l.batches, l.repeats}[w%3]
		c.work.Go(func() { publish(ctx, cl, func(i int) string { return fmt.Sprintf("S%d-%d", w, i%5) }) })
	}
}

// more waits until n more events are acknowledged.
func (c *nodes) more(n int64) {
	c.t.Helper()
	want := c.acked() + n
	c.sinks[0].await(c.t, "the load goes on", func() bool { return c.acked() >= want })
}

// acked returns how many events were acknowledged.
func (c *nodes) acked() (n int64) {
	for _, l := range c.loads {
		n += l.n.Load()
	}
	return n
}

func (c *nodes) query(sql string, row func(pgx.Rows) error, args ...any) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(c.t.Context(), sql, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
}

// disturbed notes what was sent and is not recorded, a moment after a node
// was disturbed and before another may have taken over: those attempts may be
// made once more.
func (c *nodes) disturbed() {
	c.t.Helper()
	<-time.After(lease / 8) // what is on the wire arrives; nobody has taken over yet
	made := make([]map[try]bool, len(c.sinks))
	for i, sk := range c.sinks {
		made[i] = map[try]bool{}
		sk.mu.Lock()
		for a := range sk.tries {
			made[i][a] = true
		}
		sk.mu.Unlock()
	}
	c.query("SELECT event_id, callback_no, n FROM attempts WHERE version > 0", func(r pgx.Rows) error {
		var ev, id int64
		var n int
		err := r.Scan(&ev, &id, &n)
		delete(made[id-1], try{callbackd.EventID(ev).String(), n})
		return err
	})
	for i := range made {
		for a := range made[i] {
			c.broken[i][a]++
		}
	}
}

// owners returns how many shards each node has, by its ID; 0: they have no owner.
func (c *nodes) owners() map[int64]int {
	out := map[int64]int{}
	c.query("SELECT coalesce(node, 0), count(*) FROM shards GROUP BY 1", func(r pgx.Rows) error {
		var id int64
		var n int
		err := r.Scan(&id, &n)
		out[id] = n
		return err
	})
	return out
}

// shared waits until n nodes share all shards evenly.
func (c *nodes) shared(n int) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		own := c.owners()
		even := len(own) == n
		for id, shards := range own {
			even = even && id != 0 && shards >= callbackd.Shards/n && shards <= callbackd.Shards/n+1
		}
		if even {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			c.t.Fatalf("not shared by %d nodes: %v", n, own)
		}
	}
}

// stopAll stops the nodes.
func (c *nodes) stopAll() {
	c.t.Helper()
	for i := range c.up {
		if code := c.node(i).term(c.t); code != 0 {
			c.t.Errorf("node %d ends with %d: %s", i, code, c.node(i).log)
		}
	}
}

// fsck proves what the nodes left.
func (c *nodes) fsck() {
	c.t.Helper()
	out, errs, code := run(c.t, append([]string{"fsck"}, c.on()...)...)
	if code != 0 {
		c.t.Errorf("fsck: %s%s", out, errs)
	}
}

// balanced checks from outside that every accepted delivery is pending or has ended. One
// of the nodes reports that.
func (c *nodes) balanced() {
	c.t.Helper()
	eventually(c.t, "every accepted delivery is pending or has ended", func() bool {
		all := series{}
		for i := range c.up {
			if srv := c.node(i); srv != nil && srv.cmd.ProcessState == nil {
				for name, n := range scraped(c.t, srv) {
					all[name] = max(all[name], n)
				}
			}
		}
		return all.sum(delivered) > 0 && all.unexplained() == 0
	})
}

// proven ends the load and checks the promises.
func (c *nodes) proven() {
	c.t.Helper()
	c.stop()
	c.work.Wait()
	for i, sk := range c.sinks {
		sk.await(c.t, fmt.Sprint("every acknowledged event arrives at ", i), func() bool {
			all := true
			c.loads[c.keyOf(i)].acked.Range(func(id, _ any) bool { all = sk.ids[id.(string)] > 0; return all })
			return all
		})
	}
	c.balanced()
	c.stopAll()
	repeats := 0
	for i, sk := range c.sinks {
		sk.mu.Lock()
		sk.inOrder(c.t)
		for a, n := range sk.tries {
			repeats += n - 1
			if n > 1+c.broken[i][a] {
				c.t.Errorf("callback %d: attempt %d of %s was made %d times, the last two %v apart, and %d disturbances broke it off", i+1, a.n, a.id, n, sk.apart[a], c.broken[i][a])
			}
		}
		for once, ids := range sk.once {
			if len(ids) != 1 {
				c.t.Errorf("%s exists %d times", once, len(ids))
			}
		}
		sk.mu.Unlock()
	}
	c.fsck()
	c.t.Logf("%d acknowledged, %d attempts repeated", c.acked(), repeats)
}

// The promises 1, 3 and 4 of README.md hold with nodes that die, sleep through their lease,
// and are replaced one after the other, while the load goes on.
func TestNodesSurviveEachOther(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 3, 6)
	c.shared(3)
	c.begin()
	c.more(300)

	t.Log("kill -9")
	c.node(0).kill()
	c.disturbed()
	c.shared(2)
	c.more(100)
	c.replace(0, c.serve(c.url))
	c.shared(3)
	c.more(100)

	t.Log("a node sleeps for three leases")
	zombie := c.node(1)
	if err := zombie.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.disturbed()
	c.shared(2)
	c.more(50)
	<-time.After(2 * lease)
	zombie.cmd.Process.Signal(syscall.SIGCONT)
	c.shared(3)
	c.more(100)

	t.Log("PostgreSQL crashes")
	if err := c.pg.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	c.pg.Wait()
	if err := c.pg.Run(); err != nil {
		t.Fatal(err)
	}
	c.disturbed() // afterwards, because nodes go on sending until they notice
	c.more(100)

	t.Log("a rolling restart")
	for i := range c.up {
		begun := time.Now()
		old := c.node(i)
		fresh := c.serve(c.url)
		c.replace(i, fresh)
		if code := old.term(t); code != 0 {
			t.Errorf("node %d ends with %d: %s", i, code, old.log)
		}
		stopped := time.Now()
		c.shared(3)
		t.Logf("stopped after %v, shared after %v more", stopped.Sub(begun).Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))
		c.more(50)
	}
	c.proven()
}
