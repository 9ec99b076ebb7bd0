// Package app wires callbackd together: it starts the store, engine, sender and API, and
// stops them in the reverse order. It holds no rules.
package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/callbacks"
	"callbackd/internal/cluster"
	"callbackd/internal/console"
	"callbackd/internal/egress"
	"callbackd/internal/engine"
	"callbackd/internal/eventtypes"
	"callbackd/internal/front"
	"callbackd/internal/home"
	"callbackd/internal/keylimit"
	"callbackd/internal/live"
	"callbackd/internal/mail"
	"callbackd/internal/notices"
	"callbackd/internal/obs"
	"callbackd/internal/replays"
	"callbackd/internal/sender"
	"callbackd/internal/stats"
	"callbackd/internal/store"
	"callbackd/internal/telemetry"
	"callbackd/wire"
)

// Config holds the settings of a server.
type Config struct {
	StoreConfig
	Listen string // host:port; port 0 chooses one
	Log    *slog.Logger
	// LogBuffer, when set, is the buffer of Log. Its dropped lines are counted.
	LogBuffer *obs.LogBuffer
	// LogLevel, when set, is the level of Log, which the operator can change.
	LogLevel *slog.LevelVar
	// Recent, when set, has the last faults that were logged.
	Recent *obs.Recent

	AllowTargets   []netip.Prefix
	Proxy          *url.URL
	Roots          *x509.CertPool // nil: the system's
	Retention      time.Duration  // of finished events and ended sessions
	Archive        string         // directory for the events that retention removes; empty: they are not kept
	AuditRetention time.Duration  // of entries of the audit log; 0 removes none by age
	RequireHTTPS   bool
	MaskHeaders    bool
	CaptureURL     callbackd.CaptureTemplate // of keys that have none of their own
	MaxInFlight    int
	MaxConns       int // of clients; 0: front.DefaultMaxConns
	// KeyLimits are the limits of keys that have none of their own.
	KeyLimits callbackd.KeyLimits
	// TrustedProxies are proxies whose headers name the client.
	TrustedProxies []netip.Prefix
	// PublicURL is where people reach the server; nil: at its own address.
	PublicURL *url.URL
	// MetricsListen is a separate address for the metrics; empty: none.
	MetricsListen string
	// NodeListen is where other nodes reach this one, and NodeAddress how they do;
	// empty: a free port of the address by which the database is reached.
	NodeListen, NodeAddress string
	// Lease is how soon other nodes take over the work of a node that died;
	// 0: the default.
	Lease time.Duration
	// Clock is compared with the database's clock; nil: the real clock.
	Clock func() time.Time
	// OperatorToken signs the operator in to the console; empty: only one-time
	// links do.
	OperatorToken callbackd.Secret
	// Settings are the options of the command, which the management API shows and the audit
	// log has when they are others than those of the last start; none: neither does. StartedBy
	// is who gave them.
	Settings  []callbackd.ServerOption
	StartedBy callbackd.Actor
	// NoticeKey is the API key whose callbacks get the notices about all keys; empty: none.
	NoticeKey string
	// Mail sends notices about all keys to the operator; nil: nobody gets mails.
	Mail *mail.Sender
	// BacklogOld is since when a delivery has been due when its callback's backlog is an
	// incident, and DiskLow how many bytes are free when the disk is one. 0: the defaults.
	BacklogOld time.Duration
	DiskLow    int64

	// EventTypes are the platform's own types of events.
	EventTypes []wire.EventKind
	// Validate says what becomes of a published event that does not fit its schema.
	Validate eventtypes.Mode

	Console ConsoleConfig

	// Signals says which traces and metrics are sent to an OpenTelemetry collector, which
	// the standard variables OTEL_… name.
	Signals telemetry.Signals

	watchClock func() time.Time // of incidents; nil: the real clock
}

// ConsoleConfig says how the console looks, and what links for customers may do: see
// [console.Options].
type ConsoleConfig struct {
	Brand          console.Brand
	ReturnOrigins  []string
	FrameAncestors []string
}

// App is a running server.
type App struct {
	log      *slog.Logger
	started  time.Time
	accepted func(events int)
	expired  func(deliveries int)
	store    store.Store
	engine   *engine.Engine
	member   *cluster.Member // nil: this process alone uses the store
	front    *front.Front
	listener net.Listener
	metrics  *metricsServer // nil: the metrics have no address of their own

	// Of a node on a shared database; nil otherwise.
	nodeListener *nodeListener
	homes        *home.Router

	watcher    *notices.Watcher
	background *background
	archive    *archiver // nil: what retention removes is not kept
	keyset     keysetWatch
	late       lateAudits
	teardown   teardown
}

// Start opens the store, starts the engine and serves the API. Each part is
// added to the teardown as soon as it exists; Stop closes them in the reverse
// order, and so does a start that fails.
func Start(ctx context.Context, c Config) (_ *App, err error) {
	metrics := obs.New()
	if c.LogBuffer != nil {
		metrics.CountLog(c.LogBuffer)
	}
	a := &App{log: c.Log, started: time.Now(), accepted: metrics.Accepted, expired: metrics.Expired, teardown: teardown{log: c.Log}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(ctx))
		}
	}()
	if err := a.openStore(ctx, c, metrics); err != nil {
		return nil, err
	}
	collector, err := a.startTelemetry(ctx, c, metrics)
	if err != nil {
		return nil, err
	}
	policy, err := a.listen(ctx, c, metrics)
	if err != nil {
		return nil, err
	}
	transport := egress.NewTransport(egress.Options{Policy: policy, Roots: c.Roots, Proxy: c.Proxy})
	a.teardown.add("connections to receivers", func(context.Context) error {
		transport.CloseIdleConnections()
		return nil
	})
	// A node frees its shards only after its engine has drained, and the jobs
	// in the background run until then. So both are added before the engine.
	a.teardown.add("membership", a.leave)
	send := sender.New(transport, Version, obs.Limit(c.Log, time.Minute, "local fault"))
	if a.archive = a.newArchiver(c.Archive, send.Request); a.archive != nil {
		metrics.WatchArchive(a.archive.events.Load, func() bool {
			_, err := a.archiveFailing()
			return err != nil
		})
	}
	a.background = newBackground(ctx)
	a.teardown.add("background jobs", a.background.stop)

	events, err := catalogue(c)
	if err != nil {
		return nil, err
	}
	p := parts{
		metrics: metrics, events: events, collector: collector, send: send, transport: transport,
		stream: &live.Stream{}, counters: stats.New(a.store, c.Log, metrics.StatsDropped),
		tests: callbacks.NewLimiter(), overload: front.NewOverload(a.front),
		limits: keylimit.New(keylimit.Options{Count: a.store.KeyUse, Defaults: c.KeyLimits}),
	}
	metrics.WatchAccepting(p.overload.Figures)
	runner := replays.New(a.store, c.Log)
	a.watcher = a.newWatcher(c, metrics)
	seen := observers{metrics, p.counters, p.stream, a.watcher, p.limits}
	p.dispatch, err = a.startEngine(ctx, c, seen, traced(send, collector, c.Signals), runner)
	if err != nil {
		return nil, err
	}
	metrics.WatchInFlight(a.engine.InFlight)
	metrics.WatchStore(obs.Store{Figures: a.store.Figures, Backlogs: a.store.Backlogs, Reports: a.runsSingletonJobs})
	metrics.SetBuild(Version, c.StoreConfig.kind())

	service, pages := a.api(c, p), a.console(c, p)
	a.teardown.add("use of operator tokens", service.StoreTokenUses)
	if err := a.serve(c, service, pages, metrics); err != nil {
		return nil, err
	}

	a.auditOptions(ctx, c)
	a.runJobs(c, p, runner, service)
	return a, nil
}

// runJobs starts what the server does in the background.
func (a *App) runJobs(c Config, p parts, runner *replays.Runner, service *api.API) {
	a.keyset.start(a)
	a.background.run(p.counters.Run)
	a.background.run(a.watcher.Run)
	a.background.run(func(ctx context.Context) {
		runner.Run(ctx, a.isHome, stepDispatcher{p.dispatch, a.engine})
	})
	for _, j := range a.jobs(c, service) {
		a.background.run(func(ctx context.Context) { j.repeat(ctx, a.runsSingletonJobs, c.Log) })
	}
}

func (a *App) openStore(ctx context.Context, c Config, m *obs.Metrics) (err error) {
	a.store, err = c.Open(ctx, false, hooks(m, c.Log))
	if err != nil {
		return err
	}
	a.teardown.add("store", func(context.Context) error { return a.store.Close() })
	a.checkNewest(a.started)
	return a.addEventTypes(ctx, c)
}

// listen opens the addresses that the options name, and returns a policy that
// lets no callback reach them. Nothing is answered at the main address before serve.
func (a *App) listen(ctx context.Context, c Config, m *obs.Metrics) (*egress.Policy, error) {
	l, err := listen("--listen", c.Listen)
	if err != nil {
		return nil, err
	}
	a.listener = l
	a.teardown.add("listener", func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // the HTTP server closes it too
			return err
		}
		return nil
	})
	a.front = front.New(front.Options{
		MaxConns: c.MaxConns, Descriptors: c.MaxInFlight + spareDescriptors, Memory: memoryLimit(),
		Trusted: c.TrustedProxies, Log: c.Log,
	})
	m.WatchClients(a.clients)
	policy := egress.NewPolicy(c.AllowTargets)
	policy.Guard(l.Addr().(*net.TCPAddr).AddrPort())
	if shared, ok := a.store.(nodeStore); ok {
		if err := a.listenForNodes(ctx, c, shared); err != nil {
			return nil, err
		}
		for _, at := range a.nodeListener.guarded() {
			policy.Guard(at)
		}
	}
	if c.MetricsListen == "" {
		return policy, nil
	}
	if a.metrics, err = serveMetrics(c.MetricsListen, m.Handler(), c.Log); err != nil {
		return nil, err
	}
	a.teardown.add("metrics server", func(context.Context) error { return a.metrics.server.Close() })
	policy.Guard(a.metrics.addr())
	return policy, nil
}

// startEngine starts the engine and, on a shared database, joins the other
// nodes. It returns what the API and the console tell of their changes.
func (a *App) startEngine(ctx context.Context, c Config, o engine.Observer, send engine.Sender, runner *replays.Runner) (dispatcher, error) {
	shared, isShared := a.store.(store.Cluster)
	a.engine = engine.New(engine.Options{
		Queue: a.store, Sender: send, Observer: o, Log: c.Log,
		MaxInFlight: c.MaxInFlight, Shared: isShared,
	})
	a.teardown.add("engine", func(ctx context.Context) error {
		a.engine.Drain(ctx)
		return nil
	})
	if err := a.engine.Start(ctx); err != nil {
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	if !isShared {
		alone := localDispatcher{a.engine, runner}
		a.store.OnCommit(alone.OnCommit)
		return alone, nil
	}
	var err error
	if a.member, err = a.join(ctx, c, shared, runner.Wake); err != nil {
		return nil, fmt.Errorf("join the other nodes: %w", err)
	}
	a.store.OnCommit(a.member.OnCommit)
	return a.member, nil
}

// serve answers at the main address, and other nodes at theirs.
func (a *App) serve(c Config, service *api.API, pages *console.Console, count home.Counter) error {
	answered, err := a.forwarding(service, pages, c, count)
	if err != nil {
		return err
	}
	handler := a.front.Handler(answered, essential)
	server := api.Server(mount(c.PublicURL, handler), c.Log)
	server.ConnContext = front.ConnContext
	server.RegisterOnShutdown(pages.Close)
	server.RegisterOnShutdown(service.Close)
	if a.homes != nil {
		server.RegisterOnShutdown(a.homes.EndReads)
	}
	a.teardown.add("HTTP server", func(ctx context.Context) error {
		if server.Shutdown(ctx) != nil { // ctx ended: calls are under way
			return server.Close()
		}
		return nil
	})
	if a.member != nil {
		a.teardown.add("shards", func(context.Context) error {
			a.member.Leave()
			return nil
		})
	}
	go server.Serve(api.Listener(a.front.Listen(a.listener))) // until the teardown
	return nil
}

// observers passes every attempt to the metrics, the statistics, the live pages and the
// limits of the keys.
type observers struct {
	*obs.Metrics
	stats  *stats.Recorder
	live   *live.Stream
	watch  *notices.Watcher
	limits *keylimit.Limiter
}

// AttemptDone is part of the engine's Observer.
func (o observers) AttemptDone(out *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	o.Metrics.AttemptDone(out, state, sinceAccepted)
	o.stats.AttemptDone(out, state, sinceAccepted)
	o.live.AttemptDone(out, state, sinceAccepted)
	o.watch.AttemptDone(out, state, sinceAccepted)
	if ev := out.Delivery.Event; ev != nil && state.Terminal() {
		o.limits.Ended(ev.Key, len(ev.Data))
	}
}

func (a *App) ready(context.Context) error {
	if !a.engine.Running() {
		return callbackd.Errorf(callbackd.KindUnavailable, "the engine does not run")
	}
	return nil
}

// URL returns the address of the API.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// HasKeys reports whether an API key exists.
func (a *App) HasKeys(ctx context.Context) (bool, error) {
	keys, err := a.store.ListKeys(ctx)
	return len(keys) > 0, err
}

// Stop closes everything in the reverse order of the start: the server takes
// no more calls, attempts in flight finish, then the store is closed. When ctx
// ends first, Stop breaks off the calls and attempts that are left.
func (a *App) Stop(ctx context.Context) error { return a.teardown.run(ctx) }
