package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// rig is a store, an engine and a scripted receiver, within a bubble.
type rig struct {
	*testing.T
	dir string
	s   *sqlite.Store
	e   *engine.Engine
	o   engine.Options
	key callbackd.Key

	mu     sync.Mutex
	script func(call) callbackd.Result
	calls  []call
	made   int // callbacks
	flying int
	peak   int
}

type call struct {
	at       time.Time
	cb       callbackd.CallbackID
	session  string
	sequence int64
	attempt  int
	url      string
}

// Send implements engine.Sender.
func (r *rig) Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) callbackd.Result {
	c := call{time.Now(), cb.ID, ev.Session, ev.Sequence, n, cb.URL}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.flying++
	r.peak = max(r.peak, r.flying)
	script := r.script
	r.mu.Unlock()
	defer func() { r.mu.Lock(); r.flying--; r.mu.Unlock() }()
	res := script(c)
	res.StartedAt = c.at
	if ctx.Err() != nil {
		res = callbackd.Result{StartedAt: c.at, Fault: callbackd.FaultShutdown}
	}
	return res
}

func status(code int) callbackd.Result {
	if code/100 == 2 {
		return callbackd.Result{Status: code}
	}
	return callbackd.Result{Status: code, Fault: callbackd.FaultStatus}
}

func ok(call) callbackd.Result { return status(200) }

// bubble runs f in fake time on a real store and checks promise 2 at its end.
func bubble(t *testing.T, o engine.Options, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, dir: t.TempDir(), o: o, script: ok}
		r.open()
		key, err := r.s.CreateKey(r.Context(), callbackd.Key{Account: "acme", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
		if err != nil {
			r.Fatal(err)
		}
		r.key = key
		f(r)
		report, err := r.s.Check(r.Context())
		if err != nil || report.FaultN > 0 {
			r.Errorf("check: %v %+v", err, report)
		}
		r.close()
	})
}

func (r *rig) open() {
	r.Helper()
	s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
	o := r.o
	o.Queue, o.Sender = s, r
	r.e = engine.New(o)
	s.OnCommit(r.e.OnCommit)
	if err := r.e.Start(r.Context()); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) close() {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	r.e.Drain(ctx)
	if err := r.s.Close(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) callback(ev callbackd.EventType, p callbackd.Policy) callbackd.CallbackID {
	r.Helper()
	url := "https://example.com/"
	if r.made++; r.made > 1 { // each has a receiver of its own
		url = fmt.Sprintf("https://r%d.example.com/", r.made)
	}
	cb, _, err := r.s.CreateCallback(r.Context(), callbackd.Callback{Key: r.key.ID, Event: ev, Name: fmt.Sprint(time.Now().UnixNano(), len(r.calls), p),
		URL: url, Method: "POST", Payload: []byte("{}"), Policy: p}, time.Now())
	if err != nil {
		r.Fatal(err)
	}
	return cb.ID
}

func (r *rig) publish(ev callbackd.EventType, sessions ...string) []callbackd.EventID {
	r.Helper()
	b := store.Batch{Key: r.key.ID, At: time.Now()}
	for _, s := range sessions {
		b.Events = append(b.Events, store.NewEvent{Type: ev, Session: s, Data: []byte("{}")})
	}
	evs, err := r.s.Accept(r.Context(), b)
	if err != nil {
		r.Fatal(err)
	}
	var ids []callbackd.EventID
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

func (r *rig) set(f func(call) callbackd.Result) { r.mu.Lock(); r.script = f; r.mu.Unlock() }

func (r *rig) sent() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// pass lets fake time go by.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

const ev1 = callbackd.StatusChange

func TestDeliversInOrderPerSession(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Duration(c.sequence%3) * time.Second)
			return status(200)
		})
		for i := range 50 {
			r.publish(ev1, "A", "B", fmt.Sprint("C", i))
		}
		pass(10 * time.Minute)
		last := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence != last[c.session]+1 {
				r.Errorf("session %s: %d after %d", c.session, c.sequence, last[c.session])
			}
			last[c.session] = c.sequence
		}
		if len(r.sent()) != 150 {
			r.Errorf("%d sent, want 150", len(r.sent()))
		}
	})
}

func TestWholeDefaultSchedule(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		ids := r.publish(ev1, "A")
		pass(100 * time.Hour)
		calls := r.sent()
		if len(calls) != len(callbackd.DefaultSchedule) {
			r.Fatalf("%d attempts, want %d", len(calls), len(callbackd.DefaultSchedule))
		}
		for i := 1; i < len(calls); i++ {
			got, want := calls[i].at.Sub(calls[i-1].at), callbackd.DefaultSchedule[i]
			if got < want*9/10-time.Second || got > want*11/10+time.Second {
				r.Errorf("attempt %d came %v after the one before, want %v ± 10 %%", i+1, got, want)
			}
		}
		view, err := r.s.Delivery(r.Context(), r.key.ID, callbackd.DeliveryID{Event: ids[0], Callback: 1})
		if err != nil || view.State != callbackd.Failed || len(view.History) != 10 {
			r.Errorf("%+v, %v", view, err)
		}
	})
}

func TestFailingHeadHoldsItsOwnLaneOnlyAndOnlyForOrderWait(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{OrderWait: time.Minute})
		r.set(func(c call) callbackd.Result {
			if c.session == "A" && c.sequence == 1 {
				return status(500)
			}
			return status(200)
		})
		start := time.Now()
		for range 40 {
			r.publish(ev1, "A", "B")
		}
		pass(10 * time.Second)
		var a, b int
		for _, c := range r.sent() {
			if c.session == "A" && c.sequence > 1 {
				a++
			}
			if c.session == "B" {
				b++
			}
		}
		if a != 0 || b != 40 {
			r.Errorf("%d of A passed its failing head, %d of 40 of B went through", a, b)
		}
		pass(2 * time.Minute)
		next := int64(2)
		for _, c := range r.sent() {
			if c.session == "A" && c.sequence > 1 {
				if c.sequence != next || c.at.Sub(start) < time.Minute {
					r.Errorf("A's %d went after %v, want %d", c.sequence, c.at.Sub(start), next)
				}
				next++
			}
		}
		if next != 41 {
			r.Errorf("A stopped before %d", next)
		}
	})
}

func TestBacklogBeyondTheWindowIsSentOnceAndInOrder(t *testing.T) {
	bubble(t, engine.Options{Window: 16}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Concurrency: 3})
		r.set(func(call) callbackd.Result { time.Sleep(100 * time.Millisecond); return status(200) })
		for i := range 100 {
			batch := make([]string, 0, 20)
			for j := range 20 {
				batch = append(batch, fmt.Sprint("S", (i+j*7)%13))
			}
			r.publish(ev1, batch...)
		}
		pass(time.Hour)
		last := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence != last[c.session]+1 || c.attempt != 1 {
				r.Fatalf("session %s: %d (attempt %d) after %d", c.session, c.sequence, c.attempt, last[c.session])
			}
			last[c.session] = c.sequence
		}
		if n := len(r.sent()); n != 2000 || r.peak > 3 {
			r.Errorf("%d sent, want 2000; %d at a time, want 3 at most", n, r.peak)
		}
	})
}

func TestRestartInTheMiddleLosesAndReordersNothing(t *testing.T) {
	bubble(t, engine.Options{Window: 32}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if c.sequence == 3 && c.attempt < 2 {
				return status(503)
			}
			return status(200)
		})
		for i := range 300 {
			r.publish(ev1, fmt.Sprint("S", i%10))
		}
		for range 5 {
			pass(3 * time.Second)
			r.close()
			r.open()
		}
		pass(48 * time.Hour)
		done := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence > done[c.session]+1 {
				r.Fatalf("session %s: %d started before %d was done", c.session, c.sequence, done[c.session]+1)
			}
			if c.sequence != 3 || c.attempt >= 2 {
				done[c.session] = max(done[c.session], c.sequence)
			}
		}
		for s, n := range done {
			if n != 30 {
				r.Errorf("session %s ended at %d", s, n)
			}
		}
	})
}

func TestBreakerBurnsNoAttemptsAndRamps(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		for i := range 200 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5 * time.Second)
		opened := len(r.sent())
		if opened < callbackd.BreakerThreshold || opened > callbackd.BreakerThreshold+callbackd.RampStart {
			r.Fatalf("%d attempts until the breaker opened", opened)
		}
		pass(time.Minute)
		if probes := len(r.sent()) - opened; probes < 1 || probes > 4 {
			r.Errorf("%d probes in a minute", probes)
		}
		r.mu.Lock()
		r.peak = 0
		r.mu.Unlock()
		r.set(func(call) callbackd.Result { time.Sleep(time.Second); return status(200) })
		before := len(r.sent())
		pass(callbackd.BreakerMaxWait + time.Minute)
		calls := r.sent()[before:]
		if len(calls) < 200-opened {
			r.Errorf("%d sent after it came back", len(calls))
		}
		first := 0
		for _, c := range calls {
			if c.at.Sub(calls[0].at) < 900*time.Millisecond {
				first++
			}
		}
		if first != 1 || r.peak > callbackd.DefaultConcurrency {
			r.Errorf("%d went with the probe, %d at the peak", first, r.peak)
		}
	})
}

func TestRateHolds(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Rate: 5})
		for i := range 100 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Minute)
		calls := r.sent()
		if len(calls) != 100 {
			r.Fatalf("%d sent", len(calls))
		}
		for i := range calls[5:] {
			if d := calls[i+5].at.Sub(calls[i].at); d < 900*time.Millisecond {
				r.Fatalf("5 attempts within %v", d)
			}
		}
	})
}

func TestRetriesDoNotGoAheadOfFirstAttempts(t *testing.T) {
	bubble(t, engine.Options{MaxInFlight: 1}, func(r *rig) {
		bad := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if c.cb == bad {
				return status(400)
			}
			return status(200)
		})
		for i := range 5 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5500 * time.Millisecond) // all failed once, retries are due
		for i := range 10 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(time.Hour)
		calls := r.sent()
		i := slices.IndexFunc(calls, func(c call) bool { return c.cb == good })
		for _, c := range calls[i : i+10] {
			if c.cb != good {
				r.Errorf("a retry went between first attempts: %+v", c)
			}
		}
	})
}

func Test410PausesAndResumeGoesOn(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		no := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(410) })
		r.publish(ev1, "A")
		pass(time.Second)
		for i := range 20 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(24 * time.Hour)
		if n := len(r.sent()); n != 1 {
			r.Fatalf("%d attempts at a callback that is gone", n)
		}
		cb, err := r.s.CallbackByID(r.Context(), no)
		if err != nil || cb.Pause.Reason != callbackd.PausedGone {
			r.Fatalf("%+v, %v", cb, err)
		}
		r.set(ok)
		if _, err := r.s.PauseCallback(r.Context(), cb.Key, cb.Event, cb.Name, callbackd.Pause{At: time.Now()}); err != nil {
			r.Fatal(err)
		}
		r.e.CallbackChanged(no)
		pass(time.Hour)
		if n := len(r.sent()); n != 22 {
			r.Errorf("%d attempts after the resume, want 22", n)
		}
	})
}

// Row 12 of the peers' defects: the failure clock began anew with the process.
func TestPeers12AutoPauseCountsOverRestarts(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		no := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		for day := range 7 {
			r.publish(ev1, fmt.Sprint("S", day))
			pass(23 * time.Hour)
			r.close()
			r.open()
			pass(time.Hour)
		}
		cb, err := r.s.CallbackByID(r.Context(), no)
		if err != nil || cb.Pause.Reason != callbackd.PausedNoAnswer {
			r.Errorf("%+v, %v", cb, err)
		}
	})
}

func TestManualRetryAndPanickingSender(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0}})
		r.set(func(c call) callbackd.Result {
			if c.attempt == 1 {
				panic("poison")
			}
			return status(200)
		})
		id := callbackd.DeliveryID{Event: r.publish(ev1, "A")[0], Callback: 1}
		pass(time.Minute)
		view, err := r.s.Delivery(r.Context(), r.key.ID, id)
		if err != nil || view.State != callbackd.Delivered || len(view.History) != 2 || view.History[0].Fault != callbackd.FaultLocal {
			r.Fatalf("%+v, %v", view, err)
		}
		d, err := r.s.RetryDelivery(r.Context(), r.key.ID, id, time.Now())
		if err != nil {
			r.Fatal(err)
		}
		done, stop := r.e.Watch(id)
		defer stop()
		r.e.Resent(*d)
		pass(time.Second)
		select {
		case <-done:
		default:
			r.Error("the watcher was not told")
		}
		if n := len(r.sent()); n != 3 {
			r.Errorf("%d attempts, want 3", n)
		}
	})
}

// Row 7 of the peers' defects: what could not be written was forgotten.
func TestPeers07OutcomeIsKeptUntilItIsRecorded(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		q := &flaky{Store: r.s, fail: 5}
		r.close()
		s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
		if err != nil {
			r.Fatal(err)
		}
		r.s, q.Store = s, s
		r.e = engine.New(engine.Options{Queue: q, Sender: r})
		s.OnCommit(r.e.OnCommit)
		if err := r.e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.publish(ev1, "A", "A")
		pass(time.Minute)
		if n := len(r.sent()); n != 2 || q.fail != 0 {
			r.Errorf("%d attempts, want 2; %d failures left", n, q.fail)
		}
	})
}

type flaky struct {
	*sqlite.Store
	mu   sync.Mutex
	fail int
}

func (f *flaky) Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error) {
	f.mu.Lock()
	if f.fail > 0 {
		f.fail--
		f.mu.Unlock()
		return callbackd.Recorded{}, callbackd.Errorf(callbackd.KindUnavailable, "no")
	}
	f.mu.Unlock()
	return f.Store.Record(ctx, o)
}

func TestDrainRecordsWhatItBreaksOff(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Minute); return status(200) })
		id := callbackd.DeliveryID{Event: r.publish(ev1, "A")[0], Callback: 1}
		pass(time.Second)
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
		defer cancel()
		r.e.Drain(ctx)
		view, err := r.s.Delivery(r.Context(), r.key.ID, id)
		if err != nil || view.State != callbackd.Pending || len(view.History) != 1 || view.History[0].Fault != callbackd.FaultShutdown {
			r.Errorf("%+v, %v", view, err)
		}
	})
}

// Any number of hanging receivers leaves half of the places to those that
// answer: with fewer, a thousand new callbacks that hang held them all.
func TestHangingReceiversLeaveRoomForHealthyOnes(t *testing.T) {
	bubble(t, engine.Options{MaxInFlight: 20}, func(r *rig) {
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.publish(callbackd.Complete, "G")
		pass(time.Second) // it was heard from
		for range 30 {
			r.callback(ev1, callbackd.Policy{})
			pass(time.Millisecond) // names are times
		}
		r.set(func(c call) callbackd.Result {
			if c.cb != good {
				time.Sleep(time.Hour)
				return callbackd.Result{Fault: callbackd.FaultTimeout}
			}
			return status(200)
		})
		for i := range 5 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Second)
		before := time.Now()
		for i := range 50 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(time.Second)
		n, hanging := 0, map[callbackd.CallbackID]bool{}
		for _, c := range r.sent() {
			if c.cb == good && !c.at.Before(before) {
				n++
			}
			if c.cb != good {
				hanging[c.cb] = true
			}
		}
		if n != 50 {
			r.Errorf("%d of 50 went to the healthy receiver beside hanging ones", n)
		}
		pass(12 * time.Hour)
		for _, c := range r.sent() {
			hanging[c.cb] = true
		}
		if len(hanging) != 31 {
			r.Errorf("%d of 31 callbacks had a turn", len(hanging))
		}
		r.set(ok)
		pass(200 * time.Hour)
	})
}
