package app

import (
	"log/slog"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// The retention of a key removes its events, those of each type in their time, and archives
// them first. Without one nothing is removed before the server's.
func TestAKeyHasItsOwnRetention(t *testing.T) { onStores(t, keyRetention) }

func keyRetention(t *testing.T, server, _ store.Store) {
	keys, err := server.ListKeys(t.Context())
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	e := sweepInto(t, server, t.TempDir())
	e.log, e.retention = slog.New(slog.DiscardHandler), callbackd.MaxRetention
	key := keys[0]
	key.ID, key.APIKey, key.Secret = 0, "short", "s"
	if key, err = server.CreateKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, typ := range []callbackd.EventType{callbackd.Complete, callbackd.NoteInsert, callbackd.Complete} {
		b := store.Batch{Key: key.ID, At: now.Add(time.Duration(i-5) * time.Hour), Events: []store.NewEvent{{Session: "S", Type: typ, Data: []byte("{}")}}}
		if _, err := server.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want int) {
		t.Helper()
		s := &keySweep{events: e, rest: map[callbackd.KeyID]time.Time{}}
		for wait := stepPause; wait > 0; {
			var err error
			if wait, err = s.step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		events, err := server.SessionEvents(t.Context(), store.SessionEventQuery{Key: key.ID, Session: "S", Limit: 10})
		if err != nil || len(events) != want {
			t.Errorf("%d events are left, want %d: %v", len(events), want, err)
		}
	}
	set := func(retention time.Duration, types string) {
		t.Helper()
		err := server.ChangeKey(t.Context(), key.APIKey, func(k *callbackd.Key) error {
			k.Retention, k.RetentionEvents = retention, types
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count(3)
	set(6*time.Hour, "")
	count(3)
	set(0, `{"SESSION:NOTE_INSERT":"1h"}`)
	count(2)
	set(4*time.Hour, `{"SESSION:NOTE_INSERT":"1h"}`)
	count(1)
	set(time.Hour, "")
	count(0)
	if n := e.archive.events.Load(); n != 3 {
		t.Errorf("%d events were archived, want 3", n)
	}
}
