package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// again is the first answer that a command was refused with; empty when it was
// refused otherwise, or not at all.
func again(err error) string {
	if r, ok := errors.AsType[*store.Repeated](err); ok {
		return string(r.Body)
	}
	return ""
}

// once: a command with an idempotency key runs once; its change and its answer
// are there together, over a restart, until they are swept.
func (s *suite) once() {
	key := s.newSession(s.key, nil).SessionKey
	rule := func(c *callbackd.Session) (store.SessionChange, error) {
		c.Notes++
		return store.SessionChange{Notes: []callbackd.Note{{Title: "n", InsertedAt: s.at}}, Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}}}, nil
	}
	note := func(idempotencyKey, body string, fail error) ([]*callbackd.Event, error) {
		o := store.NewOnce(s.key.ID, "POST /notes", idempotencyKey, []byte(body), s.at)
		o.Show = func(made any) (store.Answer, error) {
			c := made.(store.Changed)
			return store.Answer{Status: 201, Body: []byte(c.Session.SessionKey + " " + c.Events[0].ID.String())}, fail
		}
		_, evs, err := s.ChangeSession(store.WithOnce(s.ctx(), o), s.key.ID, key, s.at, rule)
		return evs, err
	}
	count := func(want int) {
		s.Helper()
		notes, err := s.SessionNotes(s.ctx(), s.key.ID, key)
		s.must(err)
		page, err := s.EventsAfter(s.ctx(), store.EventQuery{Key: s.key.ID, Limit: 100})
		s.must(err)
		if len(notes) != want || len(page.Events) != want {
			s.Errorf("%d notes and %d events, want %d", len(notes), len(page.Events), want)
		}
	}
	evs, err := note("k", "body", nil)
	s.must(err)
	want := key + " " + evs[0].ID.String()
	for range 2 {
		if _, err := note("k", "body", nil); again(err) != want {
			s.Errorf("repeated: %q, %v, want %q", again(err), err, want)
		}
		_, err = note("k", "other", nil)
		if s.kind(err, callbackd.KindConflict); !errors.Is(err, store.ErrOtherCall) {
			s.Errorf("another body: %v", err)
		}
		s.reopen()
	}
	count(1)
	s.onceAtOnce(note, count)
	s.onceOfCallbacks()
	s.onceRefused(note, count)

	o := store.NewOnce(s.key.ID, "POST /notes", "k", []byte("body"), s.at)
	if err := s.Answered(s.ctx(), o); again(err) != want {
		s.Errorf("answered: %v", err)
	}
	for _, at := range []time.Time{s.at, s.at.Add(time.Second)} {
		n, err := s.Prune(s.ctx(), store.Prune{Answers: at}, 100)
		s.must(err)
		if swept := at.After(s.at); (n > 0) != swept || (s.Answered(s.ctx(), o) == nil) != swept {
			s.Errorf("swept %d answers from before %v", n, at.Sub(s.at))
		}
	}
}

// onceAtOnce: of many commands at once that have one key, one is made.
func (s *suite) onceAtOnce(note func(string, string, error) ([]*callbackd.Event, error), count func(int)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		all.Go(func() {
			if evs, err := note("at once", "b", nil); err == nil && len(evs) == 1 {
				mu.Lock()
				made++
				mu.Unlock()
			} else if again(err) == "" {
				s.Errorf("neither made nor repeated: %v", err)
			}
		})
	}
	if all.Wait(); made != 1 {
		s.Errorf("%d were made", made)
	}
	count(2)
}

// onceRefused: when the answer of a change is refused, nothing of the change is
// written, and the key is free.
func (s *suite) onceRefused(note func(string, string, error) ([]*callbackd.Event, error), count func(int)) {
	_, err := note("refused", "b", callbackd.Errorf(callbackd.KindConflict, "refused"))
	s.kind(err, callbackd.KindConflict)
	count(2)
	evs, err := note("refused", "b", nil)
	s.must(err)
	s.equal("the sequence, which has no gap", evs[0].Sequence, int64(3))
	count(3)
}

// onceWithBuffer: a command that reads what the driver buffers keeps its idempotency
// key to itself. What the driver flushes for it is no part of its transaction.
func (s *suite) onceWithBuffer() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B")
	for _, d := range s.fresh(cb.ID) {
		s.outcome(d, callbackd.Failed, time.Time{}, time.Time{})
	}
	shown := 0
	replay := func(fail error) error {
		o := store.NewOnce(s.key.ID, "POST /replays", "k", nil, s.at)
		o.Show = func(made any) (store.Answer, error) {
			shown++
			return store.Answer{Status: 201, Body: []byte(made.(*callbackd.Replay).ID.String())}, fail
		}
		_, err := s.CreateReplay(store.WithOnce(s.ctx(), o), callbackd.Replay{Key: s.key.ID, Filter: callbackd.ReplayFilter{Callback: cb.ID}, CreatedAt: s.at})
		return err
	}
	replays := func() (ids []string) {
		rs, _, err := s.ListReplays(s.ctx(), s.key.ID, 0, 10)
		s.must(err)
		for _, r := range rs {
			ids = append(ids, r.ID.String())
		}
		return ids
	}

	s.kind(replay(callbackd.Errorf(callbackd.KindConflict, "refused")), callbackd.KindConflict)
	s.equal("replays after a refusal", len(replays()), 0)
	page, err := s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Limit: 10})
	s.must(err)
	s.equal("events after a refusal", len(page.Events), 2)

	s.publish(s.key, ev1, "C") // there is something to flush again
	shown = 0
	s.must(replay(nil))
	s.equal("how often the answer was made", shown, 1)
	s.publish(s.key, ev1, "D")
	err = replay(nil)
	s.equal("replays", replays(), []string{again(err)})
	s.balanced()
}

// onceOfCallbacks: an answer that is refused writes nothing, and leaves the key
// free.
func (s *suite) onceOfCallbacks() {
	create := func(fail error) (bool, error) {
		o := store.NewOnce(s.key.ID, "POST /callbacks", "k", nil, s.at)
		o.Show = func(made any) (store.Answer, error) {
			return store.Answer{Status: 200, Body: []byte(made.(*callbackd.Callback).URL)}, fail
		}
		_, created, err := s.CreateCallback(store.WithOnce(context.Background(), o), callbackd.Callback{Key: s.key.ID, Event: ev2, Name: "once", URL: "https://a.example/", Method: "POST", Payload: []byte("{}"),
			Secrets: []callbackd.SigningSecret{{Value: "w"}}}, s.at)
		return created, err
	}
	_, err := create(callbackd.Errorf(callbackd.KindConflict, "refused"))
	s.kind(err, callbackd.KindConflict)
	_, err = s.Callback(s.ctx(), s.key.ID, ev2, "once")
	s.kind(err, callbackd.KindNotFound)
	if created, err := create(nil); !created || err != nil {
		s.Errorf("after a refusal: %v, %v", created, err)
	}
	if _, err := create(nil); again(err) != "https://a.example/" {
		s.Errorf("repeated: %v", err)
	}
}
