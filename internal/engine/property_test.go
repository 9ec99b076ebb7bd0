package engine_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"

	"pgregory.net/rapid"
)

// world is one random run: receivers with random answers, a store whose records fail,
// restarts, pauses, resends, cancellations, other URLs.
type world struct {
	*rig
	q    *hooked
	cbs  []callbackd.CallbackID
	wait map[callbackd.CallbackID]time.Duration // OrderWait
	ids  []callbackd.EventID

	events   map[callbackd.EventID]*callbackd.Event // as they were accepted
	sessions sessionCallbacks
	groups   orderGroups

	faulty bool // receivers and store misbehave
	calm   bool // receivers are slow, and never fail
	seed   uint64
	manual map[callbackd.DeliveryID]int
	times  map[callbackd.EventID]times

	recorded map[callbackd.DeliveryID]int
	lost     map[callbackd.DeliveryID]int // attempts that a stop kept from being recorded
	problems []string
}

// next is a cheap random number for the receivers, which run concurrently.
func (w *world) next(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seed = w.seed*6364136223846793005 + 1442695040888963407
	return int(w.seed>>33) % n
}

func (w *world) receive(c call) callbackd.Result {
	w.mu.Lock()
	faulty := w.faulty
	w.mu.Unlock()
	if !faulty {
		return status(200)
	}
	time.Sleep([]time.Duration{0, time.Millisecond, time.Second, 15 * time.Second}[w.next(4)])
	if w.calm {
		return status(200)
	}
	switch w.next(12) {
	case 0:
		return status(500)
	case 1:
		return callbackd.Result{Status: 429, Fault: callbackd.FaultStatus, RetryAfter: fmt.Sprint(w.next(100))}
	case 6:
		return after(503, fmt.Sprint(w.next(1000)))
	case 2:
		return callbackd.Result{Fault: callbackd.FaultTimeout}
	case 3:
		return callbackd.Result{Fault: callbackd.FaultLocal}
	case 4:
		if w.next(8) == 0 {
			w.groups.notePause(c.cb)
			return status(410)
		}
	case 5:
		panic("poison")
	}
	return status(200)
}

func (w *world) open() {
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: w.dir})
	if err != nil {
		w.Fatal(err)
	}
	w.q = &hooked{Store: s, recorded: func(id callbackd.DeliveryID) { w.mu.Lock(); w.recorded[id]++; w.mu.Unlock() }}
	w.q.hook(func(op string, _ callbackd.CallbackID) error {
		w.mu.Lock()
		faulty := w.faulty
		w.mu.Unlock()
		if faulty && w.next(20) == 0 {
			return callbackd.Errorf(callbackd.KindUnavailable, "no")
		}
		if faulty && w.next(10) == 0 {
			time.Sleep(time.Duration(w.next(5000)) * time.Millisecond)
		}
		return nil
	})
	w.s = s
	w.e = engine.New(engine.Options{Queue: w.q, Sender: w.rig, Window: 8})
	s.OnCommit(w.e.OnCommit)
	if err := w.e.Start(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// stop ends the engine. Attempts that are in flight when grace is over are broken off.
func (w *world) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	w.e.Drain(ctx)
	w.account(1)
	if err := w.s.Close(); err != nil {
		w.Fatal(err)
	}
}

// times are the times that an event was published with.
type times struct{ deliverAt, expiresAt time.Time }

// step is one thing that happens. It is drawn before the bubble begins, so that a failure
// can be shrunk.
type step struct {
	Kind     int
	Sessions []int
	For      time.Duration
	Callback int
	Event    int
}

func drawStep(t *rapid.T) step {
	return step{
		Kind:     rapid.IntRange(0, 20).Draw(t, "kind"),
		Sessions: rapid.SliceOfN(rapid.IntRange(0, 6), 1, 30).Draw(t, "sessions"),
		For:      rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, 10 * time.Minute}).Draw(t, "for"),
		Callback: rapid.IntRange(0, 15).Draw(t, "callback"),
		Event:    rapid.IntRange(0, 1<<20).Draw(t, "event"),
	}
}

func (w *world) do(s step) {
	callback, ok := w.alive(s.Callback)
	if !ok {
		return
	}
	switch s.Kind {
	case 0, 1, 2, 3:
		var sessions []string
		for _, n := range s.Sessions {
			sessions = append(sessions, fmt.Sprint("S", n))
		}
		w.ids = append(w.ids, w.publish([]callbackd.EventType{ev1, ev1, callbackd.Complete}[s.Event%3], sessions...)...)
	case 4, 5:
		pass(s.For)
	case 6:
		w.stop(s.For)
		w.open()
	case 7:
		w.pause(callback, callbackd.PausedByUser)
		w.groups.notePause(callback)
	case 8:
		w.pause(callback, callbackd.NotPaused)
	case 10:
		w.put(callback, []string{"https://example.com/", "https://example.com/path", "https://other.example.com/"}[s.Event%3])
		w.groups.noteGroup(w.setting(callback))
	case 11:
		w.e.Canceled(w.cancel(callbackd.ReplayFilter{Callback: callback, Session: fmt.Sprint("S", s.Sessions[0])}))
	case 13, 14:
		w.publishTimed(s)
	case 15:
		w.expire()
	case 16, 17, 18:
		w.giveCallbacks(s)
	case 19:
		w.deleteCallback(callback)
	case 20:
		w.sweepCallbacks()
	case 12:
		w.regroup(callback, []string{"", "g", "h", callbackd.GroupByOrigin}[s.Event%4])
		w.groups.noteGroup(w.setting(callback))
	case 9:
		if len(w.ids) == 0 {
			return
		}
		id := callbackd.DeliveryID{Event: w.ids[s.Event%len(w.ids)], Callback: callback}
		if !w.isTarget(id) {
			return
		}
		w.manual[id]++
		if err := w.resend(id.Event, callback); err != nil {
			w.problem("retry: %v", err)
		}
	}
}

// publishTimed publishes events that are deferred, that expire, or both.
func (w *world) publishTimed(s step) {
	var t times
	if s.Event%3 != 0 {
		t.expiresAt = time.Now().Add(s.For + time.Duration(s.Event%90)*time.Second).Truncate(time.Millisecond)
	}
	if s.Event%3 != 1 {
		t.deliverAt = time.Now().Add(time.Duration(s.Event%40) * time.Second).Truncate(time.Millisecond)
	}
	for _, n := range s.Sessions[:min(len(s.Sessions), 8)] {
		for _, id := range w.timed([]callbackd.EventType{ev1, callbackd.Complete}[s.Event%2], t.deliverAt, t.expiresAt, fmt.Sprint("S", n)) {
			w.ids = append(w.ids, id)
			w.times[id] = t
		}
	}
}

// account checks that each delivery has at most that many attempts which were not recorded:
// 1 after a stop, else 0. It notes them as lost.
func (w *world) account(allowed int) {
	sent := map[string]int{}
	for _, c := range w.sent() {
		sent[fmt.Sprint(c.cb, c.session, c.sequence)]++
	}
	for _, id := range w.ids {
		ev := w.event(id)
		for _, callback := range ev.Targets {
			d := callbackd.DeliveryID{Event: id, Callback: callback}
			missing := sent[fmt.Sprint(callback, ev.Session, ev.Sequence)] - w.recorded[d] - w.lost[d]
			if missing < 0 || missing > allowed {
				w.problem("%s: %d attempts are not recorded", d, missing)
			}
			w.lost[d] += missing
		}
	}
}

func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// endFaults ends all faults and gives every delivery time to end.
func (w *world) endFaults() {
	w.mu.Lock()
	w.faulty = false
	w.mu.Unlock()
	pass(time.Minute)
	for _, callback := range w.cbs {
		if !w.sessions.deleted[callback] {
			w.pause(callback, callbackd.NotPaused)
		}
	}
	pass(15 * time.Minute)
	w.expire() // as the job does each second: what has expired is read until it has ended
	pass(200 * time.Hour)
	w.finalizeCanceled()
	w.expire()
	pass(time.Hour)
}

// verify checks that the promises held in the run.
func (w *world) verify() {
	w.account(0)
	for _, callback := range w.cbs {
		w.verifyOrder(callback)
	}
	w.verifyGroups()
	w.verifyTimes()
	w.verifySessions()
	for _, id := range w.ids {
		ev := w.event(id)
		for _, callback := range ev.Targets {
			v := w.view(id, callback)
			if !v.State.Terminal() {
				w.problem("%s of %s #%d is %s", v.ID, ev.Session, ev.Sequence, v.State)
			}
			if len(v.History) != w.recorded[v.ID] {
				w.problem("%s has %d attempts of %d that were recorded", v.ID, len(v.History), w.recorded[v.ID])
			}
			ends := 0
			for _, a := range v.History {
				if a.State.Terminal() {
					ends++
				}
			}
			if ends > 1+w.manual[v.ID] {
				w.problem("%s ended %d times, a person asked %d times", v.ID, ends, w.manual[v.ID])
			}
		}
	}
	if report, err := w.s.Check(context.Background()); err != nil || report.FaultN > 0 {
		w.problem("the check of the store: error %v, report %+v", err, report)
	}
}

// verifyOrder checks that a delivery began only when each earlier one of its session had
// ended, or had failed and blocked the lane for as long as the policy says.
func (w *world) verifyOrder(callback callbackd.CallbackID) {
	began := map[string]time.Time{} // first attempts, by session and sequence
	for _, c := range w.of(callback) {
		if key := fmt.Sprint(c.session, "#", c.sequence); began[key].IsZero() {
			began[key] = c.at
		}
	}
	holds := map[string]time.Time{} // until when a session is held at least
	for _, id := range w.ids {
		if !w.isTarget(callbackd.DeliveryID{Event: id, Callback: callback}) {
			continue
		}
		v := w.view(id, callback)
		if len(v.History) == 0 {
			continue // it was canceled or expired before its first attempt
		}
		session := v.Event.Session
		at := began[fmt.Sprint(session, "#", v.Event.Sequence)]
		if at.Before(holds[session]) && !w.resent(callback, session) {
			w.problem("callback %d: %s #%d began %v early", callback, session, v.Event.Sequence, holds[session].Sub(at))
		}
		if !w.times[id].deliverAt.IsZero() {
			continue // later ones may have gone first; see verifyTimes
		}
		// An attempt's time is its beginning, so the block ended later than this.
		if until := w.heldUntilInLane(v); until.After(holds[session]) {
			holds[session] = until
		}
	}
}

// heldUntilInLane returns until when, at least, a delivery that was tried held its lane.
func (w *world) heldUntilInLane(v *store.DeliveryView) time.Time {
	wait := callbackd.Policy{OrderWait: w.wait[v.ID.Callback]}.WithDefaults().OrderWait
	until := v.History[0].StartedAt.Add(wait)
	if e := w.times[v.ID.Event].expiresAt; !e.IsZero() && e.Before(until) {
		until = e
	}
	if c := v.Unsent; c != nil && c.StartedAt.Before(until) {
		until = c.StartedAt
	}
	for _, a := range v.History {
		if a.State.Terminal() && a.StartedAt.Before(until) {
			until = a.StartedAt
		}
	}
	return until
}

// verifyTimes checks that no attempt began before its time or after its expiry, unless a
// person resent the delivery, and that a deferred delivery held its lane from its first
// attempt on.
func (w *world) verifyTimes() {
	for id, t := range w.times {
		for _, callback := range w.cbs {
			d := callbackd.DeliveryID{Event: id, Callback: callback}
			if !w.isTarget(d) || w.manual[d] > 0 {
				continue
			}
			v := w.view(id, callback)
			for _, a := range v.History {
				// The times of attempts are stored to the millisecond.
				if !t.expiresAt.IsZero() && a.StartedAt.After(t.expiresAt) || a.StartedAt.Before(t.deliverAt) {
					w.problem("%s of %s #%d began at %v, to be sent from %v until %v", d, v.Event.Session, v.Event.Sequence, a.StartedAt, t.deliverAt, t.expiresAt)
				}
			}
			if len(v.History) == 0 || t.deliverAt.IsZero() || w.resent(callback, v.Event.Session) {
				continue
			}
			began, until := v.History[0].StartedAt, w.heldUntilInLane(v)
			for _, c := range w.of(callback) {
				if c.session == v.Event.Session && c.sequence > v.Event.Sequence && c.attempt == 1 && c.at.After(began.Add(time.Millisecond)) && c.at.Before(until) {
					w.problem("callback %d: %s #%d began %v before the deferred #%d let it", callback, c.session, c.sequence, until.Sub(c.at), v.Event.Sequence)
				}
			}
		}
	}
}

// resent reports whether a person resent a delivery of a session. Its order is then not
// checked.
func (w *world) resent(callback callbackd.CallbackID, session string) bool {
	for id := range w.manual {
		if id.Callback == callback {
			if w.event(id.Event).Session == session {
				return true
			}
		}
	}
	return false
}

// Whatever receivers, the store and people do: when all faults are over, every delivery
// ends, in order, and every attempt is recorded unless a stop broke it off.
func TestPropertyEverythingEndsInOrderAfterFaultsEnd(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		f.Value.Set("6") // each is half a second
		defer f.Value.Set(f.DefValue)
	}
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 5, 40).Draw(rt, "steps")
		groups := rapid.SliceOfN(rapid.SampledFrom([]string{"", "g", "h", callbackd.GroupByOrigin}), 4, 4).Draw(rt, "groups")
		calm := rapid.Bool().Draw(rt, "calm")
		for _, p := range play(t, seed, steps, groups, calm) {
			rt.Error(p)
		}
	})
}

// play runs the steps in a bubble and returns which promises did not hold.
func play(t *testing.T, seed uint64, steps []step, groups []string, calm bool) (problems []string) {
	dir := emptyStore(t)
	synctest.Test(t, func(t *testing.T) {
		var err error
		w := &world{rig: &rig{T: t, dir: dir}, faulty: true, calm: calm, seed: seed, events: map[callbackd.EventID]*callbackd.Event{}, sessions: sessionCallbacks{deleted: map[callbackd.CallbackID]bool{}},
			manual: map[callbackd.DeliveryID]int{}, times: map[callbackd.EventID]times{}, recorded: map[callbackd.DeliveryID]int{}, lost: map[callbackd.DeliveryID]int{}, wait: map[callbackd.CallbackID]time.Duration{}}
		w.script = w.receive
		w.open()
		w.key, err = w.s.CreateKey(context.Background(), callbackd.Key{Account: "acme", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range []callbackd.Policy{{}, {Concurrency: 1, OrderWait: time.Minute}, {Rate: 5, OrderWait: callbackd.NoOrderWait, Retry: []time.Duration{0, time.Millisecond, time.Second, time.Minute}}, {OrderWait: time.Hour}} {
			p.OrderGroup = groups[i]
			callback := w.many([]callbackd.EventType{ev1, ev1, ev1, callbackd.Complete}[i], 1, p)[0]
			w.cbs, w.wait[callback] = append(w.cbs, callback), p.OrderWait
			w.groups.noteGroup(w.setting(callback))
		}
		for _, s := range steps {
			w.do(s)
		}
		w.endFaults()
		w.verify()
		w.endSessions()
		w.stop(time.Hour)
		problems = w.problems
	})
	return problems
}
