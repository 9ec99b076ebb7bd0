package obs

import "github.com/prometheus/client_golang/prometheus"

// Visitors is what visitors hold now, and what was kept from them so far.
type Visitors struct {
	Connections, BodyBytes, AnswerBytes int64
	Closed, Refused                     int64
}

// WatchVisitors adds the figures of visitors; now is asked at each scrape.
func (m *Metrics) WatchVisitors(now func() Visitors) {
	gauge := func(name, help string, of func(Visitors) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of(now())) })
	}
	counter := func(name, help string, of func(Visitors) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(now())) })
	}
	m.registry.MustRegister(
		gauge("callbackd_connections", "Connections of visitors.", func(v Visitors) int64 { return v.Connections }),
		gauge("callbackd_body_bytes", "Bytes of large bodies in memory.", func(v Visitors) int64 { return v.BodyBytes }),
		gauge("callbackd_answer_bytes", "Bytes of large answers on their way.", func(v Visitors) int64 { return v.AnswerBytes }),
		counter("callbackd_connections_closed_total", "Silent connections that were closed to make room for new ones.", func(v Visitors) int64 { return v.Closed }),
		counter("callbackd_requests_refused_total", "Requests and connections refused because too much was under way.", func(v Visitors) int64 { return v.Refused }),
	)
}
