package obs

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/safetext"

	"github.com/prometheus/client_golang/prometheus"
)

// Store reads what the metrics say of the whole store.
type Store struct {
	Figures  func(context.Context) (callbackd.Figures, error)
	Backlogs func(context.Context, time.Time) (callbackd.Backlogs, error)
	// Reports says whether this node reports them. Of several nodes one does.
	Reports func() bool
}

// WatchStore adds the metrics of the whole store. It reads the store at a scrape, and no more
// often than a small share of the time.
func (m *Metrics) WatchStore(s Store) {
	m.registry.MustRegister(&storeCollector{
		reports:  s.Reports,
		figures:  reading[callbackd.Figures]{read: s.Figures},
		backlogs: reading[callbackd.Backlogs]{read: func(ctx context.Context) (callbackd.Backlogs, error) { return s.Backlogs(ctx, time.Now()) }},
	})
}

// SetBuild adds a metric that says which version of callbackd runs, on which store.
func (m *Metrics) SetBuild(version, store string) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "callbackd_build_info", Help: "1, with the version of callbackd and of Go, and the kind of store, as labels.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version(), "store": store},
	})
	g.Set(1)
	m.registry.MustRegister(g)
}

const (
	// readingShare is the least ratio of the time between two reads of the store to the
	// time that a read takes.
	readingShare = 50
	// readingPatience is how long a scrape waits for a read. Then it gets what was read
	// before.
	readingPatience = 2 * time.Second
)

// reading holds what was read last.
type reading[T any] struct {
	read func(context.Context) (T, error)

	mu      sync.Mutex
	value   T
	at      time.Time     // when value was read; zero: never
	next    time.Time     // before then nothing is read
	running chan struct{} // closed at the end of the read that runs; nil: none does
}

// get returns what was read last, and when. It reads anew unless that is too soon.
func (r *reading[T]) get() (value T, at time.Time) {
	r.mu.Lock()
	if r.running == nil && !time.Now().Before(r.next) {
		r.running = make(chan struct{})
		go r.renew(r.running)
	}
	running := r.running
	r.mu.Unlock()
	if running != nil {
		select {
		case <-running:
		case <-time.After(readingPatience):
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value, r.at
}

// renew reads the value. A read that fails leaves the last one, whose age is reported.
func (r *reading[T]) renew(done chan struct{}) {
	start := time.Now()
	value, err := r.read(context.Background())
	end := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.value, r.at = value, start
	}
	r.next = end.Add(readingShare * end.Sub(start))
	r.running = nil
	close(done)
}

// storeCollector turns what was read into metrics.
type storeCollector struct {
	reports  func() bool
	figures  reading[callbackd.Figures]
	backlogs reading[callbackd.Backlogs]
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// ofCallback are the labels of the series of one callback.
var ofCallback = []string{"callback", "event", "name", "key"}

// The metrics of the whole store.
var (
	storeAccepted = desc("callbackd_store_deliveries_accepted_total", "How often deliveries became pending since counting began, by reason. Stored, so a restart does not reset it.", "reason")
	storeEnded    = desc("callbackd_store_deliveries_ended_total", "How often deliveries ended since counting began, by state. Stored, so a restart does not reset it.", "state")
	storePending  = desc("callbackd_store_deliveries_pending", "Pending deliveries.")
	oldestDue     = desc("callbackd_oldest_due_seconds", "For how long the oldest delivery has been due, of callbacks that are not paused.")
	callbacks     = desc("callbackd_callbacks", "Callbacks in force, by health and by the reason of their pause.", "health", "paused")
	databaseBytes = desc("callbackd_database_bytes", "Size of the database.")
	logBytes      = desc("callbackd_database_log_bytes", "Size of the write-ahead log of the embedded store.")
	diskFree      = desc("callbackd_disk_free_bytes", "Free space on the volume of the data directory.")
	bufferEvents  = desc("callbackd_buffer_events", "Events in the buffer of the embedded store.")
	incidentsOpen = desc("callbackd_incidents_open", "Incidents that have not ended.")
	mailsWaiting  = desc("callbackd_notice_mails_waiting", "Incidents of which a mail is to be sent, by whether a try has failed.", "failed")
	figuresAge    = desc("callbackd_figures_age_seconds", "Since when the metrics of the store or of its backlogs were read.", "figures")

	troubledPending = desc("callbackd_callback_pending", "Pending deliveries of a callback in trouble.", ofCallback...)
	troubledDue     = desc("callbackd_callback_oldest_due_seconds", "For how long the oldest delivery of a callback in trouble has been due.", ofCallback...)
	troubledFailing = desc("callbackd_callback_failing_seconds", "For how long a callback in trouble has been failing; 0: it is not failing.", ofCallback...)
	troubledPaused  = desc("callbackd_callback_paused", "1 for a callback in trouble that is paused, by reason.", append(ofCallback, "reason")...)
)

// Describe is part of prometheus.Collector.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		storeAccepted, storeEnded, storePending, oldestDue, callbacks, databaseBytes, logBytes, diskFree, bufferEvents, figuresAge,
		incidentsOpen, mailsWaiting,
		troubledPending, troubledDue, troubledFailing, troubledPaused,
	} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	if !c.reports() {
		return
	}
	s := series{ch: ch, now: time.Now()}
	if f, at := c.figures.get(); !at.IsZero() {
		s.figures(&f)
		s.gauge(figuresAge, s.since(at), "store")
	}
	if b, at := c.backlogs.get(); !at.IsZero() {
		s.backlogs(&b)
		s.gauge(figuresAge, s.since(at), "backlogs")
	}
}

// series makes the metrics of one scrape.
type series struct {
	ch  chan<- prometheus.Metric
	now time.Time
}

func (s series) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s series) counter(d *prometheus.Desc, v int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// since returns the seconds since a time; 0 for the zero time and for one to come.
func (s series) since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, s.now.Sub(t).Seconds())
}

func (s series) figures(f *callbackd.Figures) {
	for reason, n := range f.Counts.Accepted {
		s.counter(storeAccepted, n, string(reason))
	}
	for state, n := range f.Counts.Ended {
		s.counter(storeEnded, n, string(state))
	}
	s.callbacks(f.Callbacks)
	s.gauge(databaseBytes, float64(f.Database))
	s.gauge(incidentsOpen, float64(f.Incidents.Open))
	s.gauge(mailsWaiting, float64(f.Incidents.MailsFailing), "yes")
	s.gauge(mailsWaiting, float64(f.Incidents.Mails-f.Incidents.MailsFailing), "no")
	if l := f.Local; l != nil {
		s.gauge(logBytes, float64(l.Log))
		s.gauge(diskFree, float64(l.DiskFree))
		s.gauge(bufferEvents, float64(l.Buffer))
	}
}

// callbacks serves every condition, also one that no callback is in.
func (s series) callbacks(counts []callbackd.CallbackCount) {
	type condition struct{ health, paused string }
	all := map[condition]int64{}
	for _, paused := range callbackd.PauseReasons {
		all[condition{"failing", pauseLabel(paused)}] = 0
		all[condition{"working", pauseLabel(paused)}] = 0
	}
	for _, c := range counts {
		health := "working"
		if c.Failing {
			health = "failing"
		}
		all[condition{health, pauseLabel(c.Paused)}] += c.N
	}
	for c, n := range all {
		s.gauge(callbacks, float64(n), c.health, c.paused)
	}
}

func pauseLabel(r callbackd.PauseReason) string {
	if r == callbackd.NotPaused {
		return "no"
	}
	return string(r)
}

func (s series) backlogs(b *callbackd.Backlogs) {
	s.gauge(storePending, float64(b.Pending))
	s.gauge(oldestDue, s.since(b.OldestDue))
	for i := range b.Troubled {
		t := &b.Troubled[i]
		labels := []string{strconv.FormatInt(int64(t.ID), 10), string(t.Callback.Event), label(t.Callback.Name), label(t.KeyName)}
		s.gauge(troubledPending, float64(t.Pending), labels...)
		s.gauge(troubledDue, s.since(t.OldestDue), labels...)
		s.gauge(troubledFailing, s.since(t.FailingSince), labels...)
		if t.Paused != callbackd.NotPaused {
			s.gauge(troubledPaused, 1, append(labels, string(t.Paused))...)
		}
	}
}

// maxLabel is the most characters of a name that a label has.
const maxLabel = 64

// label makes a name that a person chose a safe value of a label.
func label(name string) string { return safetext.Clip(safetext.Replace(name), maxLabel) }
