package storetest

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var traceTests = map[string]func(*suite){
	"TraceOfAnEvent":         (*suite).traceOfEvent,
	"TraceOfASessionsEvents": (*suite).traceOfSession,
}

// traced returns a context with a trace context.
func (s *suite) traced(state string) (context.Context, *callbackd.Trace) {
	t := callbackd.ParseTrace([]string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, []string{state})
	return store.WithTrace(s.ctx(), t), t
}

func (s *suite) traceOfEvent() {
	cb := s.newCallback(s.key, ev1, "a")
	ctx, want := s.traced("vendor=1")
	batch := store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{
		{Type: ev1, Session: "S", Data: []byte("{}"), Idempotency: "one"},
		{Type: ev1, Session: "T", Data: []byte("{}"), DeliverAt: s.at.Add(time.Hour), ExpiresAt: s.at.Add(2 * time.Hour)},
	}}
	made, err := s.Accept(ctx, batch)
	s.must(err)
	s.equal("the trace of an accepted event", made[0].Trace, want)
	plain := s.publish(s.key, ev1, "U")[0]
	s.equal("the trace of an event without one", plain.Trace, (*callbackd.Trace)(nil))
	other, _ := s.traced("")
	again, err := s.Accept(store.WithTrace(other, &callbackd.Trace{ID: [16]byte{1}, Span: [8]byte{1}}), store.Batch{Key: s.key.ID, At: s.at, Events: batch.Events[:1]})
	s.must(err)
	s.equal("the event of a repeat from another trace", again[0].ID, made[0].ID)
	s.equal("its trace", again[0].Trace, want)
	for _, when := range []string{"", " after a restart"} {
		for _, ev := range made {
			got, err := s.Event(s.ctx(), s.key.ID, ev.ID)
			s.must(err)
			s.equal("the trace of a stored event"+when, got.Trace, want)
			s.equal("when it is delivered"+when, got.DeliverAt.Equal(ev.DeliverAt) && got.ExpiresAt.Equal(ev.ExpiresAt), true)
		}
		got, err := s.Event(s.ctx(), s.key.ID, plain.ID)
		s.must(err)
		s.equal("the trace of a stored event without one"+when, got.Trace, (*callbackd.Trace)(nil))
		s.reopen()
	}
	page, err := s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Limit: 10})
	s.must(err)
	listed := map[callbackd.EventID]*callbackd.Trace{}
	for _, ev := range page.Events {
		listed[ev.ID] = ev.Trace
	}
	s.equal("the traces in a list", listed, map[callbackd.EventID]*callbackd.Trace{made[0].ID: want, made[1].ID: want, plain.ID: nil})
	s.equal("first attempts", len(s.fresh(cb.ID)), 2)
}

func (s *suite) traceOfSession() {
	ctx, want := s.traced("")
	x := s.newSession(s.key, nil)
	_, evs, err := s.ChangeSession(ctx, x.Key, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}}}, nil
	})
	s.must(err)
	got, err := s.Event(s.ctx(), x.Key, evs[0].ID)
	s.must(err)
	s.equal("the trace of an event that a change fired", got.Trace, want)
}
