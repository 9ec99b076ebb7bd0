package front

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"callbackd"
)

// A few large answers of one key are built at a time, so that others need not wait
// for all of them.
func TestLargeAnswersOfAKeyAreBuiltAFewAtATime(t *testing.T) {
	var slots answerSlots
	slots.init()
	ctx, cancel := context.WithCancel(t.Context())
	var mine []func()
	for range slotsOf("a", runtime.GOMAXPROCS(0)) {
		done, err := slots.acquire(ctx, "a", "A")
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, done)
	}
	more := make(chan error, 1)
	go func() {
		_, err := slots.acquire(ctx, "a", "A")
		more <- err
	}()
	done, err := slots.acquire(ctx, "b", "B")
	if err != nil {
		t.Fatal(err)
	}
	done()
	cancel()
	if err := <-more; callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("one more of the same key: %v", err)
	}
	for _, done := range mine {
		done()
	}
	if len(slots.all) != 0 || len(slots.byName) != 0 {
		t.Errorf("%d slots are never released, %v", len(slots.all), slots.byName)
	}
}

// An account with many keys has the slots of one key, and another account does not
// wait for it.
func TestKeysOfAnAccountShareItsSlots(t *testing.T) {
	var slots answerSlots
	slots.init()
	var mine []func()
	for i := range slotsOf("", runtime.GOMAXPROCS(0)) {
		done, err := slots.acquire(t.Context(), fmt.Sprint("key", i), "A")
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, done)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := slots.acquire(gone, "another key", "A"); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("one more key of the account: %v", err)
	}
	done, err := slots.acquire(t.Context(), "theirs", "B")
	if err != nil {
		t.Fatal(err)
	}
	done()
	for _, done := range mine {
		done()
	}
	if len(slots.all) != 0 || len(slots.byName) != 0 {
		t.Errorf("%d slots are never released, %v", len(slots.all), slots.byName)
	}
}

// The large answers of one key leave half of the processors, and half of the
// slots, to others. The operator has all slots.
func TestLargeAnswersOfAKeyLeaveProcessorsToOthers(t *testing.T) {
	for processors := 1; processors <= 128; processors *= 2 {
		n := slotsOf("a", processors)
		if most := min(max(1, processors/2), maxSlots/2); n < 1 || n > most {
			t.Errorf("%d answers of a key at a time on %d processors, want 1 to %d", n, processors, most)
		}
		if n := slotsOf(Operator, processors); n != maxSlots {
			t.Errorf("%d answers of the operator at a time", n)
		}
	}
}
