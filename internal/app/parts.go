package app

import (
	"callbackd/internal/api"
	"callbackd/internal/callbacks"
	"callbackd/internal/console"
	"callbackd/internal/egress"
	"callbackd/internal/eventtypes"
	"callbackd/internal/front"
	"callbackd/internal/keylimit"
	"callbackd/internal/live"
	"callbackd/internal/obs"
	"callbackd/internal/sender"
	"callbackd/internal/stats"
	"callbackd/internal/telemetry"
	"callbackd/internal/view"
)

// parts are what the API and the console work with, besides the store.
type parts struct {
	metrics   *obs.Metrics
	collector *telemetry.Telemetry
	events    *eventtypes.Catalogue
	send      *sender.Sender
	transport *egress.Transport
	dispatch  dispatcher
	stream    *live.Stream
	counters  *stats.Recorder
	tests     *callbacks.Limiter
	limits    *keylimit.Limiter
	overload  *front.Overload
}

func (a *App) api(c Config, p parts) *api.API {
	return api.New(api.Options{
		Store: a.store, Dispatcher: p.dispatch, Calls: p.counters, Log: c.Log, Ready: a.ready,
		Tests: p.tests, Limits: p.limits, Overload: p.overload, Events: p.events,
		Limited: p.metrics.Limited, Accepted: p.metrics.Accepted, Published: p.metrics.Published, Misfit: p.metrics.Misfit,
		Preview: p.send.Request, Advise: p.transport.AdviseAddress, TestAuth: p.send.TestAuth,
		Operator:     a.operator(c),
		Metrics:      guardedMetrics(p.metrics.Handler(), c.OperatorToken, a.metrics != nil),
		RequireHTTPS: c.RequireHTTPS, MaskHeaders: c.MaskHeaders, CaptureURL: c.CaptureURL,
		Tracing: tracing(p.collector, c.Signals),
		About:   api.About{Nodes: a.wireNodes, Settings: view.Settings(c.Settings)},
		Public:  c.PublicURL, ReturnOrigins: c.Console.ReturnOrigins,
	})
}

func (a *App) console(c Config, p parts) *console.Console {
	return console.New(console.Options{
		Store: a.store, Dispatcher: p.dispatch, Stream: p.stream, Tests: p.tests, Log: c.Log, Limits: p.limits,
		Preview: p.send.Request, Advise: p.transport.Advise, TestAuth: p.send.TestAuth,
		Nodes: a.nodes, Events: p.events, Version: Version,
		OperatorToken: c.OperatorToken, RequireHTTPS: c.RequireHTTPS, Public: c.PublicURL,
		Brand: c.Console.Brand, ReturnOrigins: c.Console.ReturnOrigins, FrameAncestors: c.Console.FrameAncestors,
	})
}
