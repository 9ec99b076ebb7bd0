package replays_test

import (
	"context"
	"testing"
	"time"

	"callbackd"
)

// cancel starts a cancellation of what is pending.
func (r *rig) cancel(f callbackd.ReplayFilter, rate float64) callbackd.ReplayID {
	r.Helper()
	c, err := r.s.CreateReplay(r.Context(), callbackd.Replay{Key: r.key.ID, Filter: callbackd.CancelFilter(f),
		Cancel: &callbackd.Cancellation{By: callbackd.ByKey(r.key.ID)}, Rate: rate, CreatedAt: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	r.runner.Wake()
	return c.ID
}

// pauseCallback pauses or resumes a callback.
func (r *rig) pauseCallback(id callbackd.CallbackID, name string, pause callbackd.Pause) {
	r.Helper()
	_, err := r.s.ChangeCallback(r.Context(), r.key.ID, ev1, name, func(cb *callbackd.Callback) error {
		cb.SetPause(pause)
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(id)
}

// A cancellation keeps its place over a pause and over restarts.
func TestACancellationKeepsItsPlace(t *testing.T) {
	bubble(t, func(r *rig) {
		const n = 1000
		cb := r.callback("a", callbackd.Policy{})
		r.pauseCallback(cb, "a", callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now()})
		pass(time.Second)
		r.publish(n, n/10)
		id := r.cancel(callbackd.ReplayFilter{}, 10)
		pass(20 * time.Second)
		if _, err := r.s.SetReplayState(r.Context(), r.key.ID, id, callbackd.ReplayPaused, time.Now()); err != nil {
			r.Fatal(err)
		}
		pass(time.Second)
		paused := r.replay(id)
		if paused.Canceled < 150 || paused.Canceled > 260 {
			r.Errorf("%d deliveries were canceled in 20 s, want 10 a second", paused.Canceled)
		}
		stopped, cancel := context.WithCancel(context.Background())
		cancel()
		r.close(stopped)
		r.open()
		pass(time.Minute)
		r.wantCount("canceled while it was paused", r.replay(id).Canceled, paused.Canceled)
		if _, err := r.s.SetReplayState(r.Context(), r.key.ID, id, callbackd.ReplayRunning, time.Now()); err != nil {
			r.Fatal(err)
		}
		r.runner.Wake()
		pass(20 * time.Second)
		r.close(stopped)
		r.open()
		pass(24 * time.Hour)
		c := r.replay(id)
		r.wantState(c, callbackd.ReplayDone)
		r.wantCount("in the set", c.Total, n)
		r.wantCount("that were made due", c.Due, n)
		r.wantCount("that were canceled", c.Canceled, n)
		r.pauseCallback(cb, "a", callbackd.Pause{At: time.Now()})
		pass(time.Hour)
		r.wantCount("sent after the callback was resumed", int64(len(r.take())), 0)
	})
}

// A backlog far beyond the window of the engine is canceled while it is being sent.
func TestABacklogIsCanceledWhileItIsSent(t *testing.T) {
	bubble(t, func(r *rig) {
		const n = 20_000
		r.callback("a", callbackd.Policy{Concurrency: 4})
		r.set(func(sent) int {
			time.Sleep(100 * time.Millisecond)
			return 200
		})
		r.publish(n, 500)
		pass(time.Second)
		id := r.cancel(callbackd.ReplayFilter{}, 0)
		pass(time.Minute)
		c := r.replay(id)
		r.wantState(c, callbackd.ReplayDone)
		sent := int64(len(r.take()))
		if sent > n/10 {
			r.Errorf("%d of %d deliveries were sent, want few", sent, n)
		}
		pass(time.Hour)
		r.wantCount("sent after the end of the cancellation", int64(len(r.take())), 0)
		r.publish(500, 500)
		pass(time.Minute)
		r.wantCount("sent of what was published later", int64(len(r.take())), 500)
		report, err := r.s.Check(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		b := report.Callbacks[0]
		r.wantCount("pending", b.Pending, 0)
		r.wantCount("delivered", b.Delivered, sent+500)
		r.wantCount("canceled", b.Canceled, n-sent)
	})
}
