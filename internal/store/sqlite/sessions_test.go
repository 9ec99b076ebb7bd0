package sqlite

import (
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// warmSessions runs every command about sessions on each connection.
func warmSessions(t *testing.T, s *Store, k *callbackd.Key) {
	t.Helper()
	ctx, now := t.Context(), session.Now()
	x := session.New(k, now)
	if err := s.CreateSession(ctx, x, nil); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []session.Rule{
		func(x *callbackd.Session) ([]callbackd.Fired, error) {
			return x.AddNote(callbackd.Note{Title: "n"}, now)
		},
		func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Start(now) },
	} {
		if _, _, err := session.Change(ctx, s, k.ID, x.SessionKey, now, rule); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * maxReaders {
		s.Session(ctx, k.ID, x.SessionKey)
		s.SessionNotes(ctx, k.ID, x.SessionKey)
		s.SessionEvents(ctx, store.SessionEventQuery{Key: k.ID, Session: x.SessionKey, Limit: 10})
		s.DueSessions(ctx, now, 10)
		s.ListSessions(ctx, store.SessionQuery{Key: k.ID, Limit: 1})
		s.ListSessions(ctx, store.SessionQuery{Key: k.ID, Status: callbackd.StatusIdle, Limit: 1})
	}
	s.Prune(ctx, store.Prune{Sessions: now.Add(time.Hour), Answers: now}, 10)
	s.ChangeSession(ctx, k.ID, x.SessionKey, now, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, nil
	})
}

// partlyFlushed opens a store. publish accepts three events in each of the sessions S and
// T, flushes some of them, and returns how many events each session has. A read flushes
// the others, so each one needs its own publish.
func partlyFlushed(t *testing.T) (s *Store, key callbackd.KeyID, publish func(flush int) int64) {
	s = open(t, Options{Dir: t.TempDir()})
	t.Cleanup(func() { s.Close() })
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	return s, k.ID, func(flush int) int64 {
		t.Helper()
		b := store.Batch{Key: k.ID, At: time.Now()}
		for range 3 {
			n++
			for _, session := range []string{"S", "T"} {
				b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: session, Data: []byte("{}")})
			}
		}
		if _, err := s.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.write(t.Context(), func(t *tx) error { return t.flush(flush, flush) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// The events of a session are complete when some are in the buffer, from each place on
// and in both directions.
func TestSessionEventsAreCompleteDuringFlushes(t *testing.T) {
	t.Parallel()
	const limit = 4
	s, key, publish := partlyFlushed(t)
	publish(0)
	for flushed := range 7 {
		for newer := range int64(9) {
			n := publish(flushed)
			q := store.SessionEventQuery{Key: key, Session: "S", After: n - min(n, newer), Limit: limit}
			var want []int64
			for i := q.After + 1; i <= n && len(want) < limit; i++ {
				want = append(want, i)
			}
			sessionEvents(t, s, q, want)

			n = publish(flushed)
			q = store.SessionEventQuery{Key: key, Session: "S", Newest: true, Before: n - newer + 1, Limit: limit}
			want = nil
			for i := q.Before - 1; i > 0 && len(want) < limit; i-- {
				want = append(want, i)
			}
			sessionEvents(t, s, q, want)
		}
	}
}

// sessionEvents compares the sequence numbers of a page of a session's events.
func sessionEvents(t *testing.T, s *Store, q store.SessionEventQuery, want []int64) {
	t.Helper()
	page, err := s.SessionEvents(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, ev := range page {
		got = append(got, ev.Sequence)
		if ev.Session != q.Session {
			t.Errorf("%+v: event %d is of session %s", q, ev.Sequence, ev.Session)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v: events %v, want %v", q, got, want)
	}
}

func TestLatestEventsAreCompleteDuringFlushes(t *testing.T) {
	t.Parallel()
	s, key, publish := partlyFlushed(t)
	publish(0)
	ids := []store.SessionID{{Key: key, SessionKey: "S"}, {Key: key, SessionKey: "T"}}
	for flushed := range 7 {
		n := publish(flushed)
		latest, err := s.LatestEvents(t.Context(), ids, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			var got []int64
			for _, ev := range latest[id] {
				got = append(got, ev.Sequence)
			}
			if want := []int64{n, n - 1, n - 2, n - 3}; !slices.Equal(got, want) {
				t.Errorf("%d flushed: the latest events of %s are %v, want %v", flushed, id.SessionKey, got, want)
			}
		}
	}
}
