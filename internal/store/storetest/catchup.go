package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var catchUpTests = map[string]func(*suite){
	"CatchUp":                         (*suite).catchUp,
	"CatchUpAfterARestart":            (*suite).catchUpAfterRestart,
	"CatchUpOfOneSession":             (*suite).catchUpOfSession,
	"CatchUpWithoutEventsThatFit":     (*suite).catchUpWithoutEvents,
	"CatchUpCursorsAreOfOneKey":       (*suite).catchUpOfKey,
	"WatchersAreToldOfAcceptedEvents": (*suite).watch,
}

// catchUpFrom reads the events of the suite's key from cursor to cursor until there are
// no more. It returns them and the last cursor.
func (s *suite) catchUpFrom(q store.EventQuery) (ids []callbackd.EventID, at callbackd.EventID) {
	s.Helper()
	q.Key = s.key.ID
	for {
		page, err := s.EventsAfter(s.ctx(), q)
		s.must(err)
		for _, ev := range page.Events {
			if len(ev.Data) == 0 {
				s.Errorf("event %s has no data; want its data", ev.ID)
			}
			if ev.ID <= q.After {
				s.Fatalf("event %s comes after %s; want growing IDs", ev.ID, q.After)
			}
			ids = append(ids, ev.ID)
			q.After = ev.ID
		}
		if page.Next < q.After {
			s.Fatalf("the cursor is %s after %s; want one that grows", page.Next, q.After)
		}
		if len(page.Events) == 0 && page.Next == q.After {
			return ids, q.After
		}
		q.After = page.Next
	}
}

// mixed publishes events of two types in two sessions, and one of another key.
func (s *suite) mixed() (evs []*callbackd.Event, other callbackd.Key) {
	s.Helper()
	other = s.newKey("k2")
	evs = s.publish(s.key, ev1, "A", "B", "A")
	s.publish(other, ev1, "A")
	return append(evs, s.publish(s.key, ev2, "A")...), other
}

func (s *suite) catchUp() {
	evs, _ := s.mixed()
	got, _ := s.catchUpFrom(store.EventQuery{Limit: 2})
	s.equal("all events of the key, oldest first", got, eventIDs(evs))
}

func (s *suite) catchUpAfterRestart() {
	s.mixed()
	_, at := s.catchUpFrom(store.EventQuery{Limit: 2})
	s.reopen()
	got, after := s.catchUpFrom(store.EventQuery{After: at, Limit: 10})
	s.equal("events after the cursor", got, []callbackd.EventID(nil))
	s.equal("the cursor when nothing has happened", after, at)
	late := s.publish(s.key, ev1, "C")
	got, _ = s.catchUpFrom(store.EventQuery{After: at, Limit: 10})
	s.equal("events that came later", got, eventIDs(late))
}

func (s *suite) catchUpOfSession() {
	evs, _ := s.mixed()
	got, _ := s.catchUpFrom(store.EventQuery{Limit: 200, Session: "A", Type: ev1})
	s.equal("events of the session and type", got, []callbackd.EventID{evs[0].ID, evs[2].ID})
}

func (s *suite) catchUpWithoutEvents() {
	s.mixed()
	_, all := s.catchUpFrom(store.EventQuery{Limit: 2})
	got, at := s.catchUpFrom(store.EventQuery{Session: "none", Limit: 10})
	s.equal("events of a session that has none", got, []callbackd.EventID(nil))
	s.equal("the cursor, which grows all the same", at, all)
}

func (s *suite) catchUpOfKey() {
	_, other := s.mixed()
	_, at := s.catchUpFrom(store.EventQuery{Limit: 10})
	s.publish(other, ev1, "A")
	page, err := s.EventsAfter(s.ctx(), store.EventQuery{Key: s.key.ID, Limit: 10, After: at})
	s.must(err)
	s.equal("the cursor after another key's event", page.Next, at)
	page, err = s.EventsAfter(s.ctx(), store.EventQuery{Key: s.newKey("silent").ID, Limit: 10})
	s.must(err)
	s.equal("the cursor of a key without events", page.Next, callbackd.EventID(0))
}

func (s *suite) watch() {
	changed, stop := s.Watch(s.key.ID)
	defer stop()
	s.publish(s.key, ev1, "A")
	select {
	case <-changed:
	case <-time.After(time.Minute):
		s.Fatal("the watcher was not notified of an accepted event")
	}
}
