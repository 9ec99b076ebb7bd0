package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
)

const extremesHelp = `
Measures what a large store or bad receivers cost, each against the same without them:

  isolation  a healthy receiver at 500/s, alone and with receivers that hang
  backlog    the memory, and the start, with the backlog of a dead receiver
  callbacks  the CPU of an event with few callbacks and with many
  history    the CPU of an event on an empty store and on one with a long history
  own        the CPU of an event with one callback for many sessions, and with one for each

The two sides of a row are measured in turn. With the defaults all of it takes about
20 minutes and 8 GB of disk.
`

// extremes measures what a large store or bad receivers cost.
type extremes struct {
	bench
	pending, callbacks, finished, hanging int
	isolationFor                          time.Duration
	onPostgres                            bool // of lists
}

func extremesCommand(fs *flag.FlagSet) func() error {
	x := &extremes{}
	x.flags(fs, 20_000, 3)
	fs.IntVar(&x.pending, "pending", 5_000_000, "pending deliveries of the backlog")
	fs.IntVar(&x.callbacks, "callbacks", 100_000, "callbacks, when they are many")
	fs.IntVar(&x.finished, "finished", 1_000_000, "finished deliveries of the history")
	fs.IntVar(&x.hanging, "hanging", 1000, "receivers that hang")
	fs.DurationVar(&x.isolationFor, "isolation-for", 20*time.Second, "how long the healthy receiver is measured; an attempt hangs for 15 s")
	all := []string{"isolation", "backlog", "callbacks", "history", "own"}
	rows := fs.String("rows", strings.Join(all, ","), "the rows to measure")
	return func() error {
		for _, name := range strings.Split(*rows, ",") {
			if !slices.Contains(all, name) {
				return fmt.Errorf("there is no row %q", name)
			}
		}
		if err := x.open(); err != nil {
			return err
		}
		printHead(fmt.Sprintf("events of 1 KiB, %s interleaved", humanize.Plural(x.rounds, "round")), "figure", "without", "with", "ratio")
		for i, f := range []func() error{x.isolation, x.backlog, x.growth, x.history, x.own} {
			if !slices.Contains(strings.Split(*rows, ","), all[i]) {
				continue
			}
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", all[i], err)
			}
		}
		return nil
	}
}

// backlog measures a start with the backlog of a dead receiver: how soon another
// callback's delivery is sent, and the memory that the backlog takes. Its events are
// small: what an event holds stays on the disk.
func (x *extremes) backlog() error {
	var memory, first [2]float64
	for i, pending := range []int{0, x.pending} {
		f, err := x.fixture(fmt.Sprint("backlog", i))
		if err != nil {
			return err
		}
		step("a backlog of %s", humanize.Number(pending))
		if first[i], memory[i], err = x.withBacklog(f, pending); err != nil {
			return err
		}
	}
	figure := fmt.Sprintf("%s pending for a dead receiver: ", humanize.Number(x.pending))
	printRow(figure+"start until the first delivery of another callback", humanize.Latency(time.Duration(first[0])), humanize.Latency(time.Duration(first[1])), ratioText(first[1]/first[0]))
	printRow(figure+"peak of RSS", memoryText(memory[0]), memoryText(memory[1]), ratioText(memory[1]/memory[0]))
	return nil
}

// withBacklog returns the time until the first delivery and the peak of the memory,
// under a load for both callbacks.
func (x *extremes) withBacklog(f *fixture, pending int) (first, peak float64, err error) {
	arrival := make(chan time.Time, 1)
	healthy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case arrival <- time.Now():
		default:
		}
	}))
	defer healthy.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	deadURL := "http://" + dead.Addr().String() + "/"
	dead.Close()
	err1 := f.callback(f.key.ID, callbackd.StatusChange, "default", deadURL)
	err2 := f.callback(f.key.ID, callbackd.Complete, "default", healthy.URL)
	if err := errors.Join(err1, err2, f.fill(callbackd.StatusChange, pending, 100, false), f.fill(callbackd.Complete, 100, 100, false)); err != nil {
		return 0, 0, err
	}
	step("start")
	begin := time.Now()
	p, cl, err := f.serve(x.server)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	first = float64((<-arrival).Sub(begin))
	step("load")
	to := eventsPlace(cl)
	if _, err := loadWith(x.n, x.c, 500, func(c call) place {
		c.writeEvent([]callbackd.EventType{callbackd.StatusChange, callbackd.Complete}[c.i%2], sessionName(c.i%x.sessions))
		return to
	}); err != nil {
		return 0, 0, err
	}
	_, peak = p.rss()
	return first, peak, nil
}

// pair is two servers whose costs are compared.
type pair struct {
	p  [2]*process
	to [2]func() func(call) place // calls with new signatures
}

// compareCPU prints the CPU of an event on both servers, measured in turn.
func (x *extremes) compareCPU(figure string, s pair) error {
	var cpu [2][]time.Duration
	for round := range rounds(x.rounds) {
		for i, p := range s.p {
			step("round %d of %d, %s", round+1, x.rounds, []string{"without", "with"}[i])
			m, err := x.loadedBy(p, func(n int) error {
				_, err := loadWith(n, x.c, 0, s.to[i]())
				return err
			})
			if err != nil {
				return err
			}
			cpu[i] = append(cpu[i], m.cpu)
		}
	}
	printRow(figure, spread(cpu[0], cpuText), spread(cpu[1], cpuText), spread(ratios(cpu[1], cpu[0]), ratioText))
	return nil
}

// growth compares the CPU of an event with few callbacks to that with many, when events
// are spread over all of them evenly, and when most events are for a few. Each key has a
// callback for each type of event.
func (x *extremes) growth() error {
	const few = 60
	var servers [2]*manyKeys
	for i, callbacks := range []int{few, max(x.callbacks, few)} {
		step("%s callbacks", humanize.Number(callbacks))
		m, err := x.withCallbacks(fmt.Sprint("callbacks", i), callbacks/len(callbackd.SessionEvents))
		if err != nil {
			return err
		}
		defer m.p.stop()
		servers[i] = m
	}
	for _, how := range []struct {
		name   string
		chosen func(callbacks int) func(i int) int
	}{{"events spread evenly", evenly}, {"most events for a few (Zipf, 1.1)", mostForAFew}} {
		var s pair
		for i, m := range servers {
			s.p[i], s.to[i] = m.p, func() func(call) place { return m.calls(how.chosen(m.callbacks())) }
		}
		if err := x.compareCPU(fmt.Sprintf("CPU an event, with %d and with %s callbacks, %s", few, humanize.Number(x.callbacks), how.name), s); err != nil {
			return err
		}
	}
	return nil
}

func evenly(callbacks int) func(i int) int {
	return func(i int) int { return i % callbacks }
}

func mostForAFew(callbacks int) func(i int) int {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(callbacks-1))
	chosen := make([]int, 1<<16)
	for i := range chosen {
		chosen[i] = int(z.Uint64())
	}
	return func(i int) int { return chosen[i%len(chosen)] }
}

// manyKeys is a server whose keys each have a callback for each type of event.
type manyKeys struct {
	x    *extremes
	f    *fixture
	p    *process
	keys int
}

func (m *manyKeys) callbacks() int { return m.keys * len(callbackd.SessionEvents) }

func apiKey(i int) string { return fmt.Sprint("key", i) }

// calls makes calls with one event for the callbacks that are chosen.
func (m *manyKeys) calls(chosen func(i int) int) func(call) place {
	places := make([]place, m.keys)
	for i := range places {
		places[i] = eventsPlace(m.f.client(m.p, apiKey(i)))
	}
	return func(c call) place {
		cb := chosen(c.i)
		c.writeEvent(callbackd.SessionEvents[cb/m.keys], sessionName(c.i%m.x.sessions))
		return places[cb%m.keys]
	}
}

// fillCallbacks makes a store that has this many keys, with their callbacks.
func (x *extremes) fillCallbacks(name string, keys int) (*manyKeys, error) {
	f, err := x.fixture(name)
	if err != nil {
		return nil, err
	}
	if err := atOnce(keys, x.c, func(i int) error {
		k, err := f.newKey(apiKey(i))
		for _, ev := range callbackd.SessionEvents {
			if err == nil {
				err = f.callback(k.ID, ev, "default", x.sink.url)
			}
		}
		return err
	}); err != nil {
		return nil, err
	}
	return &manyKeys{x: x, f: f, keys: keys}, nil
}

// withCallbacks starts a server that has this many keys, and has each of their
// callbacks deliver its first event.
func (x *extremes) withCallbacks(name string, keys int) (*manyKeys, error) {
	m, err := x.fillCallbacks(name, keys)
	if err != nil {
		return nil, err
	}
	if m.p, _, err = m.f.serve(x.server); err != nil {
		return nil, err
	}
	return m, m.firstEvents()
}

// firstEvents has each callback deliver its first event.
func (m *manyKeys) firstEvents() error {
	x := m.x
	const most = 10_000 // so few that the signatures are valid for all of them
	for from := 0; from < m.callbacks(); from += most {
		step("the first event of each, from %d on", from)
		n := min(most, m.callbacks()-from)
		if _, err := x.measure(m.p, n, func() error {
			_, err := loadWith(n, x.c, 0, m.calls(func(i int) int { return from + i }))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// history compares the CPU of an event on an empty store with that on a store with
// many finished deliveries.
func (x *extremes) history() error {
	var s pair
	for i, finished := range []int{0, x.finished} {
		f, err := x.fixture(fmt.Sprint("history", i))
		if err != nil {
			return err
		}
		step("a history of %s", humanize.Number(finished))
		if err := errors.Join(f.callback(f.key.ID, callbackd.StatusChange, "default", x.sink.url), f.fill(callbackd.StatusChange, finished, 900, true)); err != nil {
			return err
		}
		p, cl, err := f.serve(x.server)
		if err != nil {
			return err
		}
		defer p.stop()
		s.p[i], s.to[i] = p, func() func(call) place { return singly(eventsPlace(cl), x.sessions) }
	}
	return x.compareCPU(fmt.Sprintf("CPU an event, with %s finished deliveries", humanize.Number(x.finished)), s)
}
