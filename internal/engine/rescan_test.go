package engine_test

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// A change of a setting whose message was lost is found by the next Rescan, also when the
// callback has no pending deliveries.
func TestRescanFindsAChangeOfAnIdleCallback(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		cb, err := r.s.CallbackByID(r.Context(), r.callback(callbackd.Complete, callbackd.Policy{}))
		if err != nil {
			r.Fatal(err)
		}
		r.publish(callbackd.Complete, "S")
		pass(time.Second)
		if _, err := r.s.ChangeCallback(r.Context(), r.key.ID, callbackd.Complete, cb.Name, func(cb *callbackd.Callback) error {
			cb.SetPause(callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now()})
			return nil
		}); err != nil {
			r.Fatal(err)
		}
		if err := r.e.Rescan(r.Context()); err != nil {
			r.Fatal(err)
		}
		pass(time.Second)
		r.publish(callbackd.Complete, "S")
		pass(time.Second)
		if n := len(r.sent()); n != 1 {
			r.Errorf("%d attempts, want the 1 from before the pause", n)
		}
	})
}
