// Package obs is how callbackd is watched: the names of all metrics, in one
// place, and the logger.
package obs

import (
	"net/http"
	"time"

	"callbackd"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is every metric callbackd has. None is labelled by callback or key:
// there may be a hundred thousand of them.
type Metrics struct {
	registry  *prometheus.Registry
	accepted  prometheus.Counter
	attempts  *prometheus.CounterVec
	ended     *prometheus.CounterVec
	latency   prometheus.Histogram
	exchange  prometheus.Histogram
	repeats   prometheus.Counter
	breakers  prometheus.Counter
	paused    *prometheus.CounterVec
	stale     prometheus.Counter
	commits   prometheus.Counter
	committed prometheus.Counter
	refused   prometheus.Counter
	dropped   prometheus.Counter
}

// New makes the metrics.
func New() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		accepted:  counter("callbackd_events_accepted_total", "Events acknowledged, repeats by idempotency key included."),
		attempts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "callbackd_attempts_total", Help: "Attempts by fault; no fault is success."}, []string{"fault"}),
		ended:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "callbackd_deliveries_ended_total", Help: "Deliveries that ended with an attempt, by state."}, []string{"state"}),
		latency:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "callbackd_delivery_seconds", Help: "From acceptance to the recorded success.", Buckets: buckets}),
		exchange:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "callbackd_exchange_seconds", Help: "Duration of attempts.", Buckets: buckets}),
		repeats:   counter("callbackd_repeats_total", "Attempts that a person or a replay asked for."),
		breakers:  counter("callbackd_breaker_opened_total", "Times a breaker opened after consecutive failures."),
		paused:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "callbackd_callbacks_paused_total", Help: "Callbacks that were paused without a person, by reason."}, []string{"reason"}),
		stale:     counter("callbackd_stale_outcomes_total", "Attempts that are in no history: another node had the delivery by then, or its event was gone."),
		commits:   counter("callbackd_store_commits_total", "Group commits."),
		committed: counter("callbackd_store_commands_total", "Commands in group commits."),
		refused:   counter("callbackd_store_refused_total", "Commands that the store could not write."),
		dropped:   counter("callbackd_journal_dropped_total", "Rows of the calls' log and of the sums of attempts that were not kept."),
	}
	for _, state := range []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Canceled} {
		m.ended.WithLabelValues(string(state)) // a count of 0 shows too
	}
	for _, reason := range []callbackd.PauseReason{callbackd.PausedGone, callbackd.PausedNoAnswer} {
		m.paused.WithLabelValues(string(reason))
	}
	m.registry.MustRegister(m.accepted, m.attempts, m.ended, m.latency, m.exchange, m.repeats, m.breakers, m.paused, m.stale, m.commits, m.committed, m.refused, m.dropped,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// WatchInFlight adds the number of attempts in flight, which it asks for at
// each scrape.
func (m *Metrics) WatchInFlight(inFlight func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "callbackd_attempts_in_flight",
		Help: "Attempts in flight.",
	}, func() float64 { return float64(inFlight()) }))
}

// CountLog adds the lines that a log's buffer dropped.
func (m *Metrics) CountLog(b *LogBuffer) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "callbackd_log_lines_dropped_total",
		Help: "Log lines that were not written, because nobody read them."}, func() float64 { return float64(b.Dropped()) }))
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Accepted counts accepted events.
func (m *Metrics) Accepted(n int) { m.accepted.Add(float64(n)) }

// Committed counts a group commit.
func (m *Metrics) Committed(commands int) {
	m.commits.Inc()
	m.committed.Add(float64(commands))
}

// Refused counts commands that the store could not write.
func (m *Metrics) Refused(commands int) { m.refused.Add(float64(commands)) }

// StatsDropped counts rows of logs and sums that were not kept.
func (m *Metrics) StatsDropped(n int) { m.dropped.Add(float64(n)) }

// AttemptDone is part of the engine's Observer, as are the methods below.
func (m *Metrics) AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	m.attempts.WithLabelValues(string(o.Attempt.Fault)).Inc()
	m.exchange.Observe(o.Attempt.Timings.Total.Seconds())
	if o.Delivery.Manual {
		m.repeats.Inc()
	}
	if state.Terminal() {
		m.ended.WithLabelValues(string(state)).Inc()
	}
	if state == callbackd.Delivered {
		m.latency.Observe(sinceAccepted.Seconds())
	}
}

// BreakerOpened counts breakers that opened.
func (m *Metrics) BreakerOpened() { m.breakers.Inc() }

// CallbackPaused counts pauses that no person asked for.
func (m *Metrics) CallbackPaused(r callbackd.PauseReason) { m.paused.WithLabelValues(string(r)).Inc() }

// StaleOutcome counts outcomes that came too late.
func (m *Metrics) StaleOutcome() { m.stale.Inc() }
