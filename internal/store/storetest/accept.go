package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var acceptTests = map[string]func(*suite){
	"AcceptedEvents":                      (*suite).acceptedEvents,
	"EventsGoToTheirCallbacks":            (*suite).targets,
	"ATestGoesToOneCallback":              (*suite).testEvent,
	"APublishedTestGoesWhereRealEventsGo": (*suite).publishedTest,
	"SequencesAreGapless":                 (*suite).sequences,
	"HandoverInCommitOrder":               (*suite).handover,
	"IdempotentBatch":                     (*suite).idempotentBatch,
	"IdempotentEvent":                     (*suite).idempotentEvent,
	"IdempotencyKeysAreOfAnAPIKey":        (*suite).idempotencyByKey,
	"IdempotencyRace":                     (*suite).idempotencyRace,
	"BatchIsAllOrNothing":                 (*suite).batch,
}

// one returns a batch of one event.
func (s *suite) one(session, data string) store.Batch {
	return store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: session, Data: []byte(data)}}}
}

func (s *suite) acceptedEvents() {
	evs := append(s.publish(s.key, ev1, "S1", "S2", "S1"), s.publish(s.key, ev2, "S1")...)
	var sequences []int64
	for i, ev := range evs {
		sequences = append(sequences, ev.Sequence)
		if i > 0 && ev.ID <= evs[i-1].ID {
			s.Errorf("the ID %d follows %d; want IDs that grow", ev.ID, evs[i-1].ID)
		}
	}
	s.equal("sequence numbers by session", sequences, []int64{1, 1, 2, 3})
	got, err := s.Event(s.ctx(), s.key.ID, evs[1].ID)
	s.must(err)
	s.equal("the stored event", *got, callbackd.Event{ID: evs[1].ID, Key: s.key.ID, Type: ev1, Session: "S2", Sequence: 1, Data: []byte(`{"i":1}`)})
	s.equal("the time in the ID", got.ID.Time().Equal(s.at), true)
}

func (s *suite) targets() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	s.equal("the targets", s.publish(s.key, ev1, "S")[0].Targets, []callbackd.CallbackID{a.ID, b.ID})
	s.equal("the targets of an event of another type", s.publish(s.key, ev2, "S")[0].Targets, []callbackd.CallbackID(nil))
	for _, cb := range []*callbackd.Callback{a, b} {
		s.equal("pending deliveries of "+cb.Name, len(s.fresh(cb.ID)), 1)
	}
}

func (s *suite) testEvent() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	batch := s.one("T", "{}")
	batch.Events[0].OnlyTo = b.ID
	evs, err := s.Accept(s.ctx(), batch)
	s.must(err)
	s.equal("the mark of a test", evs[0].Test, true)
	s.equal("the targets", evs[0].Targets, []callbackd.CallbackID{b.ID})
	s.equal("pending deliveries of the other callback", len(s.fresh(a.ID)), 0)
	s.equal("pending deliveries of the callback", len(s.fresh(b.ID)), 1)
}

// publishedTest publishes tests: they have the targets, the filters and the sequence numbers
// of real events. The mark belongs to the idempotency key.
func (s *suite) publishedTest() {
	all, low := s.newCallback(s.key, ev1, "all"), s.filtered("low", `{"data.grade":{"lt":3}}`)
	s.setTTL(low, time.Minute)
	s.publish(s.key, ev1, "T")
	batch := s.one("T", `{"grade":5}`)
	batch.Events = append(batch.Events, store.NewEvent{Type: ev1, Session: "T", Data: []byte(`{"grade":2}`)})
	for i := range batch.Events {
		batch.Events[i].Test, batch.Events[i].Idempotency = true, fmt.Sprint("x", i)
	}
	evs, err := s.Accept(s.ctx(), batch)
	s.must(err)
	s.reopen()
	again, err := s.Accept(s.ctx(), batch)
	s.must(err)
	for i, want := range []callbackd.Event{
		{Sequence: 2, Targets: []callbackd.CallbackID{all.ID}, Withheld: []callbackd.Withheld{{Callback: low.ID, Term: "data.grade lt 3"}}},
		{Sequence: 3, Targets: []callbackd.CallbackID{all.ID, low.ID}},
	} {
		want.ID, want.Key, want.Type, want.Session, want.Data, want.Test = evs[i].ID, s.key.ID, ev1, "T", batch.Events[i].Data, true
		got, err := s.Event(s.ctx(), s.key.ID, evs[i].ID)
		s.must(err)
		s.equal("the stored event", *got, want)
		s.equal("the answer to a repeat", again[i].ID, evs[i].ID)
	}
	batch.Events[0].Test = false
	s.kind(second(s.Accept(s.ctx(), batch)), callbackd.KindConflict)
	ds := append(s.fresh(all.ID), s.fresh(low.ID)...)
	var tests []bool
	var ttls []time.Duration
	for _, d := range ds {
		tests = append(tests, d.Test)
		ttl := time.Duration(0)
		if !d.ExpiresAt.IsZero() {
			ttl = d.ExpiresAt.Sub(s.at)
		}
		ttls = append(ttls, ttl)
	}
	s.equal("the marks of the deliveries", tests, []bool{false, true, true, true})
	s.equal("their ttls", ttls, []time.Duration{0, callbackd.TestTTL, callbackd.TestTTL, time.Minute})
	report, err := s.Check(s.ctx())
	s.must(err)
	s.equal("faults", report.Faults, []string(nil))
}

func (s *suite) sequences() {
	s.newCallback(s.key, ev1, "default")
	other := s.newKey("k2")
	const workers, each = 32, 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string][]int64{}
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				b := s.one(fmt.Sprint("S", (w+i)%5), "{}")
				if w%4 == 0 {
					b.Key = other.ID
				}
				evs, err := s.Accept(s.ctx(), b)
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				id := fmt.Sprint(b.Key, evs[0].Session)
				got[id] = append(got[id], evs[0].Sequence)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, seqs := range got {
		slices.Sort(seqs)
		for i, seq := range seqs {
			if seq != int64(i+1) {
				s.Fatalf("session %s has sequence %d in place %d; want no gap and no repeat", id, seq, i+1)
			}
		}
	}
}

func (s *suite) handover() {
	cb := s.newCallback(s.key, ev1, "default")
	var mu sync.Mutex
	var last callbackd.EventID
	n := 0
	s.OnCommit(func(ds []callbackd.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range ds {
			if d.ID.Event <= last {
				s.Errorf("delivery %s is handed over after event %d; want the order of the commits", d.ID, last)
			}
			if d.ID.Callback != cb.ID {
				s.Errorf("delivery %s is handed over; want those of callback %d", d.ID, cb.ID)
			}
			if d.Event == nil || d.Event.ID != d.ID.Event {
				s.Errorf("delivery %s comes with event %+v; want its own", d.ID, d.Event)
			}
			last = d.ID.Event
			n++
		}
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			evs, err := s.Accept(s.ctx(), s.one("S", "{}"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Error(err)
			} else if last < evs[0].ID {
				s.Errorf("event %d was answered before it was handed over", evs[0].ID)
			}
		})
	}
	wg.Wait()
	s.equal("deliveries handed over", n, 50)
}

func (s *suite) idempotentBatch() {
	cb := s.newCallback(s.key, ev1, "default")
	b := s.one("S", "{}")
	b.Events = append(b.Events, b.Events[0])
	b.Idempotency, b.Digest = "x", [32]byte{1}
	first, err := s.Accept(s.ctx(), b)
	s.must(err)
	b.At = s.at.Add(time.Hour)
	again, err := s.Accept(s.ctx(), b)
	s.must(err)
	s.equal("the answer of a repeat", again, first)
	b.Digest[0] = 2
	s.kind(second(s.Accept(s.ctx(), b)), callbackd.KindConflict)
	s.equal("pending deliveries", len(s.fresh(cb.ID)), 2)
}

func (s *suite) idempotentEvent() {
	cb := s.newCallback(s.key, ev1, "default")
	b := s.one("S", "{}")
	b.Events = append(b.Events, b.Events[0])
	b.Events[1].Idempotency = "y"
	first, err := s.Accept(s.ctx(), b)
	s.must(err)
	one := s.one("S", "{}")
	one.Events[0].Idempotency = "y"
	again, err := s.Accept(s.ctx(), one)
	s.must(err)
	s.equal("the answer of a repeat", again, first[1:])
	one.Events[0].Data = []byte(`{"other":1}`)
	s.kind(second(s.Accept(s.ctx(), one)), callbackd.KindConflict)
	s.equal("pending deliveries", len(s.fresh(cb.ID)), 2)
}

func (s *suite) idempotencyByKey() {
	b := s.one("S", "{}")
	b.Events[0].Idempotency = "y"
	first, err := s.Accept(s.ctx(), b)
	s.must(err)
	b.Key = s.newKey("k2").ID
	other, err := s.Accept(s.ctx(), b)
	s.must(err)
	if other[0].ID == first[0].ID {
		s.Errorf("another API key got event %d of the first one; want an event of its own", other[0].ID)
	}
}

func (s *suite) idempotencyRace() {
	s.newCallback(s.key, ev1, "default")
	ids := make([]callbackd.EventID, 1000)
	b := s.one("S", "{}")
	b.Idempotency = "x"
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			evs, err := s.Accept(s.ctx(), b)
			if err != nil {
				s.Error(err)
				return
			}
			ids[i] = evs[0].ID
		})
	}
	wg.Wait()
	slices.Sort(ids)
	s.equal("the events of one idempotency key", slices.Compact(ids), ids[:1])
}

// batch shows that a batch with one conflict stores nothing, whatever other commands
// share its commit.
func (s *suite) batch() {
	cb := s.newCallback(s.key, ev1, "default")
	stored := s.one("S", "{}")
	stored.Events[0].Idempotency = "x"
	s.must(second(s.Accept(s.ctx(), stored)))
	refused := s.one("S", "{}")
	refused.Events = append(refused.Events, store.NewEvent{Type: ev1, Session: "S", Data: []byte(`{"a":1}`), Idempotency: "x"})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { s.kind(second(s.Accept(s.ctx(), refused)), callbackd.KindConflict) })
		wg.Go(func() { s.publish(s.key, ev1, "S") })
	}
	wg.Wait()
	ds := s.fresh(cb.ID)
	s.equal("pending deliveries", len(ds), 101)
	for i, d := range ds {
		if d.Sequence != int64(i+1) {
			s.Fatalf("sequence %d in place %d; want no gap and no repeat", d.Sequence, i+1)
		}
	}
}
