package storetest

import (
	"errors"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var keyLimitTests = map[string]func(*suite){
	"TheUseOfAKey":              (*suite).keyUse,
	"CallbacksOfAKeyAreLimited": (*suite).callbacksLimited,
	"BatchesAreAdmitted":        (*suite).admitted,
}

// wantUse checks what a key has pending, each event with 7 bytes of data.
func (s *suite) wantUse(when string, key callbackd.Key, deliveries int64) {
	s.Helper()
	use, err := s.KeyUse(s.ctx(), key.ID)
	s.must(err)
	s.equal("use "+when, use, callbackd.KeyUse{Deliveries: deliveries, Bytes: 7 * deliveries})
}

func (s *suite) keyUse() {
	other := s.newKey("k2")
	s.wantUse("of an empty store", s.key, 0)
	cb := s.newCallback(s.key, ev1, "a")
	s.newCallback(s.key, ev1, "b")
	s.newCallback(other, ev1, "a")
	s.publish(s.key, ev1, "S1", "S2", "S3")
	s.publish(s.key, ev2, "S1") // nobody gets it
	s.publish(other, ev1, "S1")
	s.wantUse("of three events with two callbacks", s.key, 6)
	s.wantUse("of another key", other, 1)
	ds := s.fresh(cb.ID)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Failed, time.Time{}, time.Time{})
	s.outcome(ds[2], callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	s.wantUse("after three attempts", s.key, 4)
	s.reopen()
	s.wantUse("after a restart", s.key, 4)
	s.must(second(s.Resend(s.ctx(), s.key.ID, ds[1].ID, s.at)))
	s.wantUse("after a failed delivery was resent", s.key, 5)
	late := s.newCallback(s.key, ev1, "late")
	s.step(s.replay(callbackd.ReplayFilter{Target: late.ID}, 0), s.at)
	s.wantUse("after a replay to another callback", s.key, 8)
	s.step(s.cancel(callbackd.ReplayFilter{Callback: late.ID}, 0), s.at)
	s.wantUse("after a cancellation", s.key, 5)
}

func (s *suite) callbacksLimited() {
	s.must(s.ChangeKey(s.ctx(), "k1", func(k *callbackd.Key) error {
		k.Limits.Callbacks = 2
		return nil
	}))
	create := func(ev callbackd.EventType, name string) error {
		_, _, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev, Name: name, URL: "https://a.example/h", Method: "POST", Payload: []byte("{}")}, s.at)
		return err
	}
	s.must(create(ev1, "a"))
	s.must(create(ev1, "b"))
	s.kind(create(ev1, "c"), callbackd.KindLimited)
	s.must(create(ev1, "b")) // it is there
	s.must(create(ev2, "c"))
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "a", s.at)))
	s.must(create(ev1, "c"))
}

// A batch is asked for before it is accepted. One that is known already is not: its first
// answer is given.
func (s *suite) admitted() {
	no := errors.New("not now")
	var answer error
	asked := 0
	publish := func(b store.Batch) ([]*callbackd.Event, error) {
		b.Key, b.At = s.key.ID, s.at
		b.Admit = func() error { asked++; return answer }
		return s.Accept(s.ctx(), b)
	}
	whole := store.Batch{Idempotency: "whole", Events: []store.NewEvent{{Type: ev1, Session: "S1", Data: []byte("{}")}, {Type: ev1, Session: "S1", Data: []byte("{}")}}}
	single := store.Batch{Events: []store.NewEvent{{Type: ev1, Session: "S1", Data: []byte("{}"), Idempotency: "one"}}}
	mixed := store.Batch{Events: []store.NewEvent{single.Events[0], {Type: ev1, Session: "S1", Data: []byte("{}"), Idempotency: "two"}}}
	first, err := publish(whole)
	s.must(err)
	s.must(second(publish(single)))
	if asked == 0 {
		s.Error("new batches are not asked for")
	}
	answer, asked = no, 0
	again, err := publish(whole)
	s.must(err)
	s.equal("the ID of a repeat", again[1].ID, first[1].ID)
	s.must(second(publish(single)))
	s.equal("how often repeats are asked for", asked, 0)
	if err := second(publish(mixed)); !errors.Is(err, no) {
		s.Errorf("a batch with a new event is answered with %v, want the refusal", err)
	}
	if err := second(publish(store.Batch{Events: []store.NewEvent{{Type: ev1, Session: "S1", Data: []byte("{}")}}})); !errors.Is(err, no) {
		s.Errorf("a new batch is answered with %v, want the refusal", err)
	}
	answer = nil
	evs, err := publish(mixed)
	s.must(err)
	s.equal("the number of the next event, so that nothing of the refused ones was accepted", evs[1].Sequence, int64(4))
}
