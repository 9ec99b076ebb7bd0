package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// onceTests are about commands with an idempotency key: a command runs once, and
// its change and its answer are stored together.
var onceTests = map[string]func(*suite){
	"Once":                   (*suite).once,
	"OnceIsOfOneBody":        (*suite).onceOtherBody,
	"OnceAtOnce":             (*suite).onceAtOnce,
	"OnceWithARefusedAnswer": (*suite).onceRefused,
	"OnceWithARefusedChange": (*suite).onceChangeRefused,
	"OnceWithABuffer":        (*suite).onceWithBuffer,
	"OnceUntilItIsSwept":     (*suite).onceSwept,
}

// firstAnswer returns the first answer in the error of a repeated command. It is empty
// for any other error and for nil.
func firstAnswer(err error) string {
	if r, ok := errors.AsType[*store.Repeated](err); ok {
		return string(r.Body)
	}
	return ""
}

// newOnce names a command that adds a note, with an idempotency key and a body. Its
// answer is refused with an error that is not nil.
func (s *suite) newOnce(body string, refusal error) *store.Once {
	o := store.NewOnce(s.key.ID, "POST /notes", "k", []byte(body), s.at)
	o.Show = func(made any) (store.Answer, error) {
		c := made.(store.Changed)
		return store.Answer{Status: 201, Body: []byte(c.Session.SessionKey + " " + c.Events[0].ID.String())}, refusal
	}
	return o
}

// note adds a note to a session and fires an event, once for each body.
func (s *suite) note(x *callbackd.Session, body string) (answer string, err error) {
	return s.noteOrRefusal(x, s.newOnce(body, nil))
}

// noteOrRefusal is note for a command with an answer that may be refused.
func (s *suite) noteOrRefusal(x *callbackd.Session, o *store.Once) (answer string, err error) {
	_, evs, err := s.ChangeSession(store.WithOnce(s.ctx(), o), x.Key, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
		x.Notes++
		return store.SessionChange{Notes: []callbackd.Note{{Title: "n", InsertedAt: s.at}}, Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}}}, nil
	})
	if err != nil {
		return "", err
	}
	return x.SessionKey + " " + evs[0].ID.String(), nil
}

// oneNote checks that a session has one note and one event.
func (s *suite) oneNote(x *callbackd.Session) {
	s.Helper()
	notes, err := s.SessionNotes(s.ctx(), x.Key, x.SessionKey)
	s.must(err)
	s.equal("notes of the session", len(notes), 1)
	s.equal("events of the key", len(s.listEvents(store.EventQuery{Key: x.Key, Limit: 100})), 1)
}

func (s *suite) once() {
	x := s.newSession(s.key, nil)
	answer, err := s.note(x, "body")
	s.must(err)
	for _, when := range []string{"at once", "after a restart"} {
		_, err := s.note(x, "body")
		s.equal("the answer of a repeat, "+when, firstAnswer(err), answer)
		s.equal("the stored answer, "+when, firstAnswer(s.Answered(s.ctx(), s.newOnce("body", nil))), answer)
		s.reopen()
	}
	s.oneNote(x)
}

func (s *suite) onceOtherBody() {
	x := s.newSession(s.key, nil)
	s.must(second(s.note(x, "body")))
	_, err := s.note(x, "another body")
	s.kind(err, callbackd.KindConflict)
	if !errors.Is(err, store.ErrOtherCall) {
		s.Errorf("the error is %v, want %v", err, store.ErrOtherCall)
	}
	s.oneNote(x)
}

// onceAtOnce shows that of many concurrent commands with one idempotency key one is made,
// and the others get its answer.
func (s *suite) onceAtOnce() {
	x := s.newSession(s.key, nil)
	var calls sync.WaitGroup
	var made atomic.Int64
	for range 8 {
		calls.Go(func() {
			_, err := s.note(x, "body")
			if err == nil {
				made.Add(1)
			} else if firstAnswer(err) == "" {
				s.Errorf("a repeat: %v, want the first answer", err)
			}
		})
	}
	calls.Wait()
	s.equal("commands of eight that were made", made.Load(), int64(1))
	s.oneNote(x)
}

// onceRefused shows that a command whose answer is refused writes nothing, and
// leaves its idempotency key free.
func (s *suite) onceRefused() {
	create := func(refusal error) (created bool, err error) {
		o := store.NewOnce(s.key.ID, "POST /callbacks", "k", nil, s.at)
		o.Show = func(made any) (store.Answer, error) {
			return store.Answer{Status: 200, Body: []byte(made.(*callbackd.Callback).URL)}, refusal
		}
		_, created, err = s.CreateCallback(store.WithOnce(s.ctx(), o), callbackd.Callback{
			Key: s.key.ID, Event: ev2, Name: "once", URL: "https://a.example/", Method: "POST", Payload: []byte("{}"),
			Secrets: []callbackd.SigningSecret{{Value: "w"}},
		}, s.at)
		return created, err
	}
	s.kind(second(create(callbackd.Errorf(callbackd.KindConflict, "refused"))), callbackd.KindConflict)
	s.kind(second(store.CallbackNamed(s.ctx(), s, s.key.ID, ev2, "once")), callbackd.KindNotFound)
	created, err := create(nil)
	s.must(err)
	s.equal("whether the next command created it", created, true)
	s.equal("the answer of a repeat", firstAnswer(second(create(nil))), "https://a.example/")
}

// onceChangeRefused shows that a change whose answer is refused writes nothing, and
// takes no sequence number.
func (s *suite) onceChangeRefused() {
	x := s.newSession(s.key, nil)
	_, err := s.noteOrRefusal(x, s.newOnce("body", callbackd.Errorf(callbackd.KindConflict, "refused")))
	s.kind(err, callbackd.KindConflict)
	s.must(second(s.note(x, "body")))
	s.oneNote(x)
	evs := s.eventsOfSession(store.SessionEventQuery{Key: x.Key, Session: x.SessionKey, Limit: 10})
	s.equal("the sequence number of its event", sequences(evs), []int64{1})
}

// onceWithBuffer shows that a command for which the driver flushes its buffer uses its
// idempotency key once. The flush is not part of the command's transaction.
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
		page, err := s.ListReplays(s.ctx(), store.ReplayQuery{Key: s.key.ID, Limit: 10})
		s.must(err)
		for _, r := range page.Replays {
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
	s.equal("replays", replays(), []string{firstAnswer(err)})
	s.balanced()
}

func (s *suite) onceSwept() {
	x := s.newSession(s.key, nil)
	answer, err := s.note(x, "body")
	s.must(err)
	for _, c := range []struct {
		before time.Time
		swept  int
		answer string
	}{
		{s.at, 0, answer},
		{s.at.Add(time.Second), 1, ""},
	} {
		n, err := s.Prune(s.ctx(), store.Prune{Answers: c.before}, 100)
		s.must(err)
		s.equal("answers that were removed", n, c.swept)
		s.equal("the stored answer", firstAnswer(s.Answered(s.ctx(), s.newOnce("body", nil))), c.answer)
	}
}
