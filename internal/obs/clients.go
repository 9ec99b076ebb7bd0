package obs

import "github.com/prometheus/client_golang/prometheus"

// Clients holds what the clients of the server use now, and how many of their
// connections and requests were closed or refused since the start.
type Clients struct {
	Connections, BodyBytes, AnswerBytes int64
	Closed, Refused                     int64
}

// WatchClients adds the figures of clients. It calls now at each scrape.
func (m *Metrics) WatchClients(now func() Clients) {
	gauge := func(name, help string, of func(Clients) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of(now())) })
	}
	counter := func(name, help string, of func(Clients) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(now())) })
	}
	m.registry.MustRegister(
		gauge("callbackd_connections", "Open client connections.", func(v Clients) int64 { return v.Connections }),
		gauge("callbackd_body_bytes", "Bytes of large bodies in memory.", func(v Clients) int64 { return v.BodyBytes }),
		gauge("callbackd_answer_bytes", "Bytes of large answers that are being sent.", func(v Clients) int64 { return v.AnswerBytes }),
		counter("callbackd_connections_closed_total", "Idle connections that were closed to make room for new ones.", func(v Clients) int64 { return v.Closed }),
		counter("callbackd_requests_refused_total", "Requests and connections that were refused because of a limit.", func(v Clients) int64 { return v.Refused }),
	)
}

// WatchAccepting adds metrics with how many events are being accepted, how many may be at the
// same time, and how many arrays wait for room. It calls now at each scrape.
func (m *Metrics) WatchAccepting(now func() (accepting, limit, arrays int)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "callbackd_events_accepting", Help: "Events whose calls wait for the store."},
			func() float64 { n, _, _ := now(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "callbackd_events_accepting_limit", Help: "How many events may wait for the store before further calls are refused."},
			func() float64 { _, n, _ := now(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "callbackd_arrays_waiting", Help: "Calls with arrays of events that wait until they may wait for the store."},
			func() float64 { _, _, n := now(); return float64(n) }),
	)
}
