// Package obs has the metrics and the logger.
package obs

import (
	"net/http"
	"time"

	"callbackd"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the metrics of callbackd. Of the callbacks, of which there may be a hundred
// thousand, only the few in most trouble have series of their own.
type Metrics struct {
	registry  *prometheus.Registry
	accepted  prometheus.Counter
	attempts  *prometheus.CounterVec
	succeeded prometheus.Counter // of attempts; to find it takes longer than to count
	ended     map[callbackd.State]prometheus.Counter
	latency   prometheus.Histogram
	published prometheus.Histogram
	duration  prometheus.Histogram
	manual    prometheus.Counter
	breakers  prometheus.Counter
	paused    *prometheus.CounterVec
	stale     prometheus.Counter
	commits   prometheus.Counter
	committed prometheus.Counter
	refused   prometheus.Counter
	dropped   prometheus.Counter
	forwarded prometheus.Counter
	homeAway  prometheus.Counter
	silent    prometheus.Counter
	limited   *prometheus.CounterVec
	mails     *prometheus.CounterVec
	misfits   *prometheus.CounterVec
}

// buckets are the upper bounds of the histograms, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// New makes the metrics.
func New() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	labeled := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		accepted:  counter("callbackd_events_accepted_total", "Events acknowledged, including repeated calls with the same idempotency key."),
		attempts:  labeled("callbackd_attempts_total", "Attempts by fault. An empty fault is a success.", "fault"),
		ended:     map[callbackd.State]prometheus.Counter{},
		latency:   histogram("callbackd_delivery_seconds", "Time from the acceptance of an event to its recorded success."),
		published: histogram("callbackd_publish_seconds", "Duration of accepted publishes (POST /v1/events), from their headers to the answer."),
		duration:  histogram("callbackd_attempt_seconds", "Duration of attempts."),
		manual:    counter("callbackd_manual_attempts_total", "Attempts that a person or a replay asked for."),
		breakers:  counter("callbackd_breaker_opened_total", "Breakers that opened after consecutive failures."),
		paused:    labeled("callbackd_callbacks_paused_total", "Callbacks that callbackd paused by itself, by reason.", "reason"),
		stale:     counter("callbackd_stale_outcomes_total", "Attempts that were not recorded: another node had taken over the delivery, or its event had been removed."),
		commits:   counter("callbackd_store_commits_total", "Group commits."),
		committed: counter("callbackd_store_commands_total", "Commands in group commits."),
		refused:   counter("callbackd_store_refused_total", "Commands that the store could not write, because the disk is full or the database is away."),
		dropped:   counter("callbackd_stats_rows_dropped_total", "Rows of the log of calls and of the counters of attempts that were not written."),
		forwarded: counter("callbackd_calls_forwarded_total", "Calls that another node answered, because it is the home of their API key."),
		homeAway:  counter("callbackd_calls_without_home_total", "Calls that this node answered, because it did not reach the home of their API key."),
		silent:    counter("callbackd_calls_unanswered_total", "Calls that were sent to the home of their API key and got no answer."),
		limited:   labeled("callbackd_calls_limited_total", "Calls of the API that were refused because a limit was reached, by limit.", "limit"),
		mails:     labeled("callbackd_notice_mails_total", "Tries to send a mail about incidents, by result.", "result"),
		misfits:   labeled("callbackd_events_misfit_total", "Published events whose data does not fit the schema of their type, by result (serve --validate).", "result"),
	}
	// They are made here so that a count of 0 is served too.
	m.succeeded = m.attempts.WithLabelValues(string(callbackd.NoFault))
	ended := labeled("callbackd_deliveries_ended_total", "Deliveries that ended with an attempt, that a person canceled, or that expired, by state.", "state")
	for _, state := range callbackd.TerminalStates() {
		m.ended[state] = ended.WithLabelValues(string(state))
	}
	for _, reason := range []callbackd.PauseReason{callbackd.PausedGone, callbackd.PausedByReceiver, callbackd.PausedNoAnswer} {
		m.paused.WithLabelValues(string(reason))
	}
	for _, l := range callbackd.Limits {
		m.limited.WithLabelValues(string(l))
	}
	for _, result := range []string{mailSent, mailFailed} {
		m.mails.WithLabelValues(result)
	}
	for _, result := range []string{misfitAccepted, misfitRefused} {
		m.misfits.WithLabelValues(result)
	}
	m.registry.MustRegister(
		m.accepted, m.attempts, ended, m.latency, m.published, m.duration, m.manual, m.breakers, m.paused, m.stale,
		m.commits, m.committed, m.refused, m.dropped, m.forwarded, m.homeAway, m.silent, m.limited, m.mails, m.misfits,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// WatchInFlight adds a metric with the number of attempts in flight. It calls inFlight at
// each scrape.
func (m *Metrics) WatchInFlight(inFlight func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "callbackd_attempts_in_flight",
		Help: "Attempts in flight.",
	}, func() float64 { return float64(inFlight()) }))
}

// WatchArchive adds metrics of the archive of what retention removes.
func (m *Metrics) WatchArchive(events func() int64, failing func() bool) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "callbackd_archived_events_total",
		Help: "Events that were written to the archive, only with --archive. Of several nodes, the one that removes old events knows it."}, func() float64 { return float64(events()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "callbackd_archive_failing",
			Help: "Whether the archive could not be written at the last try, so that retention waits; only with --archive."}, func() float64 {
			if failing() {
				return 1
			}
			return 0
		}))
}

// CountLog adds a metric with the number of lines that the buffer of a log dropped.
func (m *Metrics) CountLog(b *LogBuffer) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "callbackd_log_lines_dropped_total",
		Help: "Log lines that were dropped, because nobody read them."}, func() float64 { return float64(b.Dropped()) }))
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gatherer returns the metrics for others that send them on.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Accepted counts accepted events.
func (m *Metrics) Accepted(n int) { m.accepted.Add(float64(n)) }

// Published records how long an accepted publish took.
func (m *Metrics) Published(took time.Duration) { m.published.Observe(took.Seconds()) }

// Committed counts a group commit.
func (m *Metrics) Committed(commands int) {
	m.commits.Inc()
	m.committed.Add(float64(commands))
}

// Refused counts commands that the store could not write.
func (m *Metrics) Refused(commands int) { m.refused.Add(float64(commands)) }

// StatsDropped counts rows of statistics and of the log of calls that were not
// written.
func (m *Metrics) StatsDropped(n int) { m.dropped.Add(float64(n)) }

// Forwarded is part of home's Counter, as are the two methods below.
func (m *Metrics) Forwarded() { m.forwarded.Inc() }

// HomeAway counts calls that were answered here because their home was not reached.
func (m *Metrics) HomeAway() { m.homeAway.Inc() }

// HomeSilent counts calls that their home did not answer.
func (m *Metrics) HomeSilent() { m.silent.Inc() }

// Limited counts a call that was refused because of a limit.
func (m *Metrics) Limited(l callbackd.Limit) { m.limited.WithLabelValues(string(l)).Inc() }

// The results of a try to send a mail.
const (
	mailSent   = "sent"
	mailFailed = "failed"
)

// Values of the label result of callbackd_events_misfit_total.
const (
	misfitAccepted = "accepted"
	misfitRefused  = "refused"
)

// Misfit counts a published event whose data does not fit the schema of its type.
func (m *Metrics) Misfit(refused bool) {
	result := misfitAccepted
	if refused {
		result = misfitRefused
	}
	m.misfits.WithLabelValues(result).Inc()
}

// Mailed counts a try to send a mail.
func (m *Metrics) Mailed(err error) {
	result := mailSent
	if err != nil {
		result = mailFailed
	}
	m.mails.WithLabelValues(result).Inc()
}

// AttemptDone is part of the engine's Observer, as are the methods below.
func (m *Metrics) AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	if o.Attempt.Fault == callbackd.NoFault {
		m.succeeded.Inc()
	} else {
		m.attempts.WithLabelValues(string(o.Attempt.Fault)).Inc()
	}
	m.duration.Observe(o.Attempt.Timings.Total.Seconds())
	if o.Delivery.Manual {
		m.manual.Inc()
	}
	if ended := m.ended[state]; ended != nil && !o.Canceled { // Canceled counts that one
		ended.Inc()
	}
	if state == callbackd.Delivered {
		m.latency.Observe(sinceAccepted.Seconds())
	}
}

// BreakerOpened counts breakers that opened.
func (m *Metrics) BreakerOpened() { m.breakers.Inc() }

// CallbackPaused counts pauses that callbackd made by itself.
func (m *Metrics) CallbackPaused(r callbackd.PauseReason) { m.paused.WithLabelValues(string(r)).Inc() }

// StaleOutcome counts outcomes that were too late to be recorded.
func (m *Metrics) StaleOutcome() { m.stale.Inc() }

// Expired counts deliveries that expired, also those whose attempt was in flight.
func (m *Metrics) Expired(n int) { m.ended[callbackd.Expired].Add(float64(n)) }

// Canceled counts deliveries that a person canceled, also those whose attempt was in
// flight: a counter cannot be taken back when the outcome comes.
func (m *Metrics) Canceled(n int) { m.ended[callbackd.Canceled].Add(float64(n)) }
