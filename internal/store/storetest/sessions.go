package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// sessionTests is the part of the suite about sessions.
var sessionTests = map[string]func(*suite){
	"Sessions": (*suite).sessions, "SessionChange": (*suite).sessionChange, "SessionRefusedChange": (*suite).sessionRefused,
	"SessionNotes": (*suite).sessionNotes, "SessionRemove": (*suite).sessionRemove, "SessionDue": (*suite).sessionDue,
	"SessionExpiresOnce": (*suite).sessionExpiresOnce, "SessionSweep": (*suite).sessionSweep, "SessionLists": (*suite).sessionLists,
	"SessionStory": (*suite).sessionStory, "SessionCompletedOnce": (*suite).sessionCompletedOnce, "SessionReplay": (*suite).sessionReplay,
	"SessionTimeFrame": (*suite).sessionTimeFrame, "SessionCreationFires": (*suite).sessionCreationFires,
}

// newSession stores a session with something in every member.
func (s *suite) newSession(key callbackd.Key, edit func(*callbackd.Session)) *callbackd.Session {
	s.Helper()
	out := session.New(&key, s.at.UTC())
	out.Reference, out.SourceProperties = []byte(`{ "lead": 17.50, "html": "<a&b>" }`), []byte(`{"api_name":"n"}`)
	out.RedirectURL, out.ClientID, out.FirstName, out.LastName = "https://a.example/back", "C1", "Jane", "Smith"
	out.SMS = callbackd.SMS{To: "+15555550100", ToName: "Jane", From: "+15555550101", By: "dealer", State: callbackd.SMSWaiting}
	out.Vehicle = callbackd.Vehicle{ID: 7, Year: 2017, Make: "Nissan", OdomReading: "100,945"}
	if edit != nil {
		edit(out)
	}
	s.must(s.CreateSession(s.ctx(), out))
	return out
}

// apply changes a session by a rule.
func (s *suite) apply(session1 *callbackd.Session, rule session.Rule) (*callbackd.Session, []*callbackd.Event) {
	s.Helper()
	out, evs, err := session.Change(s.ctx(), s.Store, session1.Key, session1.SessionKey, s.at, rule)
	s.must(err)
	return out, evs
}

func (s *suite) start(x *callbackd.Session) (*callbackd.Session, []*callbackd.Event) {
	s.Helper()
	return s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Start(s.at.UTC()) })
}

func (s *suite) same(what string, got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s: got\n%+v\nwant\n%+v", what, got, want)
	}
}

func (s *suite) sessions() {
	other := s.newKey("k2")
	x := s.newSession(s.key, nil)
	bare := session.New(&s.key, s.at.UTC())
	s.must(s.CreateSession(s.ctx(), bare))
	s.kind(s.CreateSession(s.ctx(), x), callbackd.KindConflict)
	y := *x
	y.Key = other.ID
	s.must(s.CreateSession(s.ctx(), &y)) // another key's session key is its own
	for range 2 {
		for _, want := range []*callbackd.Session{x, bare, &y} {
			got, err := s.Session(s.ctx(), want.Key, want.SessionKey)
			s.must(err)
			s.same("read back", got, want)
		}
		s.reopen()
	}
	s.kind(second(s.Session(s.ctx(), other.ID, bare.SessionKey)), callbackd.KindNotFound)
	s.kind(second(s.SessionNotes(s.ctx(), other.ID, bare.SessionKey)), callbackd.KindNotFound)
	_, _, err := s.ChangeSession(s.ctx(), other.ID, bare.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) {
		s.Error("another key's session was handed out")
		return store.SessionChange{}, nil
	})
	s.kind(err, callbackd.KindNotFound)
}

// What the creation of a session fires is accepted with it, or neither is.
func (s *suite) sessionCreationFires() {
	cb := s.newCallback(s.key, callbackd.SMSRequested, "default")
	var mu sync.Mutex
	var handed []callbackd.Delivery
	s.OnCommit(func(ds []callbackd.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		handed = append(handed, ds...)
	})
	const n = 20
	made := make([]*callbackd.Session, n)
	var wg sync.WaitGroup
	for i := range made {
		made[i] = session.New(&s.key, s.at.UTC())
		made[i].SMS.To = fmt.Sprint("+", i)
		wg.Go(func() { // in groups, with others
			if fired, err := session.Create(s.ctx(), s.Store, made[i], "https://capture.example/"); err != nil || fired != 1 {
				s.Errorf("%d fired, %v", fired, err)
			}
		})
	}
	wg.Wait()
	check := func() {
		s.Helper()
		for i, want := range made {
			got, err := s.Session(s.ctx(), want.Key, want.SessionKey)
			s.must(err)
			s.same("created", got, want)
			story, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: want.Key, Session: want.SessionKey, Limit: 10})
			s.must(err)
			data := fmt.Sprintf(`{"phone":"+%d","name":null,"link":"https://capture.example/"}`, i)
			if len(story) != 1 || story[0].Type != callbackd.SMSRequested || story[0].Sequence != 1 || string(story[0].Data) != data || !story[0].ID.Time().Equal(s.at) || !slices.Equal(story[0].Targets, []callbackd.CallbackID{cb.ID}) {
				s.Errorf("%s has the events %+v", want.SessionKey, story)
			}
		}
	}
	check()
	mu.Lock()
	if len(handed) != n {
		s.Errorf("%d deliveries were handed over", len(handed))
	}
	mu.Unlock()
	// A session key that is taken is a conflict, and then nothing fires.
	again := *made[0]
	again.Theme = "LITE"
	_, err := session.Create(s.ctx(), s.Store, &again, "")
	s.kind(err, callbackd.KindConflict)
	s.kind(s.CreateSession(s.ctx(), &again), callbackd.KindConflict)
	s.reopen()
	check()
	// The session goes on from there, and a removed one leaves its events and
	// its number behind.
	if _, evs := s.start(made[0]); evs[0].Sequence != 2 {
		s.Errorf("the next event is number %d", evs[0].Sequence)
	}
	_, _, err = s.ChangeSession(s.ctx(), made[1].Key, made[1].SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, nil
	})
	s.must(err)
	second(session.Create(s.ctx(), s.Store, made[1], ""))
	story, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: made[1].Key, Session: made[1].SessionKey, Limit: 10})
	if s.must(err); len(story) != 2 || story[1].Sequence != 2 {
		s.Errorf("created again: %+v", story)
	}
	if r, err := s.Check(s.ctx()); err != nil || r.FaultN != 0 {
		s.Errorf("%+v, %v", r, err)
	}
}

func (s *suite) sessionChange() {
	cb := s.newCallback(s.key, callbackd.StatusChange, "default")
	var mu sync.Mutex
	var handed []callbackd.Delivery
	s.OnCommit(func(ds []callbackd.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		handed = append(handed, ds...)
	})
	x := s.newSession(s.key, nil)
	s.at = s.at.Add(time.Minute)
	got, evs := s.start(x)
	if got.Status != callbackd.StatusStarted || !got.StartedAt.Equal(s.at) || len(evs) != 1 || evs[0].Sequence != 1 || evs[0].Session != x.SessionKey ||
		evs[0].Type != callbackd.StatusChange || !slices.Equal(evs[0].Targets, []callbackd.CallbackID{cb.ID}) || !evs[0].ID.Time().Equal(s.at) {
		s.Errorf("%+v, %+v", got, evs)
	}
	if len(handed) != 1 || handed[0].ID.Event != evs[0].ID {
		s.Errorf("handed over %+v", handed)
	}
	if x.Status != callbackd.StatusIdle {
		s.Error("the session that was created was changed with the stored one")
	}
	published := s.publish(s.key, callbackd.NoteInsert, x.SessionKey)
	if published[0].Sequence != 2 {
		s.Errorf("a published event of the session is number %d", published[0].Sequence)
	}
	// Members that are columns, and large ones, change and change back.
	results := bytes.Repeat([]byte(`{"a": [1.50]} `), 3000)
	for _, edit := range []func(*callbackd.Session){
		func(x *callbackd.Session) { x.Results, x.Vehicle.VIN = results, "JN1CV6AR9BM123456" },
		func(x *callbackd.Session) { x.Results = []byte(`{"b":2}`) },
		func(x *callbackd.Session) { x.Results = results },
		func(x *callbackd.Session) { x.Reference = nil },
		func(x *callbackd.Session) { x.Status, x.EndedAt = callbackd.StatusComplete, s.at.UTC() },
		func(x *callbackd.Session) { x.Theme, x.ExpiresAt = "CAPT", x.ExpiresAt.Add(time.Hour) },
		func(x *callbackd.Session) {
			x.Photos = []callbackd.Photo{{Code: 4, URL: "u", Reason: "<dark>", CreatedAt: s.at.UTC(), UpdatedAt: s.at.UTC()}}
		},
	} {
		want, _ := s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) { edit(x); return nil, nil })
		read, err := s.Session(s.ctx(), x.Key, x.SessionKey)
		s.must(err)
		s.same("after a change", read, want)
	}
	s.reopen()
	again, _ := s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) { return nil, nil })
	if again.Theme != "CAPT" || again.Reference != nil || !bytes.Equal(again.Results, results) {
		s.Errorf("after a restart: %+v", again)
	}
}

func (s *suite) sessionRefused() {
	s.newCallback(s.key, callbackd.StatusChange, "default")
	x := s.newSession(s.key, nil)
	mine := errors.New("mine")
	change := func(c store.SessionChange, err error) error {
		_, _, err = s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
			x.Theme = "LITE"
			return c, err
		})
		return err
	}
	if err := change(store.SessionChange{Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}}}, mine); err != mine {
		s.Errorf("the error came back as %v", err)
	}
	s.must(change(store.SessionChange{Unchanged: true}, nil))
	// An event that cannot be accepted takes the change with it.
	second(s.Accept(s.ctx(), store.Batch{Key: x.Key, At: s.at, Events: []store.NewEvent{{Type: ev2, Session: "other", Data: []byte("{}"), Idempotency: "y"}}}))
	s.kind(change(store.SessionChange{Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}, {Type: ev2, Data: []byte("{}"), Idempotency: "y"}}}, nil), callbackd.KindConflict)
	got, err := s.Session(s.ctx(), x.Key, x.SessionKey)
	s.must(err)
	s.same("after refusals", got, x)
	now, evs := s.apply(x, func(*callbackd.Session) ([]callbackd.Fired, error) { return nil, nil })
	if now.Theme != x.Theme || len(evs) != 0 {
		s.Errorf("a refused change stayed in memory: %+v", now)
	}
	page, err := s.ListEvents(s.ctx(), store.EventQuery{Key: x.Key, Session: x.SessionKey, Limit: 10})
	if s.must(err); len(page.Events) != 0 {
		s.Errorf("%d events of refused changes", len(page.Events))
	}
}

func (s *suite) sessionNotes() {
	x := s.newSession(s.key, nil)
	var want []callbackd.Note
	for i := range 12 {
		n := callbackd.Note{Title: fmt.Sprint("note ", i), Description: "é <b>", InsertedBy: "me", InsertedAt: s.at.UTC()}
		want = append(want, n)
		s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.AddNote(n, s.at.UTC()) })
	}
	got, err := s.SessionNotes(s.ctx(), x.Key, x.SessionKey)
	s.must(err)
	s.same("notes", got, want)
}

func (s *suite) sessionRemove() {
	x := s.newSession(s.key, nil)
	s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) {
		return x.AddNote(callbackd.Note{Title: "n"}, s.at.UTC())
	})
	remove := func() error {
		_, _, err := s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
			return store.SessionChange{Remove: true}, x.CheckDelete(s.at)
		})
		return err
	}
	s.must(remove())
	s.kind(remove(), callbackd.KindNotFound)
	s.kind(second(s.Session(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
	s.kind(second(s.SessionNotes(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
	s.must(s.CreateSession(s.ctx(), x)) // the session key is free again
	notes, err := s.SessionNotes(s.ctx(), x.Key, x.SessionKey)
	if s.must(err); len(notes) != 0 {
		s.Errorf("a new session has the notes of a removed one: %+v", notes)
	}
}

func (s *suite) sessionDue() {
	other := s.newKey("k2")
	var made []*callbackd.Session
	for i, key := range []callbackd.Key{s.key, other, s.key, other, s.key} {
		made = append(made, s.newSession(key, func(x *callbackd.Session) { x.ExpiresAt = s.at.UTC().Add(time.Duration(5-i) * time.Minute) }))
	}
	due := func(now time.Time, limit int, wantNext time.Time, want ...int) {
		s.Helper()
		ids, next, err := s.DueSessions(s.ctx(), now, limit)
		s.must(err)
		var got []int
		for _, id := range ids {
			got = append(got, slices.IndexFunc(made, func(x *callbackd.Session) bool { return id == store.SessionID{Key: x.Key, SessionKey: x.SessionKey} }))
		}
		if !slices.Equal(got, want) || !next.Equal(wantNext) {
			s.Errorf("due at %v: %v and %v, want %v and %v", now, got, next, want, wantNext)
		}
	}
	at := func(m int) time.Time { return s.at.Add(time.Duration(m) * time.Minute) }
	due(at(1).Add(-time.Millisecond), 10, at(1))
	due(at(1), 10, at(2), 4)
	due(at(3), 2, at(3), 4, 3)
	due(at(9), 10, time.Time{}, 4, 3, 2, 1, 0)
	s.apply(made[4], func(x *callbackd.Session) ([]callbackd.Fired, error) {
		fired, _ := x.Advance(at(1).UTC())
		return fired, nil
	})
	s.reopen()
	due(at(2), 10, at(3), 3)
}

func (s *suite) sessionExpiresOnce() {
	cb := s.newCallback(s.key, callbackd.StatusChange, "default")
	const n = 150
	for i := range n {
		s.newSession(s.key, func(x *callbackd.Session) { x.ExpiresAt = s.at.UTC().Add(time.Duration(i) * time.Millisecond) })
	}
	late := s.newSession(s.key, func(x *callbackd.Session) { x.ExpiresAt = s.at.UTC().Add(time.Hour) })
	now := s.at.UTC().Add(time.Minute)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 4 { // as four nodes would
		wg.Go(func() {
			for {
				fired, next, err := session.Advance(s.ctx(), s.Store, now)
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				total += fired
				mu.Unlock()
				if next.After(now) || next.IsZero() {
					if !next.Equal(late.ExpiresAt) {
						s.Errorf("the next is said to be due at %v", next)
					}
					return
				}
			}
		})
	}
	wg.Wait()
	ds := s.fresh(cb.ID)
	seen := map[string]bool{}
	for _, d := range ds {
		if seen[d.Session] || string(d.Event.Data) != `{"status":"EXPIRED","timestamp":"`+now.Format("2006-01-02T15:04:05+00:00")+`","previous_status":"IDLE"}` {
			s.Errorf("%s: %s", d.Session, d.Event.Data)
		}
		seen[d.Session] = true
	}
	if total != n || len(ds) != n {
		s.Errorf("%d fired, %d owed, want %d", total, len(ds), n)
	}
}

func (s *suite) sessionSweep() {
	ended := func(st callbackd.SessionStatus, ago time.Duration) func(*callbackd.Session) {
		return func(x *callbackd.Session) { x.Status, x.EndedAt = st, s.at.UTC().Add(-ago) }
	}
	old := []*callbackd.Session{s.newSession(s.key, ended(callbackd.StatusComplete, 3*time.Hour)), s.newSession(s.key, ended(callbackd.StatusExpired, 2*time.Hour)), s.newSession(s.key, ended(callbackd.StatusInvalid, 2*time.Hour))}
	young := []*callbackd.Session{s.newSession(s.key, ended(callbackd.StatusComplete, time.Minute)), s.newSession(s.key, nil)}
	n, err := s.SweepSessions(s.ctx(), s.at.Add(-time.Hour), 2)
	if s.must(err); n != 2 {
		s.Errorf("%d removed in the first slice", n)
	}
	n, err = s.SweepSessions(s.ctx(), s.at.Add(-time.Hour), 2)
	if s.must(err); n != 1 {
		s.Errorf("%d removed in the second", n)
	}
	for _, x := range old {
		s.kind(second(s.Session(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
		_, _, err := s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) { return store.SessionChange{}, nil })
		s.kind(err, callbackd.KindNotFound)
	}
	for _, x := range young {
		s.must(second(s.Session(s.ctx(), x.Key, x.SessionKey)))
	}
}

func (s *suite) sessionLists() {
	other := s.newKey("k2")
	s.newSession(other, nil)
	start := s.at.UTC()
	var made []*callbackd.Session
	for i := range 40 {
		s.at = start.Add(time.Duration(i/3) * time.Second) // several are created in the same millisecond
		made = append(made, s.newSession(s.key, func(x *callbackd.Session) {
			x.Reference = fmt.Appendf(nil, `"Lead-%02d <%%_>"`, i)
			if i%4 == 0 {
				x.Vehicle.VIN = fmt.Sprintf("JN1CV6AR9BM0000%02d", i)
			}
		}))
		if i%5 == 0 {
			made[i], _ = s.start(made[i])
		}
	}
	slices.SortFunc(made, func(a, b *callbackd.Session) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return bytes.Compare([]byte(b.SessionKey), []byte(a.SessionKey))
	})
	check := func(q store.SessionQuery, keep func(*callbackd.Session) bool) {
		s.Helper()
		var want, got []string
		for _, x := range made {
			if keep(x) {
				want = append(want, x.SessionKey)
			}
		}
		q.Key, q.Limit = s.key.ID, 7
		for range 50 {
			page, err := s.ListSessions(s.ctx(), q)
			s.must(err)
			for _, x := range page.Sessions {
				got = append(got, x.SessionKey)
			}
			if q.After = page.Next; page.Next == (store.SessionCursor{}) {
				break
			}
		}
		if !slices.Equal(got, want) || len(want) == 0 {
			s.Errorf("%+v: listed %v, want %v", q, got, want)
		}
	}
	check(store.SessionQuery{}, func(*callbackd.Session) bool { return true })
	check(store.SessionQuery{Status: callbackd.StatusStarted}, func(x *callbackd.Session) bool { return x.Status == callbackd.StatusStarted })
	since, until := start.Add(2*time.Second), start.Add(9*time.Second)
	within := func(x *callbackd.Session) bool { return !x.CreatedAt.Before(since) && x.CreatedAt.Before(until) }
	check(store.SessionQuery{Since: since, Until: until}, within)
	check(store.SessionQuery{Since: since, Until: until, Status: callbackd.StatusIdle}, func(x *callbackd.Session) bool { return within(x) && x.Status == callbackd.StatusIdle })
	check(store.SessionQuery{Text: "lead-1"}, func(x *callbackd.Session) bool { return bytes.Contains(x.Reference, []byte("Lead-1")) })
	check(store.SessionQuery{Text: "<%_>"}, func(x *callbackd.Session) bool { return true })
	check(store.SessionQuery{Text: "bm000036"}, func(x *callbackd.Session) bool { return x.Vehicle.VIN == "JN1CV6AR9BM000036" })
	check(store.SessionQuery{Text: made[11].SessionKey}, func(x *callbackd.Session) bool { return x == made[11] })
	page, err := s.ListSessions(s.ctx(), store.SessionQuery{Key: s.key.ID, Text: "no such", Limit: 5})
	if s.must(err); len(page.Sessions) != 0 || page.Next != (store.SessionCursor{}) {
		s.Errorf("%+v", page)
	}
}

func (s *suite) sessionStory() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	x := s.newSession(s.key, nil)
	s.start(x)
	for range 4 {
		s.publish(s.key, ev2, x.SessionKey)
	}
	s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) {
		return x.AddPhoto(callbackd.Photo{Code: 4, URL: "u", Approved: true}, s.at.UTC())
	})
	s.outcome(s.fresh(a.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	due := s.at.Add(time.Minute)
	s.outcome(s.fresh(b.ID)[0], callbackd.Pending, due, time.Time{})
	if _, err := s.DeleteCallback(s.ctx(), s.key.ID, ev1, "a", s.at); err != nil {
		s.Fatal(err)
	}
	var story []store.SessionEvent
	for len(story) < 7 {
		after := int64(0)
		if len(story) > 0 {
			after = story[len(story)-1].Sequence
		}
		page, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: x.SessionKey, After: after, Limit: 3})
		if s.must(err); len(page) == 0 {
			break
		}
		story = append(story, page...)
	}
	for i, ev := range story {
		if ev.Sequence != int64(i+1) || len(ev.Data) == 0 {
			s.Errorf("event %d is %+v", i, ev.Event)
		}
	}
	if len(story) != 7 || len(story[0].Deliveries) != 2 || len(story[1].Deliveries) != 0 || len(story[6].Deliveries) != 2 {
		s.Fatalf("%+v", story)
	}
	first, last := story[0].Deliveries, story[6].Deliveries
	if first[0].State != callbackd.Delivered || first[0].Callback.Name != "a" || first[1].State != callbackd.Pending || !first[1].Due.Equal(due) || first[1].Attempts != 1 ||
		last[0].State != callbackd.Canceled || last[1].State != callbackd.Pending {
		s.Errorf("%+v\n%+v", first, last)
	}
	none, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.newKey("k2").ID, Session: x.SessionKey, Limit: 10})
	if s.must(err); len(none) != 0 {
		s.Errorf("another key's story: %+v", none)
	}
}

func (s *suite) sessionCompletedOnce() {
	cb := s.newCallback(s.key, callbackd.Complete, "default")
	for range 20 {
		x := s.newSession(s.key, func(x *callbackd.Session) {
			x.Status, x.StartedAt, x.CapturedAt = callbackd.StatusConfirm, s.at.UTC(), s.at.UTC()
		})
		before := len(s.fresh(cb.ID))
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				_, _, errs[i] = session.Change(s.ctx(), s.Store, x.Key, x.SessionKey, s.at, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Complete(s.at.UTC()) })
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				s.kind(err, callbackd.KindConflict)
			}
		}
		if n := len(s.fresh(cb.ID)) - before; won != 1 || n != 1 {
			s.Fatalf("%d completed it, %d COMPLETE events", won, n)
		}
	}
}

func (s *suite) sessionTimeFrame() {
	k, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: "kt", Secret: "x", TimeFrame: 72 * time.Hour, CreatedAt: s.at})
	s.must(err)
	s.reopen()
	for text, want := range map[string]time.Duration{k.APIKey: 72 * time.Hour, s.key.APIKey: callbackd.DefaultTimeFrame} {
		got, err := s.Key(s.ctx(), text)
		if s.must(err); got.SessionTimeFrame() != want {
			s.Errorf("%s has %v, want %v", text, got.SessionTimeFrame(), want)
		}
	}
}
