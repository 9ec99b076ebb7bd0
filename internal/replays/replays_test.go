package replays_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/replays"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

const ev1 = callbackd.StatusChange

// rig is a store, an engine, a runner and a scripted receiver, within a
// bubble.
type rig struct {
	*testing.T
	dir    string
	s      *sqlite.Store
	e      *engine.Engine
	runner *replays.Runner
	stop   func()
	key    callbackd.Key

	mu     sync.Mutex
	got    []sent
	answer func(sent) int
}

type sent struct {
	callbackd.DeliveryID
	session  string
	sequence int64
	attempt  int
	at       time.Time
}

// Send implements engine.Sender.
func (r *rig) Send(_ context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) callbackd.Result {
	c := sent{callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, ev.Session, ev.Sequence, n, time.Now()}
	r.mu.Lock()
	r.got = append(r.got, c)
	answer := r.answer
	r.mu.Unlock()
	res := callbackd.Result{StartedAt: c.at, Status: answer(c)}
	if res.Status != 200 {
		res.Fault = callbackd.FaultStatus
	}
	return res
}

func (r *rig) set(f func(sent) int) { r.mu.Lock(); r.answer = f; r.mu.Unlock() }

// take returns what was sent since the last call.
func (r *rig) take() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.got
	r.got = nil
	return out
}

func well(sent) int { return 200 }

func bubble(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, dir: t.TempDir(), answer: well}
		r.open()
		key, err := r.s.CreateKey(t.Context(), callbackd.Key{Account: "acme", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		r.key = key
		f(r)
		report, err := r.s.Check(t.Context())
		if err != nil || report.FaultN > 0 {
			t.Errorf("check: %v %+v", err, report)
		}
		r.close(context.Background())
	})
}

func (r *rig) open() {
	r.Helper()
	s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
	r.e = engine.New(engine.Options{Queue: s, Sender: r})
	s.OnCommit(r.e.OnCommit)
	if err := r.e.Start(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.runner = replays.New(s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.runner.Run(ctx, func(callbackd.KeyID) bool { return true }, r.e); close(done) }()
	r.stop = func() { cancel(); <-done }
}

func (r *rig) close(ctx context.Context) {
	r.Helper()
	r.stop()
	r.e.Drain(ctx)
	if err := r.s.Close(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) callback(name string, p callbackd.Policy) callbackd.CallbackID {
	r.Helper()
	cb, _, err := r.s.CreateCallback(r.Context(), callbackd.Callback{Key: r.key.ID, Event: ev1, Name: name, URL: "https://example.com/", Method: "POST", Payload: []byte("{}"), Policy: p}, time.Now())
	if err != nil {
		r.Fatal(err)
	}
	return cb.ID
}

// publish accepts n events over the given number of sessions.
func (r *rig) publish(n, sessions int) (ids []callbackd.EventID) {
	r.Helper()
	for n > 0 {
		b := store.Batch{Key: r.key.ID, At: time.Now()}
		for len(b.Events) < callbackd.MaxBatch && n > 0 {
			b.Events = append(b.Events, store.NewEvent{Type: ev1, Session: fmt.Sprint("S", n%sessions), Data: []byte("{}")})
			n--
		}
		evs, err := r.s.Accept(r.Context(), b)
		if err != nil {
			r.Fatal(err)
		}
		for _, ev := range evs {
			ids = append(ids, ev.ID)
		}
	}
	return ids
}

func (r *rig) start(f callbackd.ReplayFilter, rate float64) callbackd.ReplayID {
	r.Helper()
	rp, err := r.s.CreateReplay(r.Context(), callbackd.Replay{Key: r.key.ID, Filter: f, Rate: rate, CreatedAt: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	r.runner.Wake()
	return rp.ID
}

func (r *rig) replay(id callbackd.ReplayID) callbackd.Replay {
	r.Helper()
	rp, err := r.s.Replay(r.Context(), r.key.ID, id)
	if err != nil {
		r.Fatal(err)
	}
	return *rp
}

// pass lets fake time go by.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// A replay keeps its place over a restart. A hundred thousand events go to a callback that
// was created after them, over two restarts: each once, and nothing else.
func TestAReplayOfAHundredThousandSurvivesRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("a large replay takes 10 s")
	}
	bubble(t, func(r *rig) {
		const n = many
		before := r.publish(500, 50)
		pass(time.Second)
		since := time.Now()
		chosen := r.publish(n, n/20)
		pass(time.Second)
		until := time.Now()
		after := r.publish(500, 50)
		cb := r.callback("later", callbackd.Policy{Concurrency: 256})
		id := r.start(callbackd.ReplayFilter{Target: cb, Since: since, Until: until}, 0)
		stopped, cancel := context.WithCancel(context.Background())
		cancel()
		for range 2 {
			for r.replay(id).Due < n/4 {
				pass(100 * time.Millisecond)
			}
			r.close(stopped)
			r.open()
		}
		pass(time.Hour)
		want := map[callbackd.EventID]int{}
		for _, ev := range chosen {
			want[ev] = 1
		}
		last := map[string]int64{}
		for _, c := range r.take() {
			want[c.Event]--
			if c.sequence < last[c.session] {
				r.Errorf("session %s: %d after %d", c.session, c.sequence, last[c.session])
			}
			last[c.session] = c.sequence
		}
		for _, ev := range slices.Concat(before, after) {
			if want[ev] != 0 {
				r.Errorf("%s is outside the replay's time and was sent", ev)
			}
			delete(want, ev)
		}
		wrong := 0
		for _, left := range want {
			if left != 0 {
				wrong++
			}
		}
		r.wantCount("sent another number of times than once", int64(wrong), 0)
		rp := r.replay(id)
		r.wantState(rp, callbackd.ReplayDone)
		r.wantCount("in the set", rp.Total, n)
		r.wantCount("made due", rp.Due, n)
		r.wantCount("created", rp.Created, n)
		r.wantCount("delivered", rp.Delivered, n)
		r.wantCount("skipped", rp.Skipped, 0)
	})
}

// The set is what had failed when the replay was made: what fails or is
// repeated later is not in it.
func TestTheSetIsFixedAtTheStart(t *testing.T) {
	bubble(t, func(r *rig) {
		once := callbackd.Policy{Retry: []time.Duration{0}, OrderWait: callbackd.NoOrderWait, Concurrency: 1}
		cb := r.callback("a", once)
		failing := func(c sent) int {
			if c.Event%2 == 0 {
				return 400
			}
			return 200
		}
		r.set(failing)
		ids := r.publish(400, 100)
		pass(time.Hour)
		r.take()
		r.set(well)
		id := r.start(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, 20)
		r.set(failing) // those that are repeated meanwhile fail again
		pass(150 * time.Millisecond)
		r.set(well)
		pass(time.Second)
		r.set(func(c sent) int {
			if c.attempt == 1 {
				return 400
			}
			return 200
		})
		later := r.publish(5, 5) // fail while it runs
		pass(time.Hour)
		count := map[callbackd.EventID]int{}
		for _, c := range r.take() {
			if c.Callback != cb {
				r.Errorf("sent to %d", c.Callback)
			}
			count[c.Event]++
		}
		for _, ev := range later {
			if count[ev] != 1 {
				r.Errorf("a later event was sent %d times", count[ev])
			}
			delete(count, ev)
		}
		if len(count) != 200 {
			r.Errorf("%d of %d events were sent again, want 200", len(count), len(ids))
		}
		for ev, n := range count {
			if n != 1 {
				r.Errorf("%s was sent %d times", ev, n)
			}
		}
		rp := r.replay(id)
		r.wantState(rp, callbackd.ReplayDone)
		r.wantCount("in the set", rp.Total, 200)
		r.wantCount("ended", rp.Delivered+rp.Failed, 200)
		r.wantCount("created", rp.Created, 0)
		if rp.Failed == 0 {
			r.Error("no delivery failed again, want some")
		}
	})
}

// Live events and retries go first, and a replay has at most half of the
// places.
func TestAReplayRunsBehindLiveTraffic(t *testing.T) {
	bubble(t, func(r *rig) {
		cb := r.callback("a", callbackd.Policy{Concurrency: 4})
		var mu sync.Mutex
		flying, peak := 0, 0
		r.publish(300, 300)
		pass(time.Minute)
		r.take()
		r.set(func(c sent) int {
			mu.Lock()
			flying++
			peak = max(peak, flying)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			flying--
			mu.Unlock()
			return 200
		})
		r.start(callbackd.ReplayFilter{Callback: cb, States: []callbackd.State{callbackd.Delivered}}, 0)
		pass(10 * time.Second)
		if peak != 2 {
			r.Errorf("a replay alone had %d attempts at a time, want 2", peak)
		}
		r.take()
		live := r.publish(2, 300)
		asked := time.Now()
		pass(500 * time.Millisecond)
		seen := 0
		for _, c := range r.take() {
			if c.Event >= live[0] {
				seen++
				if c.at.Sub(asked) > 0 {
					r.Errorf("a live event waited %v for a replay", c.at.Sub(asked))
				}
			}
		}
		if seen != 2 {
			r.Errorf("%d live events were sent at once, want 2", seen)
		}
		pass(time.Hour)
		if n := len(r.take()); n < 250 {
			r.Errorf("the replay went on with %d deliveries, want 250 or more", n)
		}
	})
}

func TestTheRateOfAReplayHolds(t *testing.T) {
	bubble(t, func(r *rig) {
		cb := r.callback("a", callbackd.Policy{})
		r.publish(100, 100)
		pass(time.Minute)
		r.take()
		id := r.start(callbackd.ReplayFilter{Callback: cb}, 5)
		pass(10 * time.Second)
		got := r.take()
		if len(got) < 45 || len(got) > 55 {
			r.Errorf("%d sent in 10 s at 5 a second, want 45 to 55", len(got))
		}
		for i := 6; i < len(got); i++ {
			if d := got[i].at.Sub(got[i-6].at); d < 900*time.Millisecond {
				r.Errorf("7 deliveries within %v, want 900 ms or more", d)
			}
		}
		pass(time.Minute)
		rp := r.replay(id)
		r.wantState(rp, callbackd.ReplayDone)
		r.wantCount("delivered", rp.Delivered, 100)
	})
}

// wantState fails the test unless the replay is in the state.
func (r *rig) wantState(rp callbackd.Replay, want callbackd.ReplayState) {
	r.Helper()
	if rp.State != want {
		r.Errorf("the replay is %s, want %s", rp.State, want)
	}
}

// wantCount fails the test unless got deliveries are what the name says.
func (r *rig) wantCount(name string, got, want int64) {
	r.Helper()
	if got != want {
		r.Errorf("%d deliveries %s, want %d", got, name, want)
	}
}

// A pause and a cancel stop at once what a replay makes due. A dead receiver delays
// its own share only.
func TestPauseCancelAndADeadReceiver(t *testing.T) {
	bubble(t, func(r *rig) {
		dead, good := r.callback("dead", callbackd.Policy{}), r.callback("good", callbackd.Policy{})
		r.publish(3000, 3000)
		pass(time.Minute)
		r.take()
		r.set(func(c sent) int {
			if c.Callback == dead {
				return 503
			}
			return 200
		})
		id := r.start(callbackd.ReplayFilter{}, 0)
		pass(10 * time.Second)
		to := map[callbackd.CallbackID]int{}
		for _, c := range r.take() {
			to[c.Callback]++
		}
		if to[good] != 3000 {
			r.Errorf("the good receiver got %d of 3000 behind a dead one", to[good])
		}
		rp := r.replay(id)
		if most := int64(3000 + callbackd.ReplayWindow + 200); rp.Due > most {
			r.Errorf("%d deliveries made due, want %d or fewer", rp.Due, most)
		}
		r.wantCount("delivered", rp.Delivered, 3000)
		set := func(s callbackd.ReplayState) error {
			_, err := r.s.SetReplayState(r.Context(), r.key.ID, id, s, time.Now())
			return err
		}
		if err := set(callbackd.ReplayPaused); err != nil {
			r.Fatal(err)
		}
		r.set(well)
		pass(2 * time.Hour)
		paused := r.replay(id)
		r.wantState(paused, callbackd.ReplayPaused)
		r.wantCount("pending", paused.Pending(), 0)
		if paused.Due == paused.Total {
			r.Errorf("the paused replay made all %d deliveries due", paused.Due)
		}
		if err := set(callbackd.ReplayRunning); err != nil {
			r.Fatal(err)
		}
		r.runner.Wake()
		pass(time.Millisecond)
		if err := set(callbackd.ReplayCanceled); err != nil {
			r.Fatal(err)
		}
		if err := set(callbackd.ReplayRunning); callbackd.KindOf(err) != callbackd.KindConflict {
			r.Errorf("a canceled replay ran again: %v", err)
		}
		pass(time.Hour)
		rp = r.replay(id)
		r.wantState(rp, callbackd.ReplayCanceled)
		r.wantCount("pending", rp.Pending(), 0)
		if most := min(rp.Total-1, paused.Due+callbackd.ReplayWindow); rp.Due > most {
			r.Errorf("the canceled replay made %d deliveries due, want %d or fewer", rp.Due, most)
		}
	})
}

// A replay of what is pending sends it now, at its rate: the heads that hold
// their sessions, what was passed already, in any number, once each.
func TestAReplayOfWhatIsPendingSendsItNow(t *testing.T) {
	bubble(t, func(r *rig) {
		r.callback("a", callbackd.Policy{Retry: []time.Duration{0, 10 * time.Hour, 10 * time.Hour}, OrderWait: 10 * time.Minute})
		failing := true
		r.set(func(c sent) int {
			if failing && c.sequence == 1 {
				return 500
			}
			return 200
		})
		r.publish(40, 20) // two in a session, the second behind a head
		pass(time.Minute) // what a breaker keeps is fresh
		r.publish(20, 10)
		pass(20 * time.Minute) // and what has waited is passed
		r.publish(2, 1)
		pass(time.Minute)
		failing = false
		before := len(r.take())
		id := r.start(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Pending}}, 0)
		pass(10 * time.Minute)
		seen := map[callbackd.EventID]int{}
		for _, c := range r.take() {
			seen[c.Event]++
		}
		for ev, n := range seen {
			if n != 1 {
				r.Errorf("%s was sent %d times", ev, n)
			}
		}
		rp := r.replay(id)
		r.wantState(rp, callbackd.ReplayDone)
		r.wantCount("delivered", rp.Delivered, rp.Total-rp.Skipped)
		if before == 0 {
			r.Error("nothing was sent before the replay, want some attempts")
		}
		if rp.Skipped == rp.Total {
			r.Errorf("all %d deliveries of the set were skipped, want some to be sent", rp.Total)
		}
		report, err := r.s.Check(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		r.wantCount("pending", report.Callbacks[0].Pending, 0)
	})
}
