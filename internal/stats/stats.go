// Package stats records counters of attempts and the log of API calls. No guarantee
// depends on them. It collects both in bounded memory and writes them to the store in
// batches, so that no call or attempt waits for the store. Rows that do not fit or cannot
// be written are dropped and counted.
package stats

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/ratelimit"
	"callbackd/internal/store"
)

// Store has the methods of the store that a recorder needs.
type Store interface {
	AppendLogs(ctx context.Context, entries []store.LogEntry) error
	AddCounters(ctx context.Context, ts []store.MinuteCounters) error
}

// Limits of what is collected between two flushes.
const (
	MaxCalls    = 4096    // entries of the log of calls
	MaxCounters = 100_000 // pairs of a callback and a minute
	// CallRate and CallBurst limit the calls of one key that get a log entry of
	// their own. Further calls are added up by minute and status.
	CallRate  = 10 // a second
	CallBurst = 200
)

const (
	flushEvery = 2 * time.Second
	// A flush writes the counters of this many callbacks, or more, so that no more than
	// maxWaiting wait after it, which take 12 MiB. When events go to very many callbacks,
	// those of one callback are then added up for up to a minute before they are written.
	flushCallbacks = 1000
	maxWaiting     = flushCallbacks * int(time.Minute/flushEvery)

	batchSize  = 256 // rows of one commit; small, because deliveries need the writer too
	maxMessage = 300 // bytes of a message
	maxPath    = 200 // bytes of a path
)

// Recorder collects counters and log entries, and flushes them to the store. Make it
// with [New].
type Recorder struct {
	store   Store
	log     *slog.Logger
	dropped func(rows int)

	countersMu sync.Mutex
	counters   map[minute]*store.MinuteCounters
	order      []minute // of counters, the oldest first

	callsMu sync.Mutex
	calls   []store.LogEntry
	totals  map[total]*store.LogEntry
	limits  *ratelimit.Limiter[callbackd.KeyID] // of calls with an entry of their own
}

// minute is one minute of a callback, counted from 1970.
type minute struct {
	callback callbackd.CallbackID
	number   int64
}

// total identifies a log entry that adds up calls.
type total struct {
	key    callbackd.KeyID
	minute int64
	kind   kind
	status int
}

// kind says why calls are added up.
type kind int

const (
	published kind = iota // successful publishes, which are too many
	refused               // calls with a wrong secret, which anybody can make
	overRate              // calls above CallRate
)

// New makes a recorder. It calls dropped for rows that are lost.
func New(s Store, log *slog.Logger, dropped func(rows int)) *Recorder {
	return &Recorder{
		store: s, log: log, dropped: dropped,
		counters: map[minute]*store.MinuteCounters{},
		totals:   map[total]*store.LogEntry{},
		limits:   ratelimit.New[callbackd.KeyID](CallRate, CallBurst),
	}
}

// AttemptDone counts an attempt, except that of a test.
func (r *Recorder) AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	if o.Delivery.Test || o.Delivery.Event == nil {
		return
	}
	ended := o.Attempt.EndedAt()
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	c := r.countersOf(o.Delivery.ID.Callback, o.Delivery.Event.Key, ended)
	if c == nil {
		r.dropped(1)
		return
	}
	c.Attempts++
	if o.Delivery.Manual {
		c.Repeats++
	}
	countReceiver(c, &o.Attempt, ended)
	switch state {
	case callbackd.Delivered:
		c.Delivered++
		if !o.Delivery.Manual {
			c.Latency.Add(sinceAccepted)
		}
	case callbackd.Failed:
		c.Failed++
	case callbackd.Canceled:
		c.Canceled++
	case callbackd.Expired:
		c.Expired++
	}
}

// countersOf returns the counters of a callback for the minute of a time; nil
// when there are too many. The lock of the counters is held.
func (r *Recorder) countersOf(cb callbackd.CallbackID, key callbackd.KeyID, at time.Time) *store.MinuteCounters {
	id := minute{cb, at.Unix() / 60}
	c := r.counters[id]
	if c == nil && len(r.counters) < MaxCounters {
		c = &store.MinuteCounters{Callback: cb, Key: key, Minute: time.Unix(id.number*60, 0).UTC()}
		r.counters[id] = c
		r.order = append(r.order, id)
	}
	return c
}

// countReceiver notes the result of an attempt as the latest one of its receiver.
func countReceiver(c *store.MinuteCounters, a *callbackd.Attempt, ended time.Time) {
	if !a.CertEnds.IsZero() {
		c.CertNotAfter = a.CertEnds
	}
	if a.Fault == callbackd.NoFault {
		c.LastSuccess = ended
		return
	}
	c.Faults++
	if kind := callbackd.FailureKind(a.Fault, a.Status); kind >= 0 {
		c.ByFault[kind]++
	}
	c.LastFailure, c.LastFault, c.LastStatus = ended, a.Fault, a.Status
}

// Published counts a successful publish of a key.
func (r *Recorder) Published(key callbackd.KeyID, at time.Time, took time.Duration, address string) {
	r.addUp(total{key, at.Unix() / 60, published, http.StatusAccepted}, took, address)
}

// Refused counts a call that named a key and did not prove its secret.
func (r *Recorder) Refused(key callbackd.KeyID, at time.Time, address string) {
	r.addUp(total{key, at.Unix() / 60, refused, http.StatusUnauthorized}, 0, address)
}

func (r *Recorder) addUp(id total, took time.Duration, address string) {
	r.callsMu.Lock()
	defer r.callsMu.Unlock()
	e := r.totals[id]
	if e == nil {
		if len(r.totals) >= MaxCalls {
			r.dropped(1)
			return
		}
		e = id.entry()
		r.totals[id] = e
	}
	e.Count++
	e.Duration += took
	e.Address = address
}

// entry returns an empty log entry for the calls.
func (id total) entry() *store.LogEntry {
	e := &store.LogEntry{Key: id.key, At: time.Unix(id.minute*60, 0).UTC(), Method: "ANY", Path: "/v1", Status: id.status}
	switch id.kind {
	case published:
		e.Method, e.Path = http.MethodPost, "/v1/events"
	case refused:
		e.Message = "Calls with this API key whose token was wrong or expired."
	case overRate:
		e.Message = "Further calls. Above 10 calls a second, calls are not logged one by one."
	}
	return e
}

// Call adds a call to the log. It never blocks.
func (r *Recorder) Call(e store.LogEntry) {
	if !r.limits.Allow(e.Key, e.At) {
		r.addUp(total{e.Key, e.At.Unix() / 60, overRate, e.Status}, e.Duration, e.Address)
		return
	}
	e.Message, e.Path = callbackd.Clip(e.Message, maxMessage), callbackd.Clip(e.Path, maxPath)
	r.callsMu.Lock()
	defer r.callsMu.Unlock()
	if len(r.calls) >= MaxCalls {
		r.dropped(1)
		return
	}
	r.calls = append(r.calls, e)
}

// Run flushes every two seconds until ctx ends, and everything then.
func (r *Recorder) Run(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n := r.waiting()
			r.flush(ctx, max(flushCallbacks, n-maxWaiting))
		case <-ctx.Done():
			r.Flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// Flush writes everything that was collected.
func (r *Recorder) Flush(ctx context.Context) { r.flush(ctx, r.waiting()) }

// waiting returns how many counters wait to be written.
func (r *Recorder) waiting() int {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	return len(r.order)
}

// flush writes the log of calls, and the counters that have waited for longest.
func (r *Recorder) flush(ctx context.Context, counters int) {
	writeBatches(ctx, r, "counters of attempts", r.takeCounters(counters), r.store.AddCounters)
	writeBatches(ctx, r, "log of calls", r.takeCalls(), r.store.AppendLogs)
}

// takeCounters returns the first n counters.
func (r *Recorder) takeCounters(n int) []store.MinuteCounters {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	n = min(n, len(r.order))
	rows := make([]store.MinuteCounters, n)
	for i, id := range r.order[:n] {
		rows[i] = *r.counters[id]
		delete(r.counters, id)
	}
	r.order = append(r.order[:0], r.order[n:]...)
	// In the order of the tables, so that a batch changes few of their pages.
	slices.SortFunc(rows, func(a, b store.MinuteCounters) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Callback, b.Callback), a.Minute.Compare(b.Minute))
	})
	return rows
}

func (r *Recorder) takeCalls() []store.LogEntry {
	r.callsMu.Lock()
	defer r.callsMu.Unlock()
	rows := r.calls
	r.calls = nil
	for _, e := range r.totals {
		rows = append(rows, *e)
	}
	clear(r.totals)
	return rows
}

// writeBatches writes rows. It drops a batch that fails and does not try again:
// the batch may have been written.
func writeBatches[T any](ctx context.Context, r *Recorder, table string, rows []T, write func(context.Context, []T) error) {
	for len(rows) > 0 {
		n := min(batchSize, len(rows))
		if err := write(ctx, rows[:n]); err != nil {
			r.dropped(n)
			r.log.Warn("statistics not written", "table", table, "rows", n, "error", err)
		}
		rows = rows[n:]
	}
}
