package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
)

const postgresHelp = `
The same load on SQLite, on one node on PostgreSQL, and on three nodes: with as many
connections in all, with as many on each, and with as many on each and every call at
the home of its API key. The load is spread over many API keys, each with a callback,
because nodes divide the keys. Connections are spread evenly over the nodes, and each
makes the calls of all keys, as behind a load balancer that knows no keys; "at home" is
a load balancer that knows them. The difference is what forwarding costs.

A cell is the median of the rounds, with the lowest and the highest; a ratio is the
median of the ratios of each round. All of it shares this machine: nodes, databases, load
and receiver. -keys 1 shows what one node carries for one hot key.
`

// latencyRate is the rate at which latencies are measured, in events a second.
const latencyRate = 500

// deployment is callbackd on one store: the processes that serve it, and the
// database's server, if it has one.
type deployment struct {
	nodes []*process
	db    *database
	keys  []*client.Client
	home  []int // the node that is the home of each key
}

// storedLoad is a column of the table: a deployment and how it is loaded.
type storedLoad struct {
	name   string
	on     *deployment
	c      int // connections
	atHome bool
	runs   []storedRun
}

// storedRun holds the result of one measurement. Counts are for one event.
type storedRun struct {
	rate                 float64
	server, database     time.Duration
	accept50, accept99   time.Duration
	arrival50, arrival99 time.Duration
	bytes, wal, images   float64
	forwarded            float64 // calls
	repeated             int
}

func (r storedRun) cpu() time.Duration { return r.server + r.database }

type stored struct {
	bench
	nodes, keys int
	latencyFor  time.Duration
}

func postgresCommand(fs *flag.FlagSet) func() error {
	s := &stored{}
	s.flags(fs, 10_000, 3)
	fs.IntVar(&s.nodes, "nodes", 3, "nodes of the last columns")
	fs.IntVar(&s.keys, "keys", 30, "API keys that share the load")
	fs.DurationVar(&s.latencyFor, "steady", 5*time.Second, fmt.Sprintf("how long latencies are measured, at %d/s", latencyRate))
	return s.run
}

func (s *stored) run() error {
	if err := s.open(); err != nil {
		return err
	}
	embedded, err := s.deploy(1, false)
	if err != nil {
		return err
	}
	one, err := s.deploy(1, true)
	if err != nil {
		return err
	}
	many, err := s.deploy(s.nodes, true)
	if err != nil {
		return err
	}
	columns := []*storedLoad{
		{name: "SQLite", on: embedded, c: s.c},
		{name: "PostgreSQL, 1 node", on: one, c: s.c},
		{name: fmt.Sprintf("%d nodes, %d connections in all", s.nodes, s.c), on: many, c: s.c},
		{name: fmt.Sprintf("%d nodes, %d on each", s.nodes, s.c), on: many, c: s.c * s.nodes},
		{name: fmt.Sprintf("%d nodes, %d on each, at home", s.nodes, s.c), on: many, c: s.c * s.nodes, atHome: true},
	}
	for i := range rounds(s.rounds) {
		for _, l := range columns {
			step("round %d of %d, %s", i+1, s.rounds, l.name)
			r, err := s.measureStored(l)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			l.runs = append(l.runs, r)
		}
	}
	sync, err := fsyncTime(s.dir)
	if err != nil {
		return err
	}
	s.print(columns, sync)
	return nil
}

// deploy starts nodes with the keyset of the first one, and creates API keys.
func (s *stored) deploy(nodes int, onPostgres bool) (*deployment, error) {
	step("starting %d on %s", nodes, map[bool]string{false: "SQLite", true: "PostgreSQL"}[onPostgres])
	dir, err := os.MkdirTemp(s.dir, "data-")
	if err != nil {
		return nil, err
	}
	d := &deployment{}
	options := []string{"--data", dir}
	if onPostgres {
		if d.db, err = startDatabase(); err != nil {
			return nil, err
		}
		options = []string{"--database-url", d.db.server.URL(""), "--secret-keys", filepath.Join(dir, "secret-keys.json")}
	}
	for range nodes {
		p, err := serve(s.server, options...)
		if err != nil {
			return nil, err
		}
		d.nodes = append(d.nodes, p)
	}
	d.keys = make([]*client.Client, s.keys)
	if err := atOnce(s.keys, 8, func(i int) (err error) {
		d.keys[i], err = s.prepare(s.server, d.nodes[0], options...)
		return err
	}); err != nil {
		return nil, err
	}
	return d, d.findHomes()
}

// findHomes asks each node about each key. The home is the node that forwards no call.
func (d *deployment) findHomes() error {
	d.home = make([]int, len(d.keys))
	for k, cl := range d.keys {
		for i, p := range d.nodes {
			before, err := d.forwarded()
			if err != nil {
				return err
			}
			at := *cl
			at.Base = p.url
			if err := at.Do(context.Background(), http.MethodGet, "/v1/events?limit=1", nil, nil); err != nil {
				return err
			}
			if after, err := d.forwarded(); err != nil {
				return err
			} else if after == before {
				d.home[k] = i
				break
			}
		}
	}
	return nil
}

// forwarded returns how many calls the nodes have forwarded.
func (d *deployment) forwarded() (sum float64, err error) {
	for _, p := range d.nodes {
		n, err := metric(p.url, "callbackd_calls_forwarded_total")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// calls makes calls with one event for each key in turn. The number of a key's session
// grows when all keys had their turn.
func (s *stored) calls(l *storedLoad) func(call) place {
	nodes, keys := len(l.on.nodes), len(l.on.keys)
	places := make([][]place, keys) // by key and node
	for k, cl := range l.on.keys {
		h := signed(cl)
		for _, p := range l.on.nodes {
			places[k] = append(places[k], place{p.url + "/v1/events", h})
		}
	}
	return func(c call) place {
		k := c.i % keys
		c.writeEvent(callbackd.StatusChange, sessionName(c.i/keys%max(1, s.sessions/keys)))
		if l.atHome {
			return places[k][l.on.home[k]]
		}
		return places[k][c.worker%nodes]
	}
}

// measureStored measures at the highest rate, and then latencies at a steady one.
func (s *stored) measureStored(l *storedLoad) (r storedRun, err error) {
	if err := s.publish(l, max(1, s.n/20), 0, &storedRun{}); err != nil {
		return r, err
	}
	if l.on.db != nil {
		if err := l.on.db.checkpoint(); err != nil {
			return r, err
		}
	}
	before, err := l.on.uses()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	if err := s.publish(l, s.n, 0, &r); err != nil {
		return r, err
	}
	r.rate = float64(s.n) / time.Since(begin).Seconds()
	time.Sleep(300 * time.Millisecond) // the last outcomes are recorded too
	after, err := l.on.uses()
	if err != nil {
		return r, err
	}
	n := time.Duration(s.n)
	r.server, r.database = (after.server-before.server)/n, (after.database-before.database)/n
	r.forwarded = (after.forwarded - before.forwarded) / float64(s.n)
	r.bytes, r.wal = float64(after.bytes-before.bytes)/float64(s.n), float64(after.wal-before.wal)/float64(s.n)
	if l.on.db != nil {
		images, err := l.on.db.images(before.wal, after.wal)
		if err != nil {
			return r, err
		}
		r.images = float64(images) / float64(s.n)
	}
	return r, s.publish(l, max(1, int(latencyRate*s.latencyFor.Seconds())), latencyRate, &r)
}

// publish publishes n events and waits until they arrived. Latencies are those of its
// last call, repeats those of all calls.
func (s *stored) publish(l *storedLoad, n int, rate float64, r *storedRun) error {
	if _, err := asked(s.sink.url, "/?reset=1"); err != nil {
		return err
	}
	a, err := loadWith(n, l.c, rate, s.calls(l))
	if err != nil {
		return err
	}
	if err := awaitArrivals(s.sink.url, n); err != nil {
		return err
	}
	at, err := asked(s.sink.url, "/?full=1")
	r.accept50, r.accept99, r.arrival50, r.arrival99 = a.p50, a.p99, at.P50, at.P99
	r.repeated += at.Repeated
	return err
}

// used returns what was used so far.
type used struct {
	server, database time.Duration
	bytes, wal       int64
	forwarded        float64
}

func (d *deployment) uses() (u used, err error) {
	for _, p := range d.nodes {
		cpu, err := p.cpu()
		if err != nil {
			return u, err
		}
		u.server += cpu
	}
	if d.db != nil {
		if err := d.db.uses(&u); err != nil {
			return u, err
		}
	}
	u.forwarded, err = d.forwarded()
	return u, err
}

func (s *stored) print(columns []*storedLoad, sync time.Duration) {
	titles := []string{"figure"}
	for _, l := range columns {
		titles = append(titles, l.name)
	}
	printHead(fmt.Sprintf("%s events of 1 KiB, %d API keys with a callback each, %s sessions, %s interleaved; fsync %s; latencies at %d/s",
		humanize.Number(s.n), s.keys, humanize.Number(s.sessions), humanize.Plural(s.rounds, "round"), humanize.Latency(sync), latencyRate), titles...)
	row := func(figure string, cell func(l *storedLoad) string) {
		cells := []string{figure}
		for _, l := range columns {
			cells = append(cells, cell(l))
		}
		printRow(cells...)
	}
	duration := func(get func(storedRun) time.Duration, text func(time.Duration) string) func(*storedLoad) string {
		return func(l *storedLoad) string { return spread(of(l.runs, get), text) }
	}
	against := func(base *storedLoad) func(*storedLoad) string {
		return func(l *storedLoad) string {
			return spread(ratios(of(l.runs, storedRun.cpu), of(base.runs, storedRun.cpu)), ratioText)
		}
	}
	ofDatabase := func(cell func(l *storedLoad) string) func(*storedLoad) string {
		return func(l *storedLoad) string {
			if l.on.db == nil {
				return ""
			}
			return cell(l)
		}
	}
	counted := func(get func(storedRun) float64) func(*storedLoad) string {
		return ofDatabase(func(l *storedLoad) string { return spread(of(l.runs, get), countText) })
	}
	row("events/s end to end, durable", func(l *storedLoad) string {
		return spread(of(l.runs, func(r storedRun) float64 { return r.rate }), countText)
	})
	row("CPU an event, server processes", duration(func(r storedRun) time.Duration { return r.server }, cpuText))
	row("CPU an event, database", ofDatabase(duration(func(r storedRun) time.Duration { return r.database }, cpuText)))
	row("CPU an event, together", duration(storedRun.cpu, cpuText))
	row("… against SQLite", against(columns[0]))
	row("… against PostgreSQL, 1 node", ofDatabase(against(columns[1])))
	row("accepted within, p50", duration(func(r storedRun) time.Duration { return r.accept50 }, humanize.Latency))
	row("accepted within, p99", duration(func(r storedRun) time.Duration { return r.accept99 }, humanize.Latency))
	row("publish to arrival, p50", duration(func(r storedRun) time.Duration { return r.arrival50 }, humanize.Latency))
	row("publish to arrival, p99", duration(func(r storedRun) time.Duration { return r.arrival99 }, humanize.Latency))
	row("calls forwarded to the home of their key, an event", func(l *storedLoad) string {
		if len(l.on.nodes) == 1 {
			return ""
		}
		return spread(of(l.runs, func(r storedRun) float64 { return r.forwarded }), ratioText)
	})
	row("database bytes an event", counted(func(r storedRun) float64 { return r.bytes }))
	row("WAL bytes an event", counted(func(r storedRun) float64 { return r.wal }))
	row("… of them page images, right after a checkpoint", counted(func(r storedRun) float64 { return r.images }))
	row("each event arrived once", func(l *storedLoad) string {
		repeated := 0
		for _, r := range l.runs {
			repeated += r.repeated
		}
		if repeated == 0 {
			return "yes"
		}
		return fmt.Sprintf("no: %d arrivals too many", repeated)
	})
}
