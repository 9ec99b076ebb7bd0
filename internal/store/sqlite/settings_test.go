package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"callbackd"
)

// With 10,000 callbacks, a setting is read from the database once. What an outcome changes
// of a callback that succeeds for the first time is known without a read.
func TestSettingsOfManyCallbacksAreReadOnce(t *testing.T) {
	const n = 10_000
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	perKey := callbackd.MaxCallbacks * len(callbackd.EventTypes)
	ids := make([]callbackd.CallbackID, n)
	errs := make([]error, (n+perKey-1)/perKey)
	var work sync.WaitGroup
	for i := range errs {
		work.Go(func() {
			k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: fmt.Sprint(i), Secret: "s", CreatedAt: time.Now()})
			for j := i * perKey; j < min(n, (i+1)*perKey) && err == nil; j++ {
				var cb *callbackd.Callback
				cb, _, err = s.CreateCallback(t.Context(), callbackd.Callback{Key: k.ID, Event: callbackd.EventTypes[j%len(callbackd.EventTypes)], Name: fmt.Sprint(j),
					URL: "https://example.com/", Method: "POST", Payload: []byte("{}"), Secrets: []callbackd.SigningSecret{{Value: "whsec_x"}}}, time.Now())
				if err == nil {
					ids[j] = cb.ID
				}
			}
			errs[i] = err
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error) {
		s.keys.mu.Lock() // keys are not read again, however slow this machine is
		s.keys.checkedAt = time.Now().Add(time.Hour)
		s.keys.mu.Unlock()
		return s.CallbackByID(ctx, id)
	}
	for _, id := range ids {
		if _, err := read(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}

	// From here on every read fails: there is no connection for it, and no time to wait.
	var readers []*db
	for range s.readers.open {
		readers = append(readers, <-s.readers.free)
	}
	defer func() {
		for _, r := range readers {
			s.readers.free <- r
		}
	}()
	noTime, cancel := context.WithCancel(t.Context())
	cancel()
	withoutRead := func(id callbackd.CallbackID) (*callbackd.Callback, error) { return read(noTime, id) }
	reads := 0
	for _, id := range ids {
		if _, err := withoutRead(id); err != nil {
			reads++
		}
	}
	if reads > 0 {
		t.Errorf("%d of %d settings were read once more, want 0", reads, n)
	}

	change := &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Callback: ids[0]}}, Change: callbackd.CallbackChange{Version: 1, Proven: true}}
	if err := s.write(t.Context(), func(t *tx) error { _, err := s.recordChange(t, change); return err }); err != nil {
		t.Fatal(err)
	}
	if cb, err := withoutRead(ids[0]); err != nil || !cb.Proven {
		t.Errorf("after its first success the callback is %+v (%v), want it proven without a read", cb, err)
	}
	change.Delivery.ID.Callback, change.Change.Version = ids[1], 2
	if err := s.write(t.Context(), func(t *tx) error { _, err := s.recordChange(t, change); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := withoutRead(ids[1]); err == nil {
		t.Error("a success of another version than the cached one leaves the callback cached; want it read again")
	}
}
