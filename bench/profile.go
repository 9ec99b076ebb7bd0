package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
)

// profileCommand runs the server in this process under a CPU profile. The receiver
// and the load are other processes.
func profileCommand(fs *flag.FlagSet) func() error {
	n, c := fs.Int("events", 40_000, "events"), fs.Int("c", 64, "connections")
	rate := fs.Float64("rate", 0, "events a second; 0 for as many as possible")
	array := fs.Int("array", 0, "publish arrays of this many events; 0 for single events")
	out := fs.String("o", "cpu.pprof", "file for the profile, which go tool pprof reads")
	onPostgres := fs.Bool("postgres", false, "use PostgreSQL, and print what each statement costs there")
	allocs := fs.String("allocs", "", "file for a profile of allocations")
	callbacks := fs.Int("callbacks", 0, "callbacks that the events are spread over evenly, on SQLite; 0 for one")
	own := fs.Int("own", 0, "sessions with a callback of their own that the events are spread over, on SQLite; 0 for one callback of all sessions")
	return func() error {
		run := func() error { return profile(*n, *c, *array, *rate, *out, *onPostgres) }
		if (*callbacks > 0 || *own > 0) && (*onPostgres || *array > 0 || *rate > 0 || *callbacks > 0 && *own > 0) {
			return errors.New("-callbacks, and -own, profile single events on SQLite, as fast as possible: leave out -postgres, -array and -rate, and one of the two")
		}
		if *callbacks > 0 {
			run = func() error { return profileMany(*n, *c, *callbacks, *out) }
		}
		if *own > 0 {
			run = func() error { return profileOwn(*n, *c, *own, *out) }
		}
		if err := run(); err != nil || *allocs == "" {
			return err
		}
		f, err := os.Create(*allocs)
		if err != nil {
			return err
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}
}

// createKey makes a store with the API key that the load uses.
func createKey(ctx context.Context, place app.StoreConfig) error {
	s, err := place.Open(ctx, true, nil)
	if err != nil {
		return err
	}
	_, err = s.CreateKey(ctx, callbackd.Key{Account: "bench", APIKey: "bench", Secret: "bench", CreatedAt: time.Now()})
	return errors.Join(err, s.Close())
}

// profile publishes n events from c connections, at rate a second or in arrays, to a server in
// this process and writes its CPU profile to out.
func profile(n, c, array int, rate float64, out string, onPostgres bool) (err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "callbackd-profile-")
	if err != nil {
		return err
	}
	atExit(func() { os.RemoveAll(dir) })
	sink, err := startSelf("sink")
	if err != nil {
		return err
	}
	place := app.StoreConfig{Data: filepath.Join(dir, "data")}
	var db *database
	if onPostgres {
		if db, err = startDatabase("shared_preload_libraries=pg_stat_statements"); err != nil {
			return err
		}
		place = app.StoreConfig{DatabaseURL: db.server.URL(""), KeysetFile: filepath.Join(dir, "secret-keys.json")}
	}
	if err := createKey(ctx, place); err != nil {
		return err
	}
	a, err := app.Start(ctx, app.Config{Listen: "127.0.0.1:0", StoreConfig: place, Log: slog.New(slog.DiscardHandler), Retention: time.Hour,
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(ctx)) }()
	cl := &client.Client{Base: a.URL(), Account: "bench", APIKey: "bench", APISecret: "bench"}
	if _, err := cl.CreateCallback(ctx, client.NewCallback{Event: "SESSION:STATUS_CHANGE", URL: sink.url}); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	load := exec.Command(self, "load", "-server", a.URL(), "-account", "bench", "-key", "bench", "-secret", "bench", "-sink", sink.url,
		"-events", strconv.Itoa(n), "-c", strconv.Itoa(c), "-array", strconv.Itoa(array), "-rate", strconv.FormatFloat(rate, 'f', -1, 64))
	load.Stdout, load.Stderr = os.Stdout, os.Stderr
	used, err := cpuDuring(load.Run)
	if err != nil {
		return err
	}
	fmt.Printf("CPU an event: %v\n", used/time.Duration(n))
	if err := printCommits(a.URL()); err != nil || db == nil {
		return err
	}
	return db.printStatements(n)
}

// profileMany profiles the server while n events are spread evenly over many callbacks.
// Each callback has delivered an event before.
func profileMany(n, c, callbacks int, out string) error {
	return profileFilled(n, c, out, func(x *extremes) (*fixture, func(*process) (func(call) place, error), error) {
		m, err := x.fillCallbacks("data", max(1, callbacks/len(callbackd.SessionEvents)))
		if err != nil {
			return nil, nil, err
		}
		return m.f, func(p *process) (func(call) place, error) {
			m.p = p
			return m.calls(evenly(m.callbacks())), m.firstEvents()
		}, nil
	})
}

// profileOwn profiles the server while n events are spread evenly over sessions that have a
// callback each, which has delivered an event before.
func profileOwn(n, c, sessions int, out string) error {
	return profileFilled(n, c, out, func(x *extremes) (*fixture, func(*process) (func(call) place, error), error) {
		f, err := x.fixture("data")
		if err != nil {
			return nil, nil, err
		}
		return f, func(p *process) (func(call) place, error) {
			calls := singly(eventsPlace(f.client(p, f.key.APIKey)), sessions)
			_, err := x.measure(p, sessions, func() error {
				_, err := loadWith(sessions, c, 0, calls)
				return err
			})
			return calls, err
		}, f.firstOfSessions(sessions, true, x.sink.url)
	})
}

// profileFilled profiles the server with a data directory that fill has filled. begin, which
// fill returns, runs before the profile with the started server, and returns the calls.
func profileFilled(n, c int, out string, fill func(*extremes) (f *fixture, begin func(*process) (func(call) place, error), err error)) (err error) {
	ctx := context.Background()
	x := &extremes{bench: bench{n: n, c: c, sessions: 2000}}
	if x.dir, err = os.MkdirTemp("", "callbackd-profile-"); err != nil {
		return err
	}
	atExit(func() { os.RemoveAll(x.dir) })
	if x.sink, err = startSelf("sink"); err != nil {
		return err
	}
	filled, begin, err := fill(x)
	if err != nil {
		return err
	}
	if err := filled.Close(); err != nil {
		return err
	}
	a, err := app.Start(ctx, app.Config{Listen: "127.0.0.1:0", StoreConfig: app.StoreConfig{Data: filepath.Join(x.dir, "data")}, Log: slog.New(slog.DiscardHandler), Retention: time.Hour,
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(ctx)) }()
	p := &process{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}, url: a.URL()}
	calls, err := begin(p)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	m, err := x.measure(p, n, func() error {
		_, err := loadWith(n, c, 0, calls)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d events: %.0f a second; publish to arrival p50 %v, p99 %v\n", n, m.rate, m.p50, m.p99)
	fmt.Printf("CPU an event, with that of the load: %v\n", m.cpu)
	return nil
}

// cpuDuring returns the processor time that this process uses while f runs.
func cpuDuring(f func() error) (time.Duration, error) {
	self := &process{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	before, err := self.cpu()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := self.cpu()
	return after - before, err
}

// printCommits prints the metrics that tell how many commands shared a commit.
func printCommits(url string) error {
	return metrics(url, func(line string) {
		if strings.HasPrefix(line, "callbackd_store_com") {
			fmt.Print(line)
		}
	})
}

// metric returns a metric without labels of a server; 0 when it has none of that name.
func metric(url, name string) (value float64, err error) {
	err = metrics(url, func(line string) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			value, _ = strconv.ParseFloat(text, 64)
		}
	})
	return value, err
}

// metrics calls f with each line of a server's metrics.
func metrics(url string, f func(line string)) error {
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(raw)) {
		f(line)
	}
	return nil
}
