package engine_test

import (
	"fmt"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
)

// give publishes an event of each session, with a callback for that session.
func (r *rig) give(sessions, from int, p callbackd.Policy) {
	r.Helper()
	const batch = 500
	for ; sessions > 0; sessions, from = sessions-batch, from+batch {
		b := store.Batch{Key: r.key.ID, At: time.Now()}
		for i := range min(batch, sessions) {
			b.Events = append(b.Events, store.NewEvent{Type: ev1, Session: fmt.Sprint("S", from+i), Data: []byte("{}"), Callback: &callbackd.Callback{
				URL: fmt.Sprintf("https://example.com/%d", from+i), Method: "POST", Payload: []byte("{}"), Types: []callbackd.EventType{ev1, callbackd.NoteInsert}, Policy: p}})
		}
		if _, err := r.s.Accept(r.Context(), b); err != nil {
			r.Fatal(err)
		}
	}
}

// Ten thousand callbacks for one session each, at one origin, are delivered like the sessions
// of one callback: after the first success none waits for its own probation, and together
// they have as many requests in flight as one callback may have. Each costs a read of its
// setting, and none is remembered when it is idle.
func TestCallbacksOfSessionsShareTheirOrigin(t *testing.T) {
	t.Parallel()
	const n = 10_000
	bubble(t, engine.Options{}, func(r *rig) {
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Millisecond); return status(200) })
		h := r.hooks(true)
		reads := map[string]int{}
		h.hook(func(op string, _ callbackd.CallbackID) error { r.mu.Lock(); reads[op]++; r.mu.Unlock(); return nil })
		r.give(n, 0, callbackd.Policy{})
		pass(10 * time.Second)
		r.wantSent(n)
		r.wantAtOnce(callbackd.DefaultConcurrency, callbackd.DefaultConcurrency)
		r.mu.Lock()
		if reads["callback"] != 2*n || len(reads) != 2 { // for the queue, and before the request
			t.Errorf("the engine called the store %v times, want %d reads of settings and the records alone", reads, 2*n)
		}
		r.mu.Unlock()
		from := time.Now()
		r.publish(callbackd.NoteInsert, "S1", "S2", "S3")
		pass(time.Second)
		if got := r.since(from); got != 3 {
			t.Errorf("%d requests for later events, want 3", got)
		}
	})
}

// At an origin that never answered, callbacks of 1,000 sessions make as few requests as one
// callback would.
func TestCallbacksOfSessionsAreNoFloodAtADeadOrigin(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.set(func(call) callbackd.Result { return status(500) })
		r.give(1000, 0, callbackd.Policy{})
		pass(time.Minute)
		if got := len(r.sent()); got > 2*callbackd.ProbationBurst+10 {
			t.Errorf("%d requests in a minute, want few", got)
		}
		from := time.Now()
		r.set(ok)
		pass(10 * time.Minute)
		if got := r.since(from); got != 1000 {
			t.Errorf("%d requests when it answers, want 1,000", got)
		}
	})
}

// Their concurrency is that of all of them at the origin.
func TestConcurrencyOfCallbacksOfSessions(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.set(func(call) callbackd.Result { time.Sleep(100 * time.Millisecond); return status(200) })
		r.give(200, 0, callbackd.Policy{Concurrency: 3})
		pass(20 * time.Second)
		r.wantSent(200)
		r.wantAtOnce(3, 3)
	})
}

// One that is paused, and one that is deleted, take no turn from the others.
func TestAPausedCallbackOfASessionHoldsNoOther(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.set(func(call) callbackd.Result { time.Sleep(100 * time.Millisecond); return status(200) })
		r.give(300, 0, callbackd.Policy{Concurrency: 1})
		for i := range 100 {
			page, err := r.s.ListCallbacks(r.Context(), store.CallbackQuery{Key: r.key.ID, Session: fmt.Sprint("S", 100+i)})
			if err != nil {
				t.Fatal(err)
			}
			id := page.Callbacks[0].ID
			if i%2 == 0 {
				r.pause(id, callbackd.PausedByUser)
			} else {
				r.end(id, false)
			}
		}
		pass(40 * time.Second)
		if got := len(r.sent()); got < 200 {
			t.Errorf("%d requests, want at least 200", got)
		}
		r.finalizeCanceled()
	})
}
