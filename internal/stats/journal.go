// Package stats writes what is kept beside the hot path: sums of attempts
// for the overview, and the log of calls. Both gather in bounded memory and
// reach the store in batches; nobody waits for it. What does not fit, or
// cannot be written, is dropped and counted: neither is part of a promise.
package stats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"golang.org/x/time/rate"
)

// Store is what the journal writes to.
type Store interface {
	AppendLogs(ctx context.Context, entries []store.LogEntry) error
	AddCounters(ctx context.Context, ts []store.MinuteCounters) error
}

// Limits of what is gathered between two flushes.
const (
	MaxCalls   = 4096    // entries
	MaxTallies = 100_000 // minutes of callbacks
	// CallRate and CallBurst bound the calls of one key that have an entry
	// of their own; further ones are added up by minute and status.
	CallRate  = 10 // a second
	CallBurst = 200
)

const (
	flushEvery = 2 * time.Second
	batch      = 256 // rows of one commit: the writer is left to deliveries
	maxMessage = 300 // bytes of a message
	maxPath    = 200 // bytes of a path
)

// Journal gathers and flushes. Make it with [New].
type Journal struct {
	store   Store
	log     *slog.Logger
	dropped func(n int)

	mu      sync.Mutex // of the tallies
	tallies map[minute]*store.MinuteCounters

	callMu sync.Mutex
	calls  []store.LogEntry
	sums   map[sum]*store.LogEntry
	limits map[callbackd.KeyID]*rate.Limiter
}

type minute struct {
	callback callbackd.CallbackID
	at       int64
}

type sum struct {
	key    callbackd.KeyID
	minute int64
	kind   kind
	status int
}

// kind of a sum.
type kind int

const (
	published kind = iota
	refused
	further
)

// New makes a journal. dropped counts what was lost.
func New(s Store, log *slog.Logger, dropped func(n int)) *Journal {
	return &Journal{store: s, log: log, dropped: dropped, tallies: map[minute]*store.MinuteCounters{}, sums: map[sum]*store.LogEntry{}, limits: map[callbackd.KeyID]*rate.Limiter{}}
}

// AttemptDone adds an attempt to the sums. Tests are not counted.
func (j *Journal) AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration) {
	a, ev := &o.Attempt, o.Delivery.Event
	if o.Delivery.Test || ev == nil {
		return
	}
	ended := a.StartedAt.Add(a.Timings.Total)
	id := minute{o.Delivery.ID.Callback, ended.Unix() / 60}
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.tallies[id]
	if t == nil {
		if len(j.tallies) >= MaxTallies {
			j.dropped(1)
			return
		}
		t = &store.MinuteCounters{Callback: id.callback, Key: ev.Key, Minute: time.Unix(id.at*60, 0).UTC()}
		j.tallies[id] = t
	}
	t.Attempts++
	if o.Delivery.Manual {
		t.Repeats++
	}
	if !a.CertEnds.IsZero() {
		t.CertNotAfter = a.CertEnds
	}
	if a.Fault == callbackd.NoFault {
		t.LastSuccess = ended
	} else {
		t.Faults++
		t.LastFailure, t.LastFault, t.LastStatus = ended, a.Fault, a.Status
	}
	switch state {
	case callbackd.Delivered:
		t.Delivered++
		if !o.Delivery.Manual {
			t.Latency.Add(sinceAccepted)
		}
	case callbackd.Failed:
		t.Failed++
	case callbackd.Canceled:
		t.Canceled++
	}
}

// Published counts a successful publish of a key.
func (j *Journal) Published(key callbackd.KeyID, at time.Time, took time.Duration, address string) {
	j.add(sum{key, at.Unix() / 60, published, 202}, took, address)
}

// Refused counts a call that named a key and did not prove its secret.
func (j *Journal) Refused(key callbackd.KeyID, at time.Time, address string) {
	j.add(sum{key, at.Unix() / 60, refused, 401}, 0, address)
}

func (j *Journal) add(id sum, took time.Duration, address string) {
	j.callMu.Lock()
	defer j.callMu.Unlock()
	e := j.sums[id]
	if e == nil {
		if len(j.sums) >= MaxCalls {
			j.dropped(1)
			return
		}
		e = &store.LogEntry{Key: id.key, At: time.Unix(id.minute*60, 0).UTC(), Method: "ANY", Path: "/v1", Status: id.status}
		switch id.kind {
		case published:
			e.Method, e.Path = "POST", "/v1/events"
		case refused:
			e.Message = "calls with this API key whose token was wrong or stale"
		case further:
			e.Message = "further calls: more than 10 a second are not kept one by one"
		}
		j.sums[id] = e
	}
	e.Count++
	e.Duration += took
	e.Address = address
}

// Call keeps one call. It never blocks.
func (j *Journal) Call(e store.LogEntry) {
	if !j.own(e.Key, e.At) {
		j.add(sum{e.Key, e.At.Unix() / 60, further, e.Status}, e.Duration, e.Address)
		return
	}
	e.Message, e.Path = clip(e.Message, maxMessage), clip(e.Path, maxPath)
	j.callMu.Lock()
	defer j.callMu.Unlock()
	if len(j.calls) >= MaxCalls {
		j.dropped(1)
		return
	}
	j.calls = append(j.calls, e)
}

// own tells whether a call of the key gets an entry of its own.
func (j *Journal) own(key callbackd.KeyID, at time.Time) bool {
	j.callMu.Lock()
	defer j.callMu.Unlock()
	if len(j.limits) > 10_000 {
		clear(j.limits) // a full bucket is what most would have by now
	}
	l := j.limits[key]
	if l == nil {
		l = rate.NewLimiter(CallRate, CallBurst)
		j.limits[key] = l
	}
	return l.AllowN(at, 1)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 { // not within a character
		n--
	}
	return s[:n] + "…"
}

// Run flushes until ctx ends, and once more then.
func (j *Journal) Run(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			j.Flush(ctx)
		case <-ctx.Done():
			j.Flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// Flush writes what has gathered.
func (j *Journal) Flush(ctx context.Context) {
	j.mu.Lock()
	tallies := make([]store.MinuteCounters, 0, len(j.tallies))
	for _, t := range j.tallies {
		tallies = append(tallies, *t)
	}
	clear(j.tallies)
	j.mu.Unlock()
	j.callMu.Lock()
	calls := j.calls
	j.calls = nil
	for _, e := range j.sums {
		calls = append(calls, *e)
	}
	clear(j.sums)
	j.callMu.Unlock()
	inBatches(j, ctx, "sums of attempts", tallies, j.store.AddCounters)
	inBatches(j, ctx, "calls", calls, j.store.AppendLogs)
}

// inBatches writes rows. What fails is dropped: it may have been written.
func inBatches[T any](j *Journal, ctx context.Context, what string, rows []T, write func(context.Context, []T) error) {
	for len(rows) > 0 {
		n := min(batch, len(rows))
		if err := write(ctx, rows[:n]); err != nil {
			j.dropped(n)
			j.log.Warn("not kept", "what", what, "rows", n, "error", err)
		}
		rows = rows[n:]
	}
}
