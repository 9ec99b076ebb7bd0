package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// extremes measures what needs a large store or bad receivers: the memory that a
// backlog takes, the start with one, and a healthy receiver while a thousand others
// hang.
type extremes struct {
	pending, callbacks, finished, hanging int
	onPostgres                            bool // of lists
	dir, server, self                     string
}

func extremesCommand(fs *flag.FlagSet) func() error {
	x := &extremes{}
	fs.IntVar(&x.pending, "pending", 1_000_000, "pending deliveries of the backlog rows")
	fs.IntVar(&x.callbacks, "callbacks", 100_000, "callbacks of the growth row")
	fs.IntVar(&x.finished, "finished", 1_000_000, "finished deliveries of the history row")
	fs.IntVar(&x.hanging, "hanging", 1000, "hanging receivers of the isolation row")
	fs.StringVar(&x.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	return func() error { return x.run(x.backlog, x.growth, x.history, x.lists, x.isolation) }
}

func listsCommand(fs *flag.FlagSet) func() error {
	x := &extremes{}
	fs.IntVar(&x.finished, "finished", 10_000_000, "finished deliveries")
	fs.BoolVar(&x.onPostgres, "postgres", false, "on a PostgreSQL of its own instead of SQLite")
	fs.StringVar(&x.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	return func() error { return x.run(x.lists) }
}

func (x *extremes) run(rows ...func() error) error {
	if x.dir != "" && x.onPostgres {
		os.Setenv("TMPDIR", x.dir) // where the database goes
	}
	dir, err := os.MkdirTemp(x.dir, "callbackd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	x.dir = dir
	if x.server, x.self, err = buildBoth(dir); err != nil {
		return err
	}
	fmt.Printf("%s, %s, %d cores\n\n| figure | value |\n|---|---|\n", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU())
	for _, row := range rows {
		if err := row(); err != nil {
			return err
		}
	}
	return nil
}

// fixture is a data directory that is filled through the store, which is faster than
// through HTTP.
type fixture struct {
	store.Store
	dir   string
	place []string // where the store is, for a server
	key   callbackd.Key
}

func (x *extremes) fixture(name string) (*fixture, error) {
	f := &fixture{dir: filepath.Join(x.dir, name)}
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: f.dir})
	if err != nil {
		return nil, err
	}
	f.Store, f.place = s, []string{"--data", f.dir}
	f.key, err = f.CreateKey(context.Background(), callbackd.Key{Account: "bench", APIKey: "bench", Secret: "bench", CreatedAt: time.Now()})
	return f, err
}

func (f *fixture) callback(ev callbackd.EventType, name, url string) (*callbackd.Callback, error) {
	cb, _, err := f.CreateCallback(context.Background(), callbackd.Callback{Key: f.key.ID, Event: ev, Name: name, URL: url, Method: "POST", Payload: []byte("{}"),
		Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}, time.Now())
	return cb, err
}

// fill accepts n events of 1 KiB in sessions of 20. With finish set, each delivery is
// recorded as delivered.
func (f *fixture) fill(ev callbackd.EventType, n int, finish bool) error {
	ctx := context.Background()
	pad := make([]byte, 900)
	for i := range pad {
		pad[i] = 'x'
	}
	for i := 0; i < n; i += callbackd.MaxBatch {
		b := store.Batch{Key: f.key.ID, At: time.Now()}
		for j := i; j < min(n, i+callbackd.MaxBatch); j++ {
			b.Events = append(b.Events, store.NewEvent{Type: ev, Session: fmt.Sprintf("BEN-%010d", j/20), Data: fmt.Appendf(nil, `{"status":"PROCESS","pad":"%s"}`, pad)})
		}
		evs, err := f.Accept(ctx, b)
		if err != nil {
			return err
		}
		if !finish {
			continue
		}
		errs := make(chan error)
		for _, ev := range evs {
			go func() {
				_, err := f.Record(ctx, callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: ev.Targets[0]}},
					Attempt: callbackd.Attempt{Number: 1, Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200, Address: "127.0.0.1:80"}, Decision: callbackd.Decision{State: callbackd.Delivered, Why: "the receiver answered 200"}}})
				errs <- err
			}()
		}
		for range evs {
			err = errors.Join(err, <-errs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *extremes) serve(f *fixture) (*process, *client.Client, error) {
	p, err := start(x.server, append([]string{"serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "error"}, f.place...)...)
	if err != nil {
		return nil, nil, err
	}
	return p, &client.Client{Base: p.url, Account: "bench", APIKey: "bench", APISecret: "bench"}, nil
}

func row(figure, format string, args ...any) {
	fmt.Printf("| %s | %s |\n", figure, fmt.Sprintf(format, args...))
}

// backlog measures a start with the backlog of a dead receiver: how soon another
// callback's delivery is sent, and the memory that the backlog takes.
func (x *extremes) backlog() error {
	f, err := x.fixture("backlog")
	if err != nil {
		return err
	}
	first := make(chan time.Time, 1)
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case first <- time.Now():
		default:
		}
	}))
	defer sink.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	deadURL := "http://" + dead.Addr().String() + "/"
	dead.Close()
	_, err1 := f.callback(callbackd.StatusChange, "default", deadURL)
	_, err2 := f.callback(callbackd.Complete, "default", sink.URL)
	if err := errors.Join(err1, err2, f.fill(callbackd.StatusChange, x.pending, false), f.fill(callbackd.Complete, 100, false), f.Close()); err != nil {
		return err
	}
	begin := time.Now()
	p, cl, err := x.serve(f)
	if err != nil {
		return err
	}
	defer p.stop()
	listening := time.Since(begin)
	at := <-first
	row(fmt.Sprintf("start to first delivery, %d pending", x.pending), "%v (listening after %v)", at.Sub(begin).Round(time.Millisecond), listening.Round(time.Millisecond))
	for range 2000 { // the breaker has opened, windows are full
		if _, err := cl.Publish(context.Background(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: "LIVE", Data: json.RawMessage(`{}`)}); err != nil {
			return err
		}
	}
	now, peak := p.rss()
	row(fmt.Sprintf("RSS with %d pending, now and peak", x.pending), "%.0f MiB, %.0f MiB", now, peak)
	return nil
}

// growth compares the memory that one callback takes with that of many.
func (x *extremes) growth() error {
	measure := func(name string, callbacks int) (float64, error) {
		f, err := x.fixture(name)
		if err != nil {
			return 0, err
		}
		sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer sink.Close()
		keys := max(1, callbacks/callbackd.MaxCallbacks)
		for k := range keys {
			if k > 0 {
				if f.key, err = f.CreateKey(context.Background(), callbackd.Key{Account: "bench", APIKey: fmt.Sprint("bench", k), Secret: "bench", CreatedAt: time.Now()}); err != nil {
					return 0, err
				}
			}
			for i := range min(callbacks, callbackd.MaxCallbacks) {
				if _, err := f.callback(callbackd.StatusChange, fmt.Sprint("c", i), sink.URL); err != nil {
					return 0, err
				}
			}
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
		p, cl, err := x.serve(f)
		if err != nil {
			return 0, err
		}
		defer p.stop()
		for i := range 2000 {
			k := i % keys
			if k > 0 {
				cl.APIKey = fmt.Sprint("bench", k)
			}
			if _, err := cl.Publish(context.Background(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: fmt.Sprint("S", i), Data: json.RawMessage(`{}`)}); err != nil {
				return 0, err
			}
			if callbacks > 1 && i*callbackd.MaxCallbacks > 2000 {
				break // as many deliveries as with one callback
			}
		}
		time.Sleep(2 * time.Second)
		now, _ := p.rss()
		return now, nil
	}
	one, err := measure("one", 1)
	if err != nil {
		return err
	}
	many, err := measure("many", x.callbacks)
	row(fmt.Sprintf("RSS with 1 and with %d callbacks, after 2,000 deliveries", x.callbacks), "%.0f MiB, %.0f MiB (%+.0f %%)", one, many, (many/one-1)*100)
	return err
}

// history compares the CPU that an event takes on an empty store with that on a store
// with many finished deliveries. The rounds of both alternate.
func (x *extremes) history() error {
	b := &bench{n: 20_000, c: 64, rounds: 3, sessions: 2000}
	var err error
	if b.sink, err = start(x.self, "sink"); err != nil {
		return err
	}
	defer b.sink.stop()
	var sides [2]*process
	var targets [2]target
	for i, finished := range []int{0, x.finished} {
		f, err := x.fixture(fmt.Sprint("history", i))
		if err != nil {
			return err
		}
		_, err = f.callback(callbackd.StatusChange, "default", b.sink.url)
		if err := errors.Join(err, f.fill(callbackd.StatusChange, finished, true), f.Close()); err != nil {
			return err
		}
		p, cl, err := x.serve(f)
		if err != nil {
			return err
		}
		defer p.stop()
		sides[i], targets[i] = p, eventsTarget(cl)
	}
	var cpu [2][]time.Duration
	for range b.rounds {
		for i := range sides {
			f, err := b.loaded(sides[i], targets[i])
			if err != nil {
				return err
			}
			cpu[i] = append(cpu[i], f.cpu)
		}
	}
	empty, full := median(cpu[0]), median(cpu[1])
	row(fmt.Sprintf("CPU an event, empty store and %d finished", x.finished), "%v, %v (%.2f ×)", empty, full, float64(full)/float64(empty))
	return nil
}

// hangingCallbacks makes n callbacks with the receiver url, for as many keys as that
// takes.
func (f *fixture) hangingCallbacks(n int, url string) (err error) {
	for i := range n {
		if i%callbackd.MaxCallbacks == 0 {
			f.key, err = f.CreateKey(context.Background(), callbackd.Key{Account: "bench", APIKey: fmt.Sprint("hang", i/callbackd.MaxCallbacks), Secret: "bench", CreatedAt: time.Now()})
			if err != nil {
				return err
			}
		}
		if _, err = f.callback(callbackd.Complete, fmt.Sprint("c", i), url); err != nil {
			return err
		}
	}
	return nil
}

// isolation compares the latency of a healthy receiver alone with that while other
// receivers hang.
func (x *extremes) isolation() error {
	f, err := x.fixture("isolation")
	if err != nil {
		return err
	}
	sink, err := start(x.self, "sink")
	if err != nil {
		return err
	}
	defer sink.stop()
	release := make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hang.Close()
	defer close(release)
	if _, err = f.callback(callbackd.StatusChange, "default", sink.url); err == nil {
		err = f.hangingCallbacks(x.hanging, hang.URL)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	p, cl, err := x.serve(f)
	if err != nil {
		return err
	}
	defer p.stop()
	steady := func() (arrived, error) {
		if _, err := asked(sink.url, "/?reset=1"); err != nil {
			return arrived{}, err
		}
		if _, err := load(eventsTarget(cl), 5000, 32, 2000, 500); err != nil {
			return arrived{}, err
		}
		if err := awaitArrivals(sink.url, 5000); err != nil {
			return arrived{}, err
		}
		return asked(sink.url, "/?full=1&reset=1")
	}
	alone, err := steady()
	if err != nil {
		return err
	}
	for k := range x.hanging / callbackd.MaxCallbacks {
		other := *cl
		other.APIKey = fmt.Sprint("hang", k)
		for s := range 20 {
			if _, err := other.Publish(context.Background(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: fmt.Sprint("H", s), Data: json.RawMessage(`{}`)}); err != nil {
				return err
			}
		}
	}
	beside, err := steady()
	row(fmt.Sprintf("publish to arrival at 500/s, alone and while %d receivers hang, p99", x.hanging), "%v, %v (%.2f ×)", alone.P99.Round(10*time.Microsecond), beside.P99.Round(10*time.Microsecond), float64(beside.P99)/float64(alone.P99))
	return err
}
