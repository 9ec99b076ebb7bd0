package storetest

import (
	"fmt"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var filterTests = map[string]func(*suite){
	"AFilterWithholdsEvents":                 (*suite).withheld,
	"AFilterReadsTheStoredSession":           (*suite).filterOfSession,
	"AFilterSeesASessionAfterItsChange":      (*suite).filterAfterChange,
	"FiltersOfAnEventHaveALimit":             (*suite).filterSum,
	"AFilterCountsAsCommitted":               (*suite).filterChanged,
	"FieldsBelongToAVersion":                 (*suite).fieldsOfVersions,
	"WithheldEventsAreMissingUntilDelivered": (*suite).withheldReplayed,
}

// filtered makes a callback with a filter.
func (s *suite) filtered(name, filter string) *callbackd.Callback {
	s.Helper()
	f, err := callbackd.ParseFilter("filter", []byte(filter))
	s.must(err)
	cb, _, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev1, Name: name, URL: "https://a.example/", Method: "POST",
		Payload: []byte("{}"), Policy: callbackd.Policy{Filter: f}, Secrets: []callbackd.SigningSecret{{Value: "w"}}}, s.at)
	s.must(err)
	return cb
}

// accepted accepts one event of a session.
func (s *suite) accepted(session, data string) *callbackd.Event {
	s.Helper()
	evs, err := s.Accept(s.ctx(), s.one(session, data))
	s.must(err)
	return evs[0]
}

func (s *suite) withheld() {
	all, low := s.newCallback(s.key, ev1, "all"), s.filtered("low", `{"data.grade":{"lt":3}}`)
	s.filtered("none", `{"data.grade":{"exists":false}}`)
	bad := s.accepted("S", `{"grade":2.5}`)
	s.equal("targets of a low grade", bad.Targets, []callbackd.CallbackID{all.ID, low.ID})
	good := s.accepted("S", `{"grade":3.00}`)
	s.equal("targets of a good grade", good.Targets, []callbackd.CallbackID{all.ID})
	batch := s.one("S", `{"grade":5}`)
	batch.Events[0].OnlyTo = low.ID
	test, err := s.Accept(s.ctx(), batch)
	s.must(err)
	s.equal("the target of a test, which is not filtered", test[0].Targets, []callbackd.CallbackID{low.ID})
	s.reopen()
	for ev, want := range map[*callbackd.Event][]callbackd.Withheld{
		bad:     {{Callback: low.ID + 1, Term: "data.grade exists false"}},
		good:    {{Callback: low.ID, Term: "data.grade lt 3"}, {Callback: low.ID + 1, Term: "data.grade exists false"}},
		test[0]: nil,
	} {
		stored, err := s.Event(s.ctx(), s.key.ID, ev.ID)
		s.must(err)
		s.equal("the targets that are stored", stored.Targets, ev.Targets)
		s.equal("what is stored as withheld", stored.Withheld, want)
	}
	for name, c := range map[string]struct {
		q    store.EventQuery
		want []*callbackd.Event
	}{
		"all events":                       {store.EventQuery{}, []*callbackd.Event{test[0], good, bad}},
		"those withheld from any callback": {store.EventQuery{Withheld: true}, []*callbackd.Event{good, bad}},
		"those withheld from one callback": {store.EventQuery{Withheld: true, WithheldFrom: low.ID}, []*callbackd.Event{good}},
		"those withheld from nobody":       {store.EventQuery{Withheld: true, WithheldFrom: all.ID}, nil},
		"those of a type":                  {store.EventQuery{Withheld: true, Type: ev1}, []*callbackd.Event{good, bad}},
		"those of another type":            {store.EventQuery{Withheld: true, Type: ev2}, nil},
		"those of a session":               {store.EventQuery{Withheld: true, Session: "S"}, []*callbackd.Event{good, bad}},
		"those on a page of one":           {store.EventQuery{Withheld: true, Limit: 1}, []*callbackd.Event{good}},
		"those after it":                   {store.EventQuery{Withheld: true, After: good.ID}, []*callbackd.Event{bad}},
	} {
		c.q.Key, c.q.Limit = s.key.ID, max(c.q.Limit, 1)
		if name != "those on a page of one" {
			c.q.Limit = store.MaxPage
		}
		page, err := s.ListEvents(s.ctx(), c.q)
		s.must(err)
		var got, want []string
		for _, ev := range page.Events {
			got = append(got, ev.ID.String()+string(ev.Data))
		}
		for _, ev := range c.want {
			want = append(want, ev.ID.String()+string(ev.Data))
		}
		s.equal(name, got, want)
	}
	s.equal("pending deliveries", len(s.fresh(low.ID)), 2)
	cb, err := s.CallbackByID(s.ctx(), low.ID)
	s.must(err)
	s.equal("the filter that is stored", cb.Policy.Filter.String(), `{"data.grade":{"lt":3}}`)
}

func (s *suite) filterOfSession() {
	cb := s.filtered("default", `{"session.status":{"eq":"IDLE"},"session.reference.lead":{"eq":17.5},"session.options.client_id":{"eq":"C1"}}`)
	x := s.newSession(s.key, nil)
	s.equal("targets of an event of a session that matches", s.accepted(x.SessionKey, "{}").Targets, []callbackd.CallbackID{cb.ID})
	none := s.accepted("no such session", "{}")
	s.equal("what an event without a session is withheld for", none.Withheld, []callbackd.Withheld{{Callback: cb.ID, Term: `session.status eq "IDLE" (missing)`}})
	other := s.newSession(s.key, func(x *callbackd.Session) { x.ClientID = "C2" })
	s.reopen()
	s.equal("what an event of another client is withheld for", s.accepted(other.SessionKey, "{}").Withheld, []callbackd.Withheld{{Callback: cb.ID, Term: `session.options.client_id eq "C1"`}})
	s.start(x)
	s.equal("what an event of a started session is withheld for", s.accepted(x.SessionKey, "{}").Withheld, []callbackd.Withheld{{Callback: cb.ID, Term: `session.status eq "IDLE"`}})
	removed := s.newSession(s.key, nil)
	s.must(s.remove(removed))
	s.equal("targets when the session was removed", s.accepted(removed.SessionKey, "{}").Targets, []callbackd.CallbackID(nil))
}

// filterAfterChange shows that what a change of a session fires is judged by the session
// as it is after the change, and so is what its creation fires.
func (s *suite) filterAfterChange() {
	idle, started := s.filtered("idle", `{"session.status":{"eq":"IDLE"}}`), s.filtered("started", `{"session.status":{"eq":"STARTED"}}`)
	x := s.newSession(s.key, nil)
	_, evs := s.start(x)
	s.equal("targets of the change to STARTED", evs[0].Targets, []callbackd.CallbackID{started.ID})
	next := *x
	next.SessionKey = "created"
	s.must(s.CreateSession(s.ctx(), &next, nil, store.NewEvent{Type: ev1, Data: []byte("{}")}))
	s.equal("deliveries of a creation", len(s.fresh(idle.ID)), 1)
}

func (s *suite) filterChanged() {
	cb := s.filtered("default", `{"data.grade":{"lt":3}}`)
	s.equal("targets by the first filter", s.accepted("S", `{"grade":4}`).Targets, []callbackd.CallbackID(nil))
	for _, filter := range []string{`{"data.grade":{"gt":3}}`, `{}`} {
		next := *cb
		var err error
		next.Policy.Filter, err = callbackd.ParseFilter("filter", []byte(filter))
		s.must(err)
		s.must(second(s.ReplaceCallback(s.ctx(), next, s.at)))
		s.equal("targets after the change to "+filter, s.accepted("S", `{"grade":4}`).Targets, []callbackd.CallbackID{cb.ID})
	}
	stored, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("the version, for what is sent did not change", stored.Version, int64(1))
}

// withheldReplayed shows that a replay sends what was withheld, with a target or as
// missing, and once. It is a late target then, and no fault for fsck.
func (s *suite) withheldReplayed() {
	cb := s.filtered("default", `{"data.grade":{"lt":3}}`)
	s.accepted("S", `{"grade":1}`)
	s.deliverAll(s.fresh(cb.ID))
	ev := s.accepted("S", `{"grade":4}`)
	s.chooses(callbackd.ReplayFilter{}, 1)
	s.chooses(callbackd.ReplayFilter{Target: cb.ID}, 2)
	s.chooses(callbackd.ReplayFilter{Target: cb.ID, Missing: true}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Callback: cb.ID}, 1)
	r := s.replay(callbackd.ReplayFilter{Missing: true}, 0)
	due := s.step(r, s.at).Due
	s.equal("deliveries that the replay sends", deliveryIDs(due), []callbackd.DeliveryID{{Event: ev.ID, Callback: cb.ID}})
	s.deliverAll(due)
	s.chooses(callbackd.ReplayFilter{Missing: true}, 0)
	stored, err := s.Event(s.ctx(), s.key.ID, ev.ID)
	s.must(err)
	s.equal("the targets after the replay", stored.Targets, []callbackd.CallbackID{cb.ID})
}

// fieldsOfVersions shows that other fields, or another format, make another version, because another body is
// sent, and that the version before keeps its own.
func (s *suite) fieldsOfVersions() {
	cb := s.newCallback(s.key, ev1, "default")
	next := *cb
	var err error
	next.Policy.Fields, err = callbackd.ParseFields("fields", []byte(`{"only": ["grade"]}`))
	s.must(err)
	s.must(second(s.ReplaceCallback(s.ctx(), next, s.at)))
	next.Policy.Fields, next.Policy.Format = nil, callbackd.FormatSlack
	s.must(second(s.ReplaceCallback(s.ctx(), next, s.at)))
	s.reopen()
	for version, want := range map[int64]string{1: "", 2: `{"only":["grade"]}`, 3: ""} {
		old, err := s.CallbackVersion(s.ctx(), cb.ID, version)
		s.must(err)
		s.equal("the fields of a version", old.Policy.Fields.String(), want)
		s.equal("whether a version is for people", old.Policy.Format.ForPeople(), version == 3)
	}
	stored, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("the version", stored.Version, int64(3))
}

// filterSum makes callbacks with maximal filters until the key has too many operators for
// one event. What is refused is not stored, and other keys, types and equal filters fit.
func (s *suite) filterSum() {
	filter := func(i int) *callbackd.Filter {
		var terms []string
		for j := range callbackd.MaxFilterTerms {
			terms = append(terms, fmt.Sprintf(`{"data.a":{"ne":%d}}`, i*callbackd.MaxFilterTerms+j))
		}
		f, err := callbackd.ParseFilter("filter", []byte(`{"all":[`+strings.Join(terms, ",")+`]}`))
		s.must(err)
		return f
	}
	create := func(key callbackd.KeyID, ev callbackd.EventType, name string, f *callbackd.Filter) error {
		_, _, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: key, Event: ev, Name: name, URL: "https://a.example/", Method: "POST",
			Payload: []byte("{}"), Policy: callbackd.Policy{Filter: f}, Secrets: []callbackd.SigningSecret{{Value: "w"}}}, s.at)
		return err
	}
	full := callbackd.MaxFilterSum / callbackd.MaxFilterTerms
	for i := range full {
		s.must(create(s.key.ID, ev1, fmt.Sprint("f", i), filter(i)))
	}
	s.must(create(s.key.ID, ev1, "equal", filter(0)))
	s.must(create(s.key.ID, ev2, "another event", filter(full)))
	s.must(create(s.newKey("another").ID, ev1, "another key", filter(full)))
	s.kind(create(s.key.ID, ev1, "over", filter(full)), callbackd.KindInvalid)
	s.kind(second(store.CallbackNamed(s.ctx(), s.Store, s.key.ID, ev1, "over")), callbackd.KindNotFound)
	set := func(name string, f *callbackd.Filter) error {
		return second(s.ChangeCallback(s.ctx(), s.key.ID, ev1, name, func(cb *callbackd.Callback) error {
			cb.Policy.Filter = f
			cb.UpdatedAt = cb.UpdatedAt.Add(time.Second)
			return nil
		}))
	}
	s.kind(set("equal", filter(full)), callbackd.KindInvalid)
	equal, err := store.CallbackNamed(s.ctx(), s.Store, s.key.ID, ev1, "equal")
	s.must(err)
	s.equal("the filter after a change that was refused", equal.Policy.Filter.Equal(filter(0)), true)
	s.must(set("equal", filter(1)))
	s.must(set("f0", filter(full)))
	s.equal("from how many an event is withheld", len(s.accepted("S", fmt.Sprintf(`{"a":%d}`, callbackd.MaxFilterTerms)).Withheld), 2) // f1 and equal
}
