package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// A store is not ready from the first refused write until the next write that succeeds.
// Without commands it makes a write of its own to find out.
func TestRefusalsLastUntilAWriteIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := callbackd.Errorf(callbackd.KindUnavailable, "the disk is full")
		refused, taken, probes := 0, 0, 0
		r := Refusals{Hooks: Hooks{Refused: func(n int, _ error) { refused += n }, Taken: func() { taken++ }}}
		answer := error(full)
		probe := func() error {
			return r.Probe(t.Context(), func(context.Context) error {
				probes++
				if answer == nil {
					r.Committed(1, true)
				}
				return answer
			})
		}
		if err := probe(); err != nil || probes != 0 {
			t.Errorf("at first: %v", err)
		}
		r.Refuse(3, full)
		r.Committed(1, false) // something was read
		if err := probe(); !errors.Is(err, full) || probes != 0 {
			t.Errorf("after a refusal: %v after %d probes, want the refusal without one", err, probes)
		}
		if refused != 3 || taken != 0 {
			t.Errorf("Refused got %d commands and Taken %d calls, want 3 and 0", refused, taken)
		}
		time.Sleep(quietFor - 1)
		r.Refuse(1, full)
		time.Sleep(quietFor - 1)
		if err := probe(); !errors.Is(err, full) || probes != 0 {
			t.Errorf("while others try: %v, %d probes", err, probes)
		}
		time.Sleep(time.Nanosecond)
		if err := probe(); !errors.Is(err, full) || probes != 1 {
			t.Errorf("nobody tries: %v, %d probes", err, probes)
		}
		answer = nil
		if err := probe(); err != nil || probes != 2 {
			t.Errorf("when there is space: %v after %d probes, want none after 2", err, probes)
		}
		if taken != 1 {
			t.Errorf("Taken was called %d times, want 1", taken)
		}
		r.Refuse(1, callbackd.Errorf(callbackd.KindConflict, "not pending"))
		if err := r.Err(); err != nil {
			t.Errorf("a conflict says nothing about the store: %v", err)
		}
	})
}
