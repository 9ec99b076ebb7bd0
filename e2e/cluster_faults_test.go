package e2e

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// link is one node's way to the database, which can be disturbed.
type link struct {
	*toxiproxy.Proxy
	t *testing.T
}

func newLink(t *testing.T, db string) (w *link, through string) {
	t.Helper()
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w = &link{toxiproxy.NewProxy(server, "database", "127.0.0.1:0", u.Host), t}
	w.heal()
	t.Cleanup(w.Stop)
	u.Host = w.Listen
	return w, u.String()
}

// poison adds toxics, as toxiproxy's API takes them.
func (w *link) poison(toxics ...string) {
	w.t.Helper()
	for _, toxic := range toxics {
		if _, err := w.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *link) heal() {
	w.t.Helper()
	w.Toxics.ResetToxics(context.Background())
	if w.Enabled {
		return
	}
	if err := w.Start(); err != nil {
		w.t.Fatal(err)
	}
}

const unrecorded = `SELECT a.n IS NOT NULL FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS o (event_id, callback_no, n, place)
	LEFT JOIN attempts a ON a.event_id = o.event_id AND a.callback_no = o.callback_no AND a.n = o.n AND a.version > 0 ORDER BY place`

// during does something that disturbs a node for a while. What was sent and
// not recorded at any moment of it may be made once more, if the callback
// became another node's.
func (c *nodes) during(disturb func()) {
	c.t.Helper()
	type of struct {
		callback int
		try
	}
	found, recorded := map[of]bool{}, map[of]bool{}
	var conn *pgx.Conn
	look := func() {
		var tries []of
		var events, callbacks, ns []int64
		for i, sk := range c.sinks {
			sk.mu.Lock()
			for a := range sk.tries {
				if ev, ok := callbackd.ParseEventID(a.id); ok && !recorded[of{i, a}] {
					tries = append(tries, of{i, a})
					events, callbacks, ns = append(events, int64(ev)), append(callbacks, int64(i+1)), append(ns, int64(a.n))
				}
			}
			sk.mu.Unlock()
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		defer cancel()
		var done []bool
		var err error
		if conn == nil || conn.IsClosed() {
			conn, err = pgx.Connect(ctx, c.url)
		}
		if err == nil {
			rows, _ := conn.Query(ctx, unrecorded, events, callbacks, ns)
			done, err = pgx.CollectRows(rows, pgx.RowTo[bool])
		}
		if err != nil {
			return // it is the database that is disturbed: what was sent is still here the next time
		}
		for i, a := range tries {
			if done[i] {
				recorded[a] = true
			} else {
				found[a] = true
			}
		}
	}
	stop, begun := make(chan struct{}), time.Now()
	var work sync.WaitGroup
	look() // the long one
	var gap time.Duration
	work.Go(func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-stop:
				return
			}
			look()
			gap = max(gap, time.Since(last))
		}
	})
	before := c.epochs()
	disturb()
	after := c.epochs()
	close(stop)
	work.Wait()
	if conn != nil {
		conn.Close(context.Background())
	}
	for i, sk := range c.sinks { // what was made again before a look could see it
		sk.mu.Lock()
		for a, d := range sk.apart {
			if d <= gap && sk.last[a].After(begun) {
				found[of{i, a}] = true
			}
		}
		sk.mu.Unlock()
	}
	broken := 0
	for a := range found {
		if before[a.callback] != after[a.callback] {
			c.broken[a.callback][a.try]++
			broken++
		}
	}
	c.t.Logf("%d attempts of callbacks that changed hands were seen unrecorded, by a look every %v at least", broken, gap.Round(time.Millisecond))
}

// epochs is how many owners each callback has had, by its number - 1.
func (c *nodes) epochs() []int64 {
	c.t.Helper()
	out := make([]int64, len(c.sinks))
	for i := range out {
		c.query("SELECT epoch FROM shards WHERE shard = $1", func(r pgx.Rows) error { return r.Scan(&out[i]) }, int64(callbackd.ShardOf(callbackd.CallbackID(i+1))))
	}
	return out
}

// renewed waits until every node has renewed its lease after a time: until
// then one may still be found dead for what was before.
func (c *nodes) renewed(after time.Time) {
	c.t.Helper()
	eventually(c.t, "all leases are renewed", func() bool {
		old := 0
		c.query("SELECT count(*) FROM nodes WHERE seen_at < $1", func(r pgx.Rows) error { return r.Scan(&old) }, after.UnixMilli())
		return old == 0
	})
}

// One node's way to the database is down for longer than a lease, slow, full
// of resets, and half open, while the load goes on. The others take over what
// they must, and the node takes its share again by itself.
func TestNodesSurviveTheirConnections(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 6)
	w, through := newLink(t, c.url)
	c.up = append(c.up, c.serve(through))
	c.shared(3)
	c.begin()
	c.more(100)
	for _, fault := range []struct {
		what string
		do   func()
	}{
		{"down", func() { w.Stop(); c.shared(2) }},
		{"two seconds late", func() {
			w.poison(`{"type":"latency","stream":"downstream","attributes":{"latency":2000}}`)
			<-time.After(lease)
		}},
		{"reset", func() {
			w.poison(`{"type":"reset_peer","stream":"downstream","attributes":{"timeout":50}}`)
			<-time.After(lease)
		}},
		{"half open", func() {
			w.poison(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, `{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
			c.shared(2)
		}},
	} {
		begun := time.Now()
		c.during(func() {
			fault.do()
			c.more(30)
			w.heal()
			healed := time.Now()
			c.renewed(healed.Add(lease / 4))
			c.shared(3)
			t.Logf("%s: for %v, shared %v after", fault.what, healed.Sub(begun).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
		})
		c.more(30)
	}
	c.proven()
}

// The primary's machine dies under load, and its synchronous standby is made
// the new primary: every event that was acknowledged is there and arrives, and
// the nodes go on by themselves.
func TestNothingAcknowledgedIsLostWithThePrimary(t *testing.T) {
	t.Parallel()
	primary, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	schema := primary.Schema(t)
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	both, err := primary.Both(standby, schema)
	if err != nil {
		t.Fatal(err)
	}
	c := newNodesOn(t, standby, both, lease, 2, 4)
	c.shared(2)
	c.begin()
	c.more(200)
	c.during(func() {
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := standby.Promote(); err != nil {
			t.Fatal(err)
		}
		promoted := time.Now()
		c.more(1)
		t.Logf("promoted in %v; the next event is acknowledged %v later", promoted.Sub(begun).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond))
		c.more(200)
		c.shared(2)
	})
	c.proven()
}
