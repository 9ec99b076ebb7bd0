package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
	"callbackd/internal/cluster"
	"callbackd/internal/store/postgres/pgtest"
)

// within waits until the shards are shared by n nodes and tells how long it
// took; much more than the promise fails.
func (c *nodes) within(n int, promise time.Duration, what string) {
	c.t.Helper()
	begun := time.Now()
	c.shared(n)
	took := time.Since(begun)
	c.t.Logf("%s: all shards are shared by %d nodes after %v; promised: %v", what, n, took.Round(10*time.Millisecond), promise)
	if took > promise+patience/6 {
		c.t.Errorf("%s: it took %v", what, took)
	}
}

// With the default lease: how long it takes until a node that comes has its
// share, and that of one that goes, or dies, is the others'.
func TestSharesFollowTheNodes(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := newNodesOn(t, pg, pg.Schema(t), cluster.DefaultLease, 2, 0)
	c.shared(2)
	c.up = append(c.up, c.serve(c.url))
	c.within(3, 10*time.Second, "a node is added")
	stopped := c.node(2).stopping(t)
	c.within(2, time.Second, "a node is told to stop")
	stopped()
	c.node(1).kill()
	c.within(1, cluster.DefaultLease, "a node is killed")
	c.limits()
}

// stopping tells a server to stop and returns what waits for its end.
func (s *server) stopping(t *testing.T) func() {
	done := make(chan int, 1)
	go func() { done <- s.term(t) }()
	return func() {
		t.Helper()
		if code := <-done; code != 0 {
			t.Errorf("it ends with %d: %s", code, s.log)
		}
	}
}

// gauge measures a receiver: what is in it at a time, and when all came.
type gauge struct {
	mu       sync.Mutex
	now, max int
	at       []time.Time
}

func (g *gauge) sink(t *testing.T, work time.Duration) *sink {
	sk := newSink(t)
	sk.answer = func(ctx context.Context, _ try, _ int64) int {
		g.mu.Lock()
		g.at = append(g.at, time.Now())
		g.now++
		g.max = max(g.max, g.now)
		g.mu.Unlock()
		select {
		case <-time.After(work):
		case <-ctx.Done():
		}
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
		return 200
	}
	return sk
}

// limits: a callback's concurrency and rate hold over all nodes, also while
// it changes hands. Events come in through all nodes.
func (c *nodes) limits() {
	t := c.t
	c.up = []*server{c.node(0), c.serve(c.url), c.serve(c.url)}
	c.shared(3)
	const rate, concurrency, events = 50, 2, 450
	var narrow, slow gauge
	narrowSink, slowSink := narrow.sink(t, 10*time.Millisecond), slow.sink(t, 0)
	var homes []callbackd.KeyID
	var keys []*client.Client
	for name, sk := range map[string]*sink{"narrow": narrowSink, "slow": slowSink} {
		body := map[string]any{"event": event, "name": name, "url": sk.URL}
		if name == "narrow" {
			body["concurrency"] = concurrency
		} else {
			body["rate"] = rate
		}
		cl := c.newKey()
		if err := cl.Do(t.Context(), "POST", "/v1/callbacks", body, nil); err != nil {
			t.Fatal(err)
		}
		keys, homes = append(keys, cl), append(homes, callbackd.KeyID(len(c.keys)))
	}
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() {
			node := []*client.Client{c.with(keys[0], w), c.with(keys[1], w)}
			for i := range 2 * events / 3 {
				k := i % 2
				for once := fmt.Sprint(w, "-", i); t.Context().Err() == nil; { // one node stops meanwhile
					if _, err := node[k].Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("L", i), ID: once}); err == nil {
						break
					}
					node[k] = keys[k]
				}
			}
		})
	}
	slowSink.await(t, "a third arrives", func() bool { return len(slowSink.ids) > events/3 })
	for _, key := range homes { // each node that delivers is replaced while it has attempts in flight
		i := c.home(key)
		old := c.node(i)
		fresh := c.serve(c.url)
		c.replace(i, fresh)
		old.stopping(t)()
	}
	work.Wait()
	for _, sk := range []*sink{narrowSink, slowSink} {
		sk.await(t, "all arrive", func() bool { return len(sk.ids) == events })
	}
	if narrow.max > concurrency {
		t.Errorf("%d at a time, %d are allowed", narrow.max, concurrency)
	}
	span := slow.at[len(slow.at)-1].Sub(slow.at[0])
	got := float64(len(slow.at)-1) / span.Seconds()
	t.Logf("limits over nodes: %d of %d at a time; %.1f of %d a second", narrow.max, concurrency, got, rate)
	if got > rate*1.1 {
		t.Errorf("%.1f a second, %d are allowed", got, rate)
	}
}

// Ten nodes start at once on an empty database: all come up and share.
func TestTenNodesStartAtOnce(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := &nodes{t: t, binary: binary, url: pg.Schema(t), lease: lease, keyset: filepath.Join(t.TempDir(), "keys.json")}
	var procs []*process
	for range 10 {
		procs = append(procs, start(t, c.command(c.url)))
	}
	for _, p := range procs {
		c.up = append(c.up, listening(t, p))
	}
	c.within(10, cluster.DefaultLease, "ten nodes start at once")
}

// A node whose clock is half a minute off has its share; above two minutes it
// owns nothing, says so, and takes its share when the clock is right again.
func TestANodeWithAWrongClockOwnsNothing(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 1, 0)
	var mu sync.Mutex
	ahead := 30 * time.Second
	set := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); ahead = d }
	var log lockedText
	off, err := app.Start(t.Context(), app.Config{
		StoreConfig: app.StoreConfig{DatabaseURL: c.url, KeysetFile: c.keyset}, Listen: "127.0.0.1:0", Lease: c.lease, Retention: time.Hour, MaxInFlight: 100,
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Clock: func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.shared(2)
	state := func() string {
		out, errs, code := run(t, append([]string{"nodes"}, c.on()...)...)
		if code != 0 {
			t.Fatalf("%s%s", out, errs)
		}
		for l := range strings.Lines(out) {
			if strings.Contains(l, off.URL()) {
				return strings.TrimSpace(l)
			}
		}
		return out
	}
	if s := state(); !strings.HasSuffix(s, " ok") {
		t.Errorf("30 s off: %s", s)
	}
	for _, d := range []time.Duration{callbackd.MaxSkew + 10*time.Second, -callbackd.MaxSkew - 10*time.Second} {
		set(d)
		c.shared(1)
		if s := state(); !strings.Contains(s, "clock differs by ") || !strings.HasSuffix(s, ": owns no shards") {
			t.Errorf("%v off: %s", d, s)
		}
		if !strings.Contains(log.String(), "too far from the database's") {
			t.Errorf("%v off: %s", d, log.String())
		}
		// It serves all the same.
		cl := *c.cl
		cl.Base = off.URL()
		if _, err := cl.Deliveries(t.Context(), nil); err != nil {
			t.Error(err)
		}
		log.reset()
		set(-30 * time.Second)
		c.shared(2)
	}
	if err := off.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.String()
}

func (l *lockedText) reset() { l.mu.Lock(); defer l.mu.Unlock(); l.Reset() }
