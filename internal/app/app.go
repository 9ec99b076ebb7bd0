// Package app wires callbackd together and holds no rules: store, engine,
// sender and API, started in order and stopped in the reverse.
package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/callbacks"
	"callbackd/internal/cluster"
	"callbackd/internal/console"
	"callbackd/internal/egress"
	"callbackd/internal/engine"
	"callbackd/internal/front"
	"callbackd/internal/live"
	"callbackd/internal/obs"
	"callbackd/internal/replays"
	"callbackd/internal/sender"
	"callbackd/internal/session"
	"callbackd/internal/stats"
	"callbackd/internal/store"
)

// Version is what User-Agent and `callbackd version` say.
const Version = "0.1.0"

// Config is what a server is started with.
type Config struct {
	StoreConfig
	Listen string // host:port; port 0 chooses one
	Log    *slog.Logger
	// LogBuffer, when set, is what Log writes to: its lines are counted.
	LogBuffer *obs.LogBuffer

	AllowTargets []netip.Prefix
	Proxy        *url.URL
	Roots        *x509.CertPool // nil: the system's
	Retention    time.Duration  // how long finished events stay
	RequireHTTPS bool
	MaskHeaders  bool
	CaptureURL   callbackd.CaptureTemplate // of keys that have none of their own
	MaxInFlight  int
	MaxConns     int // of visitors; 0: front.DefaultMaxConns
	// TrustedProxies are believed what they say of visitors.
	TrustedProxies []netip.Prefix
	// PublicURL is where people reach the server; nil: where it listens.
	PublicURL *url.URL
	// MetricsListen is an address of their own for the metrics; empty: none.
	MetricsListen string
	// Lease is within how long the work of a killed node is another's, when
	// nodes share a database; 0: the default.
	Lease time.Duration
	// Clock is what a node compares with the database's clock; nil: the real
	// one.
	Clock func() time.Time
	// OperatorToken signs the operator in to the console; empty: one-time
	// links only.
	OperatorToken callbackd.Secret
}

// App is a running server.
type App struct {
	log       *slog.Logger
	console   *console.Console
	front     *front.Front
	metrics   *metricsServer // nil: no address of their own
	started   time.Time
	store     store.Store
	engine    *engine.Engine
	transport *egress.Transport
	member    *cluster.Member // nil: the store is this process's alone
	server    *http.Server
	listener  net.Listener
	served    chan error
	upkeep    sync.WaitGroup
	stop      context.CancelFunc
	accepted  func(events int)
}

// Start opens the store, starts the engine and serves the API.
func Start(ctx context.Context, c Config) (_ *App, err error) {
	a := &App{log: c.Log, started: time.Now(), served: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(ctx))
		}
	}()
	metrics := obs.New(func() int { return a.engine.InFlight() })
	a.accepted = metrics.Accepted
	if c.LogBuffer != nil {
		metrics.CountLog(c.LogBuffer)
	}
	if a.store, err = c.Open(ctx, false, a.hooks(metrics)); err != nil {
		return nil, err
	}
	a.tellClock(a.started)
	seldom := obs.Seldom(c.Log, time.Minute, "local fault")
	if a.listener, err = listen("--listen", c.Listen); err != nil {
		return nil, err
	}
	a.front = front.New(front.Options{MaxConns: c.MaxConns, Descriptors: c.MaxInFlight + spareDescriptors, Memory: memoryLimit(), Trusted: c.TrustedProxies, Log: c.Log})
	metrics.WatchVisitors(a.visitors)
	policy := egress.NewPolicy(c.AllowTargets)
	policy.Guard(a.listener.Addr().(*net.TCPAddr).AddrPort())
	if c.MetricsListen != "" {
		if a.metrics, err = serveMetrics(c.MetricsListen, metrics.Handler(), c.Log); err != nil {
			return nil, err
		}
		policy.Guard(a.metrics.addr())
	}
	a.transport = egress.NewTransport(egress.Options{Policy: policy, Roots: c.Roots, Proxy: c.Proxy})
	send := sender.New(a.transport, Version, seldom)
	feed := &live.Feed{}
	book := stats.New(a.store, c.Log, metrics.JournalDropped)
	shared, isShared := a.store.(store.Cluster)
	a.engine = engine.New(engine.Options{Queue: a.store, Sender: send, Log: c.Log, Observer: observers{metrics, book, feed}, MaxInFlight: c.MaxInFlight, Shared: isShared})
	if err = a.engine.Start(ctx); err != nil {
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	var dispatch dispatcher = a.engine
	runner := replays.New(choreReplays{a.store, a}, func(ds []callbackd.Delivery) { dispatch.Replay(ds) }, c.Log)
	if isShared {
		if a.member, err = a.join(ctx, c, shared, runner.Kick); err != nil {
			return nil, fmt.Errorf("join the other nodes: %w", err)
		}
		dispatch = a.member
	}
	a.store.OnCommit(dispatch.OnCommit)
	tests := &callbacks.Limiter{}
	replaysChanged := runner.Kick
	if a.member != nil {
		replaysChanged = a.member.ReplaysChanged
	}
	handler := api.New(api.Options{
		Store: a.store, Dispatcher: dispatch, Preview: send.Request, Tests: tests, Log: c.Log, Metrics: guardedMetrics(metrics.Handler(), c.OperatorToken, a.metrics != nil), Accepted: metrics.Accepted,
		Calls: book, Advise: a.transport.AdviseAddress, ReplaysChanged: replaysChanged, Ready: a.ready, RequireHTTPS: c.RequireHTTPS, MaskHeaders: c.MaskHeaders, CaptureURL: c.CaptureURL,
	})
	a.console = console.New(console.Options{
		Store: a.store, Dispatcher: dispatch, Preview: send.Request, Tests: tests, Feed: feed, Runner: kicker(replaysChanged), Nodes: a.nodes, Log: c.Log, Version: Version,
		OperatorToken: c.OperatorToken, RequireHTTPS: c.RequireHTTPS, Advise: a.transport.Advise, Public: c.PublicURL,
	})
	a.server = api.Server(mount(c.PublicURL, a.front.Handler(both(handler, a.console), essential)), c.Log)
	a.server.ConnContext = front.ConnContext
	a.server.RegisterOnShutdown(a.console.Close)
	a.server.RegisterOnShutdown(handler.Close)
	go func() { a.served <- a.server.Serve(api.Listener(a.front.Listen(a.listener))) }()
	var upkeep context.Context
	upkeep, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.upkeep.Go(func() { a.settle(upkeep) })
	a.upkeep.Go(func() { a.sweep(upkeep, c.Retention) })
	a.upkeep.Go(func() { a.advanceSessions(upkeep, session.Now) })
	a.upkeep.Go(func() { a.sweepSessions(upkeep, c.Retention) })
	a.upkeep.Go(func() { a.forget(upkeep) })
	a.upkeep.Go(func() { a.prune(upkeep, c.Retention) })
	a.upkeep.Go(func() { runner.Run(upkeep) })
	a.upkeep.Go(func() { book.Run(upkeep) })
	a.upkeep.Go(func() { a.guard(upkeep) })
	a.upkeep.Go(func() { watchClock(upkeep, time.Now, a.clockSet) })
	return a, nil
}

// observers tells metrics, sums and live pages of every attempt.
type observers struct {
	*obs.Metrics
	stats *stats.Journal
	feed  *live.Feed
}

// AttemptDone is part of the engine's Observer.
func (o observers) AttemptDone(out *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	o.Metrics.AttemptDone(out, state, sinceAccepted)
	o.stats.AttemptDone(out, state, sinceAccepted)
	o.feed.AttemptDone(out, state, sinceAccepted)
}

// both serves the console under its root and the API everywhere else.
func both(api, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == console.Root || strings.HasPrefix(r.URL.Path, console.Root+"/") {
			pages.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

func (a *App) ready(context.Context) error {
	if !a.engine.Running() {
		return callbackd.Errorf(callbackd.KindUnavailable, "the engine does not run")
	}
	return nil
}

// URL is where the API is served.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// HasKeys tells whether an API key exists.
func (a *App) HasKeys(ctx context.Context) (bool, error) {
	keys, err := a.store.ListKeys(ctx)
	return len(keys) > 0, err
}

// Stop ends everything in the reverse order of the start: no more intake,
// attempts finished or broken off when ctx ends, then the store.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	if a.member != nil {
		a.member.Leave()
	}
	if a.server != nil {
		if err := a.server.Shutdown(ctx); err != nil {
			errs = append(errs, a.server.Close())
		}
	} else if a.listener != nil {
		errs = append(errs, a.listener.Close())
	}
	if err := a.metrics.close(); err != nil {
		errs = append(errs, err)
	}
	if a.engine != nil {
		a.engine.Drain(ctx)
	}
	if a.transport != nil {
		a.transport.CloseIdleConnections()
	}
	if a.stop != nil {
		a.stop()
		a.upkeep.Wait()
	}
	if a.member != nil {
		if err := a.member.Close(context.WithoutCancel(ctx)); err != nil {
			errs = append(errs, fmt.Errorf("leave the other nodes: %w; they go on when the lease is over", err))
		}
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Slices of the slow work, and the pauses between them that leave the writer
// to deliveries.
const (
	slice      = 200
	slicePause = 20 * time.Millisecond
	settleIdle = 2 * time.Second
	sweepIdle  = time.Minute
)

// settle ends what deleted callbacks and revoked keys are still owed.
func (a *App) settle(ctx context.Context) {
	for {
		var n int
		var err error
		if a.singletonJobs() {
			n, err = a.store.FinalizeCanceled(ctx, time.Now(), slice)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("canceled deliveries not settled", "error", err)
		}
		wait := settleIdle
		if err == nil && n > 0 {
			wait = slicePause
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// sweep removes what ended longer ago than keep.
func (a *App) sweep(ctx context.Context, keep time.Duration) {
	var after callbackd.EventID
	for {
		if !a.singletonJobs() {
			if after = 0; !pause(ctx, sweepIdle) {
				return
			}
			continue
		}
		next, removed, done, err := a.store.Sweep(ctx, time.Now().Add(-keep), after, slice)
		wait := slicePause
		switch {
		case err != nil:
			if ctx.Err() == nil {
				a.log.Error("old events not removed", "error", err)
			}
			wait = sweepIdle
		case done:
			after, wait = 0, sweepIdle
		default:
			after = next
		}
		if removed > 0 {
			a.log.Debug("old events removed", "events", removed)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// How long what no promise covers is kept.
const (
	keepLogs    = 7 * 24 * time.Hour
	keepMinutes = 26 * time.Hour
	keepHours   = 35 * 24 * time.Hour
)

// prune removes old logs, sums and replays.
func (a *App) prune(ctx context.Context, keep time.Duration) {
	for {
		now, n := time.Now(), 0
		var err error
		if a.singletonJobs() {
			n, err = a.store.Prune(ctx, store.Prune{Logs: now.Add(-keepLogs), Minutes: now.Add(-keepMinutes), Hours: now.Add(-keepHours), Replays: now.Add(-keep)}, slice)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("old logs and sums not removed", "error", err)
		}
		wait := sweepIdle
		if err == nil && n > 0 {
			wait = slicePause
		}
		if !pause(ctx, wait) {
			return
		}
	}
}
