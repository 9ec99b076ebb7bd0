package sqlite

import (
	"fmt"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// bufferOf opens a store in dir with a key that has n callbacks. accept accepts events.
func bufferOf(t *testing.T, dir string, n int) (s *Store, key callbackd.Key, accept func(n int)) {
	s = open(t, Options{Dir: dir})
	t.Cleanup(func() { s.Close() })
	key, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		cb := callbackd.Callback{Key: key.ID, Event: callbackd.Complete, Name: fmt.Sprint("c", i), URL: "https://a.example/", Payload: []byte("{}")}
		if _, _, err := s.CreateCallback(t.Context(), cb, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return s, key, func(n int) {
		t.Helper()
		b := store.Batch{Key: key.ID, At: time.Now()}
		for range n {
			b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: []byte("{}")})
		}
		if _, err := s.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// A commit waits for a flush, so what it writes is bounded by deliveries too, not only by
// events: an event may have very many.
func TestAFlushIsBoundedByDeliveries(t *testing.T) {
	t.Parallel()
	const callbacks, events = 40, 100
	s, _, accept := bufferOf(t, t.TempDir(), callbacks)
	accept(events)
	left := callbacks * events
	for flushes := 1; s.buffer.len() > 0; flushes++ {
		if err := s.write(t.Context(), func(t *tx) error { return t.flush(1, t.s.buffer.len()) }); err != nil {
			t.Fatal(err)
		}
		if rows := left - s.buffer.unflushedCount; rows > flushRows+callbacks || rows < min(flushRows, left) {
			t.Fatalf("flush %d wrote the rows of %d deliveries, want %d and those of one event more at most", flushes, rows, flushRows)
		}
		left = s.buffer.unflushedCount
	}
	accept(events)
	if err := s.write(t.Context(), func(t *tx) error { return t.flush(events, events) }); err != nil {
		t.Fatal(err)
	}
	if n := s.buffer.len(); n != 0 {
		t.Errorf("%d events are left after a flush of all of them", n)
	}
	accept(events)
	if err := (seam{s}).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.buffer.len(); n != 0 {
		t.Errorf("%d events are left after a flush in pieces", n)
	}
}

// Deliveries of ended callbacks are looked for every few seconds. That flushes nothing while
// no key and no callback has changed, and finds what is in the buffer when one has.
func TestTheBufferIsFlushedForEndedCallbacksOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, key, accept := bufferOf(t, dir, 2)
	finalize := func(want int) {
		t.Helper()
		n, err := s.FinalizeCanceled(t.Context(), time.Now(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%d deliveries were canceled, want %d", n, want)
		}
	}
	buffered := func(want int) {
		t.Helper()
		if n := s.buffer.len(); n != want {
			t.Errorf("%d events are in the buffer, want %d", n, want)
		}
	}
	finalize(0)
	accept(1)
	finalize(0)
	buffered(0) // the callbacks were made a moment ago
	accept(1)
	finalize(0)
	buffered(0) // keys are in use a moment longer than they are valid
	accept(1)
	finalize(0)
	buffered(1)
	_, err := s.ChangeCallback(t.Context(), key.ID, callbackd.Complete, "c0", func(cb *callbackd.Callback) error {
		cb.Delete(time.Now())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	finalize(3)
	accept(1)
	finalize(0)
	accept(1)
	finalize(0)
	buffered(1)

	other := open(t, Options{Dir: dir, Secondary: true})
	defer other.Close()
	if err := other.ChangeKey(t.Context(), key.APIKey, func(k *callbackd.Key) error { k.Revoke(time.Now()); return nil }); err != nil {
		t.Fatal(err)
	}
	finalize(5)
}
