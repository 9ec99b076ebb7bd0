package sqlite

import (
	"fmt"
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
	if err := s.CreateSession(ctx, x); err != nil {
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
	s.SweepSessions(ctx, now.Add(time.Hour), 10)
	s.ChangeSession(ctx, k.ID, x.SessionKey, now, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, nil
	})
}

// partlyFlushed accepts n events in each of the sessions S and T in turn, and calls
// f after each flush of three of them, until all are in the tables.
func partlyFlushed(t *testing.T, n int, f func(t *testing.T, s *Store, key callbackd.KeyID)) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}, {Type: callbackd.Complete, Session: "T", Data: []byte("{}")}}}); err != nil {
			t.Fatal(err)
		}
	}
	for flushed := 0; flushed <= 2*n; flushed += 3 {
		t.Run(fmt.Sprint(flushed, " flushed"), func(t *testing.T) { f(t, s, k.ID) })
		if flushed == 2*n {
			break
		}
		if err := s.write(t.Context(), func(t *tx) error { return t.flush(3) }); err != nil {
			t.Fatal(err)
		}
	}
}

// The events of a session are complete while they are flushed, from each place on
// and in both directions.
func TestSessionEventsAreCompleteDuringFlushes(t *testing.T) {
	const n, limit = 9, 4
	partlyFlushed(t, n, func(t *testing.T, s *Store, key callbackd.KeyID) {
		for place := range int64(n + 1) {
			var after, before []int64
			for i := range int64(limit) {
				if place+1+i <= n {
					after = append(after, place+1+i)
				}
				if place-i >= 1 {
					before = append(before, place-i)
				}
			}
			sessionEvents(t, s, store.SessionEventQuery{Key: key, Session: "S", After: place, Limit: limit}, after)
			sessionEvents(t, s, store.SessionEventQuery{Key: key, Session: "S", Newest: true, Before: place + 1, Limit: limit}, before)
		}
	})
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
	const n = 9
	partlyFlushed(t, n, func(t *testing.T, s *Store, key callbackd.KeyID) {
		ids := []store.SessionID{{Key: key, SessionKey: "S"}, {Key: key, SessionKey: "T"}}
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
				t.Errorf("the latest events of %s are %v, want %v", id.SessionKey, got, want)
			}
		}
	})
}
