package sqlite

import (
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

// The story of a session is whole while its events are folded.
func TestAStoryIsWholeAcrossTheMark(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	const n = 9
	for range n {
		if _, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}, {Type: callbackd.Complete, Session: "T", Data: []byte("{}")}}}); err != nil {
			t.Fatal(err)
		}
	}
	for folded := 0; folded <= 2*n; folded += 3 {
		for place := range int64(n + 1) {
			for _, newest := range []bool{false, true} {
				q, first, step := store.SessionEventQuery{Key: k.ID, Session: "S", After: place, Newest: newest, Limit: 4}, place+1, int64(1)
				left := n - int(place)
				if newest {
					q.After, q.Before, first, step, left = 0, place+1, place, -1, int(place)
				}
				story, err := s.SessionEvents(t.Context(), q)
				if err != nil || len(story) != min(4, left) {
					t.Fatalf("%d folded, %+v: %d events, %v", folded, q, len(story), err)
				}
				for i, ev := range story {
					if ev.Sequence != first+step*int64(i) || ev.Session != "S" {
						t.Errorf("%d folded, %+v: event %d is #%d of %s", folded, q, i, ev.Sequence, ev.Session)
					}
				}
			}
		}
		first, second := store.SessionID{Key: k.ID, SessionKey: "S"}, store.SessionID{Key: k.ID, SessionKey: "T"}
		latest, err := s.LatestEvents(t.Context(), []store.SessionID{first, second}, 4)
		if err != nil || len(latest[first]) != 4 || latest[first][0].Sequence != n || latest[first][3].Sequence != n-3 || len(latest[second]) != 4 {
			t.Errorf("%d folded: the latest are %+v, %v", folded, latest, err)
		}
		if folded < 2*n {
			if err := s.write(t.Context(), func(t *tx) error { return t.flush(3) }); err != nil {
				t.Fatal(err)
			}
		}
	}
}
