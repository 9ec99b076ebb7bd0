package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"callbackd/client"
	"callbackd/internal/humanize"
)

const tableHelp = `
Each round loads the bare relay (net/http in, net/http out, nothing stored) and then
callbackd with its embedded store, as fast as possible, at 200 and at 1,000 events a
second, and callbackd with arrays of 100 events. A cell is the median of the rounds, with
the lowest and the highest; a ratio is the median of the ratios of each round. All of it
runs on this machine, load and receiver too. With -against, another build of callbackd
takes the place of the relay: that is how a change is compared.
`

// bench holds what the measurements share.
type bench struct {
	n, c, rounds, sessions int
	dir                    string // on the disk that is measured
	server                 string // callbackd, built
	sink                   *process
}

// flags defines the flags that most commands have.
func (b *bench) flags(fs *flag.FlagSet, events, rounds int) {
	fs.IntVar(&b.n, "events", events, "events of each measurement")
	fs.IntVar(&b.c, "c", 64, "connections")
	fs.IntVar(&b.rounds, "rounds", rounds, "interleaved repetitions")
	fs.IntVar(&b.sessions, "sessions", 2000, "sessions that the events are spread over")
	b.dirFlag(fs)
}

func (b *bench) dirFlag(fs *flag.FlagSet) {
	fs.StringVar(&b.dir, "dir", "", "directory on the disk to measure; default: that of temporary files")
}

// open makes a directory, builds callbackd and starts a receiver.
func (b *bench) open() (err error) {
	if b.dir != "" {
		os.Setenv("TMPDIR", b.dir) // where databases go
	}
	if b.dir, err = os.MkdirTemp(b.dir, "callbackd-bench-"); err != nil {
		return err
	}
	atExit(func() { os.RemoveAll(b.dir) })
	if b.server, err = buildServer(); err != nil {
		return err
	}
	b.sink, err = startSelf("sink")
	return err
}

// serve starts a build of callbackd. place are the options that say where the store is.
func serve(server string, place ...string) (*process, error) {
	return start(server, append([]string{"serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "error"}, place...)...)
}

// prepare creates a key and a callback to the sink.
func (b *bench) prepare(server string, srv *process, place ...string) (*client.Client, error) {
	out, err := exec.Command(server, append([]string{"keys", "create", "--account", "bench", "--json"}, place...)...).Output()
	if err != nil {
		return nil, err
	}
	var k struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	if err := json.Unmarshal(out, &k); err != nil {
		return nil, err
	}
	cl := &client.Client{Base: srv.url, Account: "bench", APIKey: k.APIKey, APISecret: k.APISecret}
	_, err = cl.CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:STATUS_CHANGE", URL: b.sink.url})
	return cl, err
}

// measured is what one load cost.
type measured struct {
	rate      float64       // events a second, end to end
	cpu       time.Duration // of the server, an event
	p50, p99  time.Duration // publish to arrival
	rss, peak float64       // MiB: after the load, and the most during it
}

// measure has calls make n events and waits until all of them arrived.
func (b *bench) measure(p *process, n int, calls func() error) (m measured, err error) {
	if _, err := asked(b.sink.url, "/?reset=1"); err != nil {
		return m, err
	}
	if err := p.resetPeak(); err != nil {
		return m, err
	}
	before, err := p.cpu()
	if err != nil {
		return m, err
	}
	begin := time.Now()
	if err := calls(); err != nil {
		return m, err
	}
	if err := awaitArrivals(b.sink.url, n); err != nil {
		return m, err
	}
	m.rate = float64(n) / time.Since(begin).Seconds()
	time.Sleep(300 * time.Millisecond) // the last outcomes are recorded too
	after, err := p.cpu()
	if err != nil {
		return m, err
	}
	m.cpu = (after - before) / time.Duration(n)
	m.rss, m.peak = p.rss()
	a, err := asked(b.sink.url, "/?full=1&reset=1")
	m.p50, m.p99 = a.P50, a.P99
	return m, err
}

// loaded warms a process up and loads it as hard as possible.
func (b *bench) loaded(p *process, to func() place) (measured, error) {
	return b.loadedBy(p, func(n int) error {
		_, err := load(to(), n, b.c, b.sessions, 0)
		return err
	})
}

// loadedBy is loaded with calls that make n events.
func (b *bench) loadedBy(p *process, events func(n int) error) (measured, error) {
	warm := max(1, b.n/20)
	if _, err := b.measure(p, warm, func() error { return events(warm) }); err != nil {
		return measured{}, err
	}
	return b.measure(p, b.n, func() error { return events(b.n) })
}

// side is one of the two servers that the table compares.
type side struct {
	name   string
	p      *process
	to     func() place // with a new signature
	arrays bool         // it takes arrays of events
	idle   float64      // MiB before the first event
	runs   []tableRun
}

// tableRun is one round of a side.
type tableRun struct{ full, arrays, low, steady measured }

const (
	lowRate    = 200 // events a second
	steadyRate = 1000
	arrayOf    = 100 // events
)

type table struct {
	bench
	steadyFor time.Duration
	against   string
}

func tableCommand(fs *flag.FlagSet) func() error {
	t := &table{}
	t.flags(fs, 30_000, 5)
	fs.DurationVar(&t.steadyFor, "steady", 5*time.Second, "how long each of the fixed rates is held")
	fs.StringVar(&t.against, "against", "", "another build of callbackd, as a file, in place of the relay")
	return t.run
}

func (t *table) run() error {
	t.n = max(t.n/arrayOf, 1) * arrayOf
	if err := t.open(); err != nil {
		return err
	}
	base, err := t.baseSide()
	if err != nil {
		return err
	}
	ours, err := t.serverSide("callbackd", t.server)
	if err != nil {
		return err
	}
	for i := range rounds(t.rounds) {
		for _, s := range []*side{base, ours} {
			if err := t.round(s, fmt.Sprintf("round %d of %d, %s", i+1, t.rounds, s.name)); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	sync, err := fsyncTime(t.dir)
	if err != nil {
		return err
	}
	t.print(base, ours, sync)
	return nil
}

// baseSide starts what callbackd is compared with.
func (t *table) baseSide() (*side, error) {
	if t.against != "" {
		file, err := filepath.Abs(t.against)
		if err != nil {
			return nil, err
		}
		return t.serverSide("the other build", file)
	}
	relay, err := startSelf("relay", "-to", t.sink.url)
	if err != nil {
		return nil, err
	}
	to := place{relay.url, http.Header{"Content-Type": {"application/json"}}}
	idle, _ := relay.rss()
	return &side{name: "relay", p: relay, to: func() place { return to }, idle: idle}, nil
}

func (t *table) serverSide(name, server string) (*side, error) {
	data, err := os.MkdirTemp(t.dir, "data-")
	if err != nil {
		return nil, err
	}
	srv, err := serve(server, "--data", data)
	if err != nil {
		return nil, err
	}
	cl, err := t.prepare(server, srv, "--data", data)
	if err != nil {
		return nil, err
	}
	idle, _ := srv.rss()
	return &side{name: name, p: srv, to: func() place { return eventsPlace(cl) }, arrays: true, idle: idle}, nil
}

// round measures a side once at each load.
func (t *table) round(s *side, title string) (err error) {
	var r tableRun
	step("%s: at full load", title)
	if r.full, err = t.loaded(s.p, s.to); err != nil {
		return err
	}
	if s.arrays {
		step("%s: arrays of %d", title, arrayOf)
		if r.arrays, err = t.measure(s.p, t.n, func() error {
			_, err := loadArrays(s.to(), t.n, arrayOf, t.c, t.sessions)
			return err
		}); err != nil {
			return err
		}
	}
	for _, at := range []struct {
		rate float64
		into *measured
	}{{lowRate, &r.low}, {steadyRate, &r.steady}} {
		step("%s: %v/s", title, at.rate)
		n := max(1, int(at.rate*t.steadyFor.Seconds()))
		if *at.into, err = t.measure(s.p, n, func() error {
			_, err := load(s.to(), n, t.c, t.sessions, at.rate)
			return err
		}); err != nil {
			return err
		}
	}
	s.runs = append(s.runs, r)
	return nil
}

func (t *table) print(base, ours *side, sync time.Duration) {
	printHead(fmt.Sprintf("%s events of 1 KiB, %d connections, %s sessions, %s interleaved, fixed rates for %v each; fsync %s",
		humanize.Number(t.n), t.c, humanize.Number(t.sessions), humanize.Plural(t.rounds, "round"), t.steadyFor, humanize.Latency(sync)),
		"figure", base.name, ours.name, "ratio")
	rates := func(figure string, get func(tableRun) float64) {
		b, o := of(base.runs, get), of(ours.runs, get)
		printRow(figure, spread(b, countText), spread(o, countText), spread(ratios(o, b), ratioText))
	}
	cpu := func(figure string, get func(tableRun) time.Duration) {
		b, o := of(base.runs, get), of(ours.runs, get)
		printRow(figure, spread(b, cpuText), spread(o, cpuText), spread(ratios(o, b), ratioText))
	}
	latency := func(figure string, get func(tableRun) time.Duration) {
		b, o := of(base.runs, get), of(ours.runs, get)
		printRow(figure, spread(b, humanize.Latency), spread(o, humanize.Latency), spread(over(o, b), moreText))
	}
	memory := func(figure string, get func(tableRun) float64) {
		printRow(figure, spread(of(base.runs, get), memoryText), spread(of(ours.runs, get), memoryText), "")
	}
	full := func(r tableRun) float64 { return r.full.rate }
	rates("events/s end to end, durable", full)
	cpu("CPU an event, at full load", func(r tableRun) time.Duration { return r.full.cpu })
	for _, at := range []struct {
		name string
		get  func(tableRun) measured
	}{{"200/s", func(r tableRun) measured { return r.low }}, {"1,000/s", func(r tableRun) measured { return r.steady }}} {
		cpu("CPU an event at "+at.name, func(r tableRun) time.Duration { return at.get(r).cpu })
		latency("publish to arrival at "+at.name+", p50", func(r tableRun) time.Duration { return at.get(r).p50 })
		latency("publish to arrival at "+at.name+", p99", func(r tableRun) time.Duration { return at.get(r).p99 })
		memory("RSS at "+at.name, func(r tableRun) float64 { return at.get(r).rss })
	}
	memory("RSS at its peak, at full load", func(r tableRun) float64 { return r.full.peak })
	t.printArrays(base, ours, full)
	printRow("RSS idle, before the first event", memoryText(base.idle), memoryText(ours.idle), "")
}

// printArrays prints the rows of arrays. The ratio is that to single events.
func (t *table) printArrays(base, ours *side, full func(tableRun) float64) {
	arrays := func(r tableRun) float64 { return r.arrays.rate }
	cells := []string{fmt.Sprintf("events/s in arrays of %d; times the rate of single events", arrayOf), "", spread(of(ours.runs, arrays), countText)}
	times := spread(ratios(of(ours.runs, arrays), of(ours.runs, full)), ratioText)
	if base.arrays {
		cells[1] = spread(of(base.runs, arrays), countText)
		times = spread(ratios(of(base.runs, arrays), of(base.runs, full)), ratioText) + ", " + times
	}
	printRow(append(cells, times)...)
	peak := func(r tableRun) float64 { return r.arrays.peak }
	cells = []string{fmt.Sprintf("RSS at its peak, arrays of %d", arrayOf), "", spread(of(ours.runs, peak), memoryText), ""}
	if base.arrays {
		cells[1] = spread(of(base.runs, peak), memoryText)
	}
	printRow(cells...)
}
