package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd/client"
	"callbackd/internal/signature"
)

// eventsTarget returns POST /v1/events as a target, signed for the next five minutes.
func eventsTarget(cl *client.Client) target { return target{{cl.Base + "/v1/events", signed(cl)}} }

func signed(cl *client.Client) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	signature.SetHeaders(h, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	return h
}

// process is a program that is measured.
type process struct {
	cmd *exec.Cmd
	url string
}

func start(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		return nil, fmt.Errorf("%s says %q: %w", name, line, err)
	}
	p.url = url
	return p, nil
}

func (p *process) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	p.cmd.Wait()
}

// cpu returns the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	st, err := statOf(p.cmd.Process.Pid)
	return st.self, err
}

// stat holds what Linux tells of a process. It counts 100 ticks a second.
type stat struct {
	parent      int
	self, ended time.Duration // processor time of itself, and of its children that ended
}

func statOf(pid int) (stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
	var n [5]int
	var errs []error
	for i, at := range []int{1, 11, 12, 13, 14} {
		n[i], err = strconv.Atoi(fields[at])
		errs = append(errs, err)
	}
	const tick = 10 * time.Millisecond
	return stat{n[0], time.Duration(n[1]+n[2]) * tick, time.Duration(n[3]+n[4]) * tick}, errors.Join(errs...)
}

// rss returns the resident memory and its peak, in MiB.
func (p *process) rss() (now, peak float64) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// figures holds the result of one measurement.
type figures struct {
	rate     float64       // events a second, end to end
	cpu      time.Duration // of the process, an event
	p50, p99 time.Duration // at a fixed rate
}

type bench struct {
	n, c, rounds, sessions int
	dir                    string
	sink                   *process
}

func tableCommand(fs *flag.FlagSet) func() error {
	b := &bench{}
	fs.IntVar(&b.n, "events", 30_000, "events of each measurement")
	fs.IntVar(&b.c, "c", 64, "connections")
	fs.IntVar(&b.rounds, "rounds", 3, "interleaved repetitions")
	fs.IntVar(&b.sessions, "sessions", 2000, "sessions the events are spread over")
	fs.StringVar(&b.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	return b.table
}

// buildBoth builds the server and this program.
func buildBoth(dir string) (server, self string, err error) {
	server, self = filepath.Join(dir, "callbackd"), filepath.Join(dir, "bench")
	for out, pkg := range map[string]string{server: "callbackd/cmd/callbackd", self: "callbackd/bench"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("build: %w\n%s", err, text)
		}
	}
	return server, self, nil
}

func (b *bench) table() error {
	dir, err := os.MkdirTemp(b.dir, "callbackd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, self, err := buildBoth(dir)
	if err != nil {
		return err
	}
	if b.sink, err = start(self, "sink"); err != nil {
		return err
	}
	defer b.sink.stop()
	relay, err := start(self, "relay", "-to", b.sink.url)
	if err != nil {
		return err
	}
	defer relay.stop()
	data := filepath.Join(dir, "data")
	srv, err := start(server, "serve", "--listen", "127.0.0.1:0", "--data", data, "--allow-target", "127.0.0.0/8", "--log-level", "warn")
	if err != nil {
		return err
	}
	defer srv.stop()
	cl, err := b.prepare(server, srv, "--data", data)
	if err != nil {
		return err
	}
	idle, _ := srv.rss()
	var ours, theirs []figures
	for i := range b.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, b.rounds)
		f, err := b.measure(relay, target{{relay.url, http.Header{"Content-Type": {"application/json"}}}})
		if err != nil {
			return err
		}
		theirs = append(theirs, f)
		if f, err = b.measure(srv, eventsTarget(cl)); err != nil {
			return err
		}
		ours = append(ours, f)
	}
	sync, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	_, peak := srv.rss()
	b.print(ours, theirs, sync, idle, peak)
	return nil
}

// prepare makes a key and a callback that points at the sink. place are the
// options that say where the store is.
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

// measure loads a process as hard as it goes, and then at 1,000 a second.
func (b *bench) measure(p *process, t target) (f figures, err error) {
	if f, err = b.loaded(p, t); err != nil {
		return f, err
	}
	if _, err := asked(b.sink.url, "/?reset=1"); err != nil {
		return f, err
	}
	const steady = 5000
	if _, err := load(t, steady, b.c, b.sessions, 1000); err != nil {
		return f, err
	}
	if err := awaitArrivals(b.sink.url, steady); err != nil {
		return f, err
	}
	a, err := asked(b.sink.url, "/?full=1&reset=1")
	f.p50, f.p99 = a.P50, a.P99
	return f, err
}

// loaded loads a process as hard as it goes.
func (b *bench) loaded(p *process, t target) (figures, error) {
	return b.loadedBy(p, func(n int) error {
		_, err := load(t, n, b.c, b.sessions, 0)
		return err
	})
}

// loadedBy is loaded with calls that make n events.
func (b *bench) loadedBy(p *process, events func(n int) error) (f figures, err error) {
	warm := b.n / 20
	if _, err := asked(b.sink.url, "/?reset=1"); err != nil {
		return f, err
	}
	if err := events(warm); err != nil {
		return f, err
	}
	if err := awaitArrivals(b.sink.url, warm); err != nil {
		return f, err
	}
	if _, err := asked(b.sink.url, "/?reset=1"); err != nil {
		return f, err
	}
	before, err := p.cpu()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := events(b.n); err != nil {
		return f, err
	}
	if err := awaitArrivals(b.sink.url, b.n); err != nil {
		return f, err
	}
	f.rate = float64(b.n) / time.Since(begin).Seconds()
	time.Sleep(300 * time.Millisecond) // the last outcomes are recorded too
	after, err := p.cpu()
	f.cpu = (after - before) / time.Duration(b.n)
	return f, err
}

// fsyncTime is the median of writing and syncing one page.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	page := make([]byte, 4096)
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	return median(took), nil
}

func median[T interface{ ~int64 | ~float64 }](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func of[F, T any](fs []F, get func(F) T) (out []T) {
	for _, f := range fs {
		out = append(out, get(f))
	}
	return out
}

func (b *bench) print(ours, theirs []figures, sync time.Duration, idle, peak float64) {
	rate := func(f figures) float64 { return f.rate }
	cpu := func(f figures) time.Duration { return f.cpu }
	p50 := func(f figures) time.Duration { return f.p50 }
	p99 := func(f figures) time.Duration { return f.p99 }
	fmt.Printf("%s, %s, %d cores; %d events of 1 KiB, %d connections, %d sessions, %d rounds interleaved, medians; fsync %v\n\n",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), b.n, b.c, b.sessions, b.rounds, sync.Round(10*time.Microsecond))
	fmt.Println("| figure | relay | callbackd | ratio |\n|---|---|---|---|")
	or, tr := median(of(ours, rate)), median(of(theirs, rate))
	fmt.Printf("| events/s end to end, durable | %.0f | %.0f | %.2f |\n", tr, or, or/tr)
	oc, tc := median(of(ours, cpu)), median(of(theirs, cpu))
	fmt.Printf("| CPU an event, server process | %v | %v | %.2f |\n", tc, oc, float64(oc)/float64(tc))
	o50, t50 := median(of(ours, p50)), median(of(theirs, p50))
	fmt.Printf("| publish to arrival at 1,000/s, p50 | %v | %v | +%v |\n", t50.Round(10*time.Microsecond), o50.Round(10*time.Microsecond), (o50 - t50).Round(10*time.Microsecond))
	o99, t99 := median(of(ours, p99)), median(of(theirs, p99))
	fmt.Printf("| publish to arrival at 1,000/s, p99 | %v | %v | +%v |\n", t99.Round(10*time.Microsecond), o99.Round(10*time.Microsecond), (o99 - t99).Round(10*time.Microsecond))
	fmt.Printf("| RSS idle, and peak after the run | | %.0f MiB, %.0f MiB | |\n", idle, peak)
}
