package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// sessionCallbackTests are about callbacks that are for one session.
var sessionCallbackTests = map[string]func(*suite){
	"SessionCallback":                       (*suite).sessionCallback,
	"SessionCallbackGivenAgain":             (*suite).givenAgain,
	"SessionCallbackOfOwnTypes":             (*suite).sessionCallbackOfOwnTypes,
	"SessionCallbackGivenWithASession":      (*suite).givenWithSession,
	"SessionCallbacksAreFew":                (*suite).fewSessionCallbacks,
	"SessionCallbacksAtOnce":                (*suite).sessionCallbacksAtOnce,
	"SessionCallbackIsGivenOnce":            (*suite).givenOnce,
	"SessionCallbacksDoNotBecomeTheSame":    (*suite).sessionCallbackTwins,
	"SessionCallbackHasItsFilter":           (*suite).sessionFilter,
	"SessionCallbackChanges":                (*suite).sessionCallbackChanges,
	"SessionCallbackInOrder":                (*suite).sessionCallbackOrder,
	"SessionCallbackOfARevokedKey":          (*suite).sessionCallbackRevoked,
	"SessionCallbackReplays":                (*suite).sessionCallbackReplays,
	"SessionCallbackLivesAsLongAsItsEvents": (*suite).sessionCallbackOfEvents,
	"SessionCallbackLivesAsLongAsItsRow":    (*suite).sessionCallbackOfRow,
}

// given is a callback for one session, for events of ev1.
func given(url string, types ...callbackd.EventType) *callbackd.Callback {
	if types == nil {
		types = []callbackd.EventType{ev1}
	}
	return &callbackd.Callback{URL: url, Method: "POST", Payload: []byte("{}"), Types: types, Headers: []callbackd.Header{{Name: "X", Value: "secret"}}}
}

// give publishes an event of a session with a callback.
func (s *suite) give(cb *callbackd.Callback, session string) (*callbackd.Event, error) {
	evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: session, Data: []byte("{}"), Callback: cb}}})
	if err != nil {
		return nil, err
	}
	return evs[0], nil
}

// ofSession returns the callbacks of a session.
func (s *suite) ofSession(session string) []*callbackd.Callback {
	s.Helper()
	page, err := s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: s.key.ID, Session: session})
	s.must(err)
	return page.Callbacks
}

func (s *suite) sessionCallback() {
	forAll := s.newCallback(s.key, ev1, "default")
	ev, err := s.give(given("https://b.example/h"), "S")
	s.must(err)
	cb := s.ofSession("S")[0]
	want := callbackd.Callback{ID: cb.ID, Key: s.key.ID, Name: fmt.Sprint(int64(cb.ID)), Session: "S", Types: []callbackd.EventType{ev1}, Version: 1,
		URL: "https://b.example/h", Method: "POST", Payload: []byte("{}"), Headers: []callbackd.Header{{Name: "X", Value: "secret"}},
		Secrets: cb.Secrets, CreatedAt: s.at, UpdatedAt: s.at}
	s.equal("the callback", *cb, want)
	s.equal("the number of its secrets", len(cb.Secrets), 1)
	s.equal("targets of the event that brought it", ev.Targets, []callbackd.CallbackID{forAll.ID, cb.ID})
	other := s.newKey("other")
	for _, c := range []struct {
		what    string
		key     callbackd.Key
		typ     callbackd.EventType
		session string
		want    []callbackd.CallbackID
	}{
		{"the next event of the session", s.key, ev1, "S", []callbackd.CallbackID{forAll.ID, cb.ID}},
		{"an event of another type", s.key, ev2, "S", nil},
		{"an event of another session", s.key, ev1, "T", []callbackd.CallbackID{forAll.ID}},
		{"an event of another key", other, ev1, "S", nil},
	} {
		s.equal("targets of "+c.what, s.publish(c.key, c.typ, c.session)[0].Targets, c.want)
	}
	s.equal("deliveries that it owes", len(s.fresh(cb.ID)), 2)
	s.reopen()
	s.equal("targets after a restart", s.publish(s.key, ev1, "S")[0].Targets, []callbackd.CallbackID{forAll.ID, cb.ID})
	page, err := s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: s.key.ID})
	s.must(err)
	s.equal("callbacks of the key", len(page.Callbacks), 1)
	n, err := s.CountSessionCallbacks(s.ctx(), s.key.ID, 9)
	s.must(err)
	s.equal("callbacks for one session", n, 1)
}

// A platform's own types are among the events of a callback for one session, alone or
// beside callbackd's.
func (s *suite) sessionCallbackOfOwnTypes() {
	_, err := s.give(given("https://b.example/h", ev1, own1), "S")
	s.kind(err, callbackd.KindInvalid)
	s.equal("callbacks with a type that nobody has added", len(s.ofSession("S")), 0)
	s.must(s.AddEventTypes(s.ctx(), []callbackd.EventType{own1, own2}))
	both, alone := []callbackd.EventType{ev1, own1}, []callbackd.EventType{own2, own1}
	callbackd.SortTypes(alone)
	s.must(second(s.give(given("https://b.example/h", both...), "S")))
	s.must(second(s.give(given("https://b.example/h", alone...), "S")))
	s.must(second(s.give(given("https://b.example/h", alone...), "S")))
	for range 2 {
		cbs := s.ofSession("S")
		s.equal("the callbacks of the session", len(cbs), 2)
		s.equal("the types of the first", cbs[0].Types, both)
		s.equal("the types of the second", cbs[1].Types, alone)
		s.equal("targets of a type that both have", s.publish(s.key, own1, "S")[0].Targets, []callbackd.CallbackID{cbs[0].ID, cbs[1].ID})
		s.equal("targets of a type that the second has", s.publish(s.key, own2, "S")[0].Targets, []callbackd.CallbackID{cbs[1].ID})
		list, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Callback: cbs[1].ID, Type: own2, Limit: 10})
		s.must(err)
		s.equal("deliveries of the second type", len(list.Deliveries) > 0, true)
		s.reopen()
	}
	changed, err := s.ChangeCallback(s.ctx(), s.key.ID, "", s.ofSession("S")[0].Name, func(cb *callbackd.Callback) error {
		next := *cb
		next.Types = []callbackd.EventType{ev2}
		cb.Replace(&next, s.at)
		return nil
	})
	s.must(err)
	s.equal("the types after a change", changed.Types, []callbackd.EventType{ev2})
	s.equal("the types that are stored", s.ofSession("S")[0].Types, []callbackd.EventType{ev2})
}

func (s *suite) givenAgain() {
	s.must(second(s.give(given("https://b.example/h"), "S")))
	first := s.ofSession("S")[0]
	s.at = s.at.Add(time.Second)
	ev, err := s.give(given("https://b.example/h"), "S")
	s.must(err)
	s.equal("the targets of the second event", ev.Targets, []callbackd.CallbackID{first.ID})
	s.equal("the callbacks after it was given again", s.ofSession("S"), []*callbackd.Callback{first})
	next := given("https://b.example/h")
	next.Method = "PUT"
	s.must(second(s.give(next, "S")))
	changed := s.ofSession("S")
	s.equal("the callbacks with another setting", len(changed), 1)
	s.equal("the method", changed[0].Method, "PUT")
	s.equal("the version", changed[0].Version, int64(2))
	s.equal("the secrets", changed[0].Secrets, first.Secrets)
	byID, err := s.CallbackByID(s.ctx(), first.ID)
	s.must(err)
	s.equal("what the engine reads", byID.Method, "PUT")
	s.must(second(s.give(given("https://b.example/h", ev1, ev2), "S")))
	s.equal("the callbacks with the same URL and other events", len(s.ofSession("S")), 2)
	batch := store.Batch{Key: s.key.ID, At: s.at}
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		cb := given("https://new.example/")
		cb.Method = method
		batch.Events = append(batch.Events, store.NewEvent{Type: ev1, Session: "T", Data: []byte("{}"), Callback: cb})
	}
	s.must(second(s.Accept(s.ctx(), batch)))
	s.equal("the method of the last one in a batch", s.ofSession("T")[0].Method, "PATCH")
}

func (s *suite) givenWithSession() {
	x := &callbackd.Session{Key: s.key.ID, SessionKey: "ACM-0123456789", Status: callbackd.StatusIdle, CreatedAt: s.at, UpdatedAt: s.at}
	o := store.NewOnce(s.key.ID, "POST /v1/sessions", "k", nil, s.at)
	o.Show = func(made any) (store.Answer, error) {
		return store.Answer{Status: 200, Body: fmt.Append(nil, int64(made.(store.Changed).Callback.ID))}, nil
	}
	s.must(s.CreateSession(store.WithOnce(s.ctx(), o), x, given("https://b.example/h"), store.NewEvent{Type: ev1, Data: []byte("{}")}))
	cb := s.ofSession(x.SessionKey)[0]
	s.equal("the deliveries of the event that the creation fired", len(s.fresh(cb.ID)), 1)
	s.equal("the first answer", firstAnswer(s.Answered(s.ctx(), o)), fmt.Sprint(int64(cb.ID)))
	next := *x
	next.SessionKey = "ACM-0000000000"
	s.must(s.CreateSession(s.ctx(), &next, given("https://b.example/h")))
	s.equal("targets of the first event of a session without any", s.publish(s.key, ev1, next.SessionKey)[0].Targets, []callbackd.CallbackID{s.ofSession(next.SessionKey)[0].ID})
}

func (s *suite) fewSessionCallbacks() {
	for i := range callbackd.MaxSessionCallbacks {
		s.must(second(s.give(given(fmt.Sprintf("https://b.example/%d", i)), "S")))
	}
	one := store.NewEvent{Type: ev1, Session: "S", Data: []byte("{}")}
	more := one
	more.Callback = given("https://b.example/more")
	s.kind(second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{one, more}})), callbackd.KindInvalid)
	s.equal("the next sequence number: nothing of the batch was accepted", s.publish(s.key, ev1, "S")[0].Sequence, int64(callbackd.MaxSessionCallbacks+1))
	first := s.ofSession("S")[0]
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, "", first.Name, s.at)))
	s.must(second(s.give(more.Callback, "S")))
	s.equal("callbacks of the session", len(s.ofSession("S")), callbackd.MaxSessionCallbacks)
}

func (s *suite) sessionCallbacksAtOnce() {
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.give(given(fmt.Sprintf("https://b.example/%d", i%8)), "S") })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && callbackd.KindOf(err) != callbackd.KindInvalid {
			s.Errorf("given at once with others: %v", err)
		}
	}
	urls := map[string]bool{}
	for _, cb := range s.ofSession("S") {
		urls[cb.URL] = true
	}
	s.equal("callbacks of the session, each with a URL of its own", len(urls), callbackd.MaxSessionCallbacks)
	s.equal("callbacks of the session", len(s.ofSession("S")), callbackd.MaxSessionCallbacks)
}

func (s *suite) givenOnce() {
	b := store.Batch{Key: s.key.ID, At: s.at, Idempotency: "k", Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}"), Callback: given("https://b.example/h")}}}
	s.must(second(s.Accept(s.ctx(), b)))
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, "", s.ofSession("S")[0].Name, s.at)))
	s.must(second(s.Accept(s.ctx(), b)))
	s.equal("callbacks after a repeat of the first call", s.ofSession("S"), []*callbackd.Callback(nil))
	one := store.NewEvent{Type: ev1, Session: "T", Data: []byte("{}"), Idempotency: "e", Callback: given("https://b.example/h")}
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{one}})))
	one.Callback = given("https://c.example/h")
	s.kind(second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{one}})), callbackd.KindConflict)
	s.equal("callbacks after an event with its id and another callback", len(s.ofSession("T")), 1)
}

// sessionCallbackTwins changes two callbacks of a session at the same moment, so that they would be
// the same.
func (s *suite) sessionCallbackTwins() {
	for _, url := range []string{"https://a.example/", "https://b.example/"} {
		_, err := s.give(given(url), "S")
		s.must(err)
	}
	change := func(cb *callbackd.Callback) error {
		_, err := s.ChangeCallback(s.ctx(), s.key.ID, "", cb.Name, func(stored *callbackd.Callback) error {
			next := *stored
			next.URL = "https://c.example/"
			stored.Replace(&next, s.at)
			return nil
		})
		return err
	}
	var errs [2]error
	var wg sync.WaitGroup
	for i, cb := range s.ofSession("S") {
		wg.Go(func() { errs[i] = change(cb) })
	}
	wg.Wait()
	if kinds := []callbackd.Kind{callbackd.KindOf(errs[0]), callbackd.KindOf(errs[1])}; (errs[0] == nil) == (errs[1] == nil) || !slices.Contains(kinds, callbackd.KindConflict) {
		s.Errorf("the changes ended with %v and %v, want one success and one conflict", errs[0], errs[1])
	}
	for _, cb := range s.ofSession("S") {
		if cb.URL == "https://c.example/" {
			s.must(change(cb)) // it stays as it is
		}
	}
}

func (s *suite) sessionFilter() {
	for _, c := range []struct {
		session, filter string
		want            int
	}{{"A", `{"data.n":{"eq":1}}`, 0}, {"B", `{"data.n":{"exists":false}}`, 1}, {"ACM-0123456789", `{"session.status":{"eq":"IDLE"}}`, 1}, {"ACM-0000000000", `{"session.status":{"eq":"IDLE"}}`, 0}} {
		if c.want == 1 && c.session != "B" {
			s.must(s.CreateSession(s.ctx(), &callbackd.Session{Key: s.key.ID, SessionKey: c.session, Status: callbackd.StatusIdle, CreatedAt: s.at, UpdatedAt: s.at}, nil))
		}
		cb := given("https://b.example/h")
		var err error
		cb.Policy.Filter, err = callbackd.ParseFilter("filter", []byte(c.filter))
		s.must(err)
		ev, err := s.give(cb, c.session)
		s.must(err)
		s.equal("targets of an event with the filter "+c.filter, len(ev.Targets), c.want)
		s.equal("callbacks that it is withheld from", len(ev.Withheld), 1-c.want)
		s.equal("targets of the next event", len(s.publish(s.key, ev1, c.session)[0].Targets), c.want)
	}
}

func (s *suite) sessionCallbackChanges() {
	s.must(second(s.give(given("https://b.example/h"), "S")))
	cb := s.ofSession("S")[0]
	other := s.newKey("other")
	s.kind(second(s.PauseCallback(s.ctx(), other.ID, "", cb.Name, callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})), callbackd.KindNotFound)
	s.must(second(s.PauseCallback(s.ctx(), s.key.ID, "", cb.Name, callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})))
	s.must(second(s.give(given("https://b.example/h"), "S")))
	s.equal("whether it is paused after it was given again", s.ofSession("S")[0].Paused(), true)
	s.must(second(s.RotateSecret(s.ctx(), s.key.ID, "", cb.Name, "next", s.at, s.at)))
	s.equal("the secrets", s.ofSession("S")[0].Secrets, []callbackd.SigningSecret{{Value: "next"}})
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, "", cb.Name, s.at)))
	s.kind(second(s.DeleteCallback(s.ctx(), s.key.ID, "", cb.Name, s.at)), callbackd.KindNotFound)
	s.equal("targets after the deletion", s.publish(s.key, ev1, "S")[0].Targets, []callbackd.CallbackID(nil))
	n, err := s.FinalizeCanceled(s.ctx(), s.at, 10)
	s.must(err)
	s.equal("deliveries that were canceled", n, 2)
}

func (s *suite) sessionCallbackOrder() {
	all := s.newCallback(s.key, ev2, "a")
	s.must(second(s.give(given("https://b.example/h"), "S")))
	s.must(second(s.give(given("https://b.example/h"), "T")))
	last := s.publish(s.key, ev2, "S")[0]
	got, err := s.Earlier(s.ctx(), callbackd.EarlierRead{Key: s.key.ID, Before: []callbackd.SessionEvent{{Session: "S", Event: last.ID}}, At: s.at})
	s.must(err)
	s.equal("what comes before an event of the session", len(got[0]), 1)
	s.equal("its callback", got[0][0].ID.Callback, s.ofSession("S")[0].ID)
	s.equal("the callback of the event", last.Targets, []callbackd.CallbackID{all.ID})
}

func (s *suite) sessionCallbackRevoked() {
	s.must(second(s.give(given("https://b.example/h"), "S")))
	cb := s.ofSession("S")[0]
	s.must(s.RevokeKey(s.ctx(), s.key.APIKey, s.at))
	got, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("whether it has ended with its key", got.Deleted(), true)
	n, err := s.FinalizeCanceled(s.ctx(), s.at, 10)
	s.must(err)
	s.equal("deliveries that were canceled", n, 1)
}

func (s *suite) sessionCallbackReplays() {
	s.publish(s.key, ev1, "S", "T")
	s.publish(s.key, ev2, "S")
	s.must(second(s.give(given("https://b.example/h"), "S")))
	cb := s.ofSession("S")[0]
	count := func(f callbackd.ReplayFilter) int64 {
		s.Helper()
		r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: f, CreatedAt: s.at})
		s.must(err)
		s.must(second(s.SetReplayState(s.ctx(), s.key.ID, r.ID, callbackd.ReplayCanceled, s.at)))
		return r.Total
	}
	s.equal("events that it can be sent", count(callbackd.ReplayFilter{Target: cb.ID}), int64(2))
	s.equal("events that it misses", count(callbackd.ReplayFilter{Missing: true}), int64(1))
	s.equal("events of another session that it misses", count(callbackd.ReplayFilter{Missing: true, Session: "T"}), int64(0))
	s.outcome(s.fresh(cb.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	s.equal("deliveries that failed", count(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}), int64(1))
	s.equal("deliveries to it", count(callbackd.ReplayFilter{Callback: cb.ID}), int64(1))
	for what, f := range map[string]callbackd.ReplayFilter{"session": {Target: cb.ID, Session: "T"}, "event": {Target: cb.ID, Type: ev2}} {
		_, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: f, CreatedAt: s.at})
		if callbackd.KindOf(err) != callbackd.KindInvalid {
			s.Errorf("a replay to it of another %s: %v, want Invalid", what, err)
		}
	}
	for _, q := range []store.DeliveryQuery{{State: callbackd.Failed}, {Type: ev1, State: callbackd.Failed}, {Session: "S"}, {Callback: cb.ID}} {
		q.Key, q.Limit = s.key.ID, 10
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		s.equal(fmt.Sprintf("deliveries that %+v lists", q), len(page.Deliveries), 1)
	}
}

// sweepCallbacks ends and removes callbacks of sessions, in steps of two, and returns how many
// it removed.
func (s *suite) sweepCallbacks(before, at time.Time) (removed int) {
	s.Helper()
	for after, done := callbackd.CallbackID(0), false; !done; {
		var n int
		var err error
		after, n, done, err = s.SweepSessionCallbacks(s.ctx(), before, at, after, 2)
		s.must(err)
		removed += n
	}
	return removed
}

func (s *suite) sessionCallbackOfEvents() {
	s.must(second(s.give(given("https://b.example/h"), "S")))
	s.must(second(s.give(given("https://b.example/h"), "T")))
	kept := s.ofSession("T")[0]
	cb := s.ofSession("S")[0]
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	later := s.at.Add(time.Hour)
	s.equal("removed while events are stored", s.sweepCallbacks(later, later), 0)
	s.equal("callbacks while events are stored", len(s.ofSession("S")), 1)
	s.must(second(s.Sweep(s.ctx(), store.Sweep{Before: later, Limit: 10})))
	s.equal("removed before the time", s.sweepCallbacks(s.at, later), 0)
	s.equal("targets of an event after the others were removed", s.publish(s.key, ev1, "S")[0].Targets, []callbackd.CallbackID{cb.ID})
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.must(second(s.Sweep(s.ctx(), store.Sweep{Before: later, Limit: 10})))
	s.equal("removed when it ends", s.sweepCallbacks(later, later), 0)
	s.equal("callbacks of the session", s.ofSession("S"), []*callbackd.Callback(nil))
	s.equal("removed an hour later", s.sweepCallbacks(later, later.Add(time.Hour+time.Second)), 1)
	s.kind(second(s.CallbackByID(s.ctx(), cb.ID)), callbackd.KindNotFound)
	s.equal("callbacks of the other session", s.ofSession("T"), []*callbackd.Callback{kept})
	next := s.publish(s.key, ev1, "S")[0]
	s.equal("targets of the next event", next.Targets, []callbackd.CallbackID(nil))
	s.must(second(s.give(given("https://b.example/h"), "S")))
	if again := s.ofSession("S")[0]; slices.Equal(again.Secrets, cb.Secrets) {
		s.Error("the next callback of the session has the secret of the one before")
	}
}

func (s *suite) sessionCallbackOfRow() {
	x := &callbackd.Session{Key: s.key.ID, SessionKey: "ACM-0123456789", Status: callbackd.StatusExpired, CreatedAt: s.at, UpdatedAt: s.at, EndedAt: s.at}
	s.must(s.CreateSession(s.ctx(), x, given("https://b.example/h")))
	later := s.at.Add(time.Hour)
	s.sweepCallbacks(later, later)
	s.equal("callbacks while the session is stored", len(s.ofSession(x.SessionKey)), 1)
	s.must(second(s.Prune(s.ctx(), store.Prune{Sessions: later}, 10)))
	s.sweepCallbacks(later, later)
	s.equal("callbacks after the session was removed", s.ofSession(x.SessionKey), []*callbackd.Callback(nil))
	s.equal("removed an hour later", s.sweepCallbacks(later, later.Add(time.Hour+time.Second)), 1)
}
