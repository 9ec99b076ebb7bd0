package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sessionTests are about creating, changing and removing sessions.
var sessionTests = map[string]func(*suite){
	"SessionsAreReadBack":              (*suite).sessionsReadBack,
	"SessionKeysAreUnique":             (*suite).sessionKeys,
	"SessionsOfOtherKeys":              (*suite).otherKeysSession,
	"SessionCreationFires":             (*suite).sessionCreationFires,
	"SessionCreationFiresNothingTwice": (*suite).sessionCreatedTwice,
	"ARemovedSessionLeavesItsEvents":   (*suite).sessionCreatedAgain,
	"SessionChangeFires":               (*suite).sessionChangeFires,
	"SessionChangesAreStored":          (*suite).sessionChanges,
	"SessionRefusedChange":             (*suite).sessionRefused,
	"SessionChangeWithARefusedEvent":   (*suite).sessionEventRefused,
	"SessionNotes":                     (*suite).sessionNotes,
	"SessionRemove":                    (*suite).sessionRemove,
	"SessionCompletedOnce":             (*suite).sessionCompletedOnce,
	"SessionEventsReplayTheSession":    (*suite).sessionReplay,
	"SessionTimeFrame":                 (*suite).sessionTimeFrame,
}

// newSession stores a session in which every field has a value.
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
	s.must(s.CreateSession(s.ctx(), out, nil))
	return out
}

// apply changes a session by a rule.
func (s *suite) apply(x *callbackd.Session, rule session.Rule) (*callbackd.Session, []*callbackd.Event) {
	s.Helper()
	out, evs, err := session.Change(s.ctx(), s.Store, x.Key, x.SessionKey, s.at, rule)
	s.must(err)
	return out, evs
}

func (s *suite) start(x *callbackd.Session) (*callbackd.Session, []*callbackd.Event) {
	s.Helper()
	return s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Start(s.at.UTC()) })
}

// same compares sessions strictly: an empty value differs from nil, and UTC from local
// time.
func (s *suite) same(what string, got, want any) {
	s.Helper()
	strict := cmpopts.EquateComparable(time.Time{}, wire.Timestamp{})
	if diff := cmp.Diff(want, got, strict); diff != "" {
		s.Errorf("%s: -want +got\n%s", what, diff)
	}
}

// stored compares a session with the stored one.
func (s *suite) stored(what string, want *callbackd.Session) {
	s.Helper()
	got, err := s.Session(s.ctx(), want.Key, want.SessionKey)
	s.must(err)
	s.same(what, got, want)
}

func (s *suite) sessionsReadBack() {
	whole, bare := s.newSession(s.key, nil), session.New(&s.key, s.at.UTC())
	s.must(s.CreateSession(s.ctx(), bare, nil))
	s.stored("a session with a value in every field", whole)
	s.stored("a session with few values", bare)
	s.reopen()
	s.stored("a session with a value in every field, after a restart", whole)
	s.stored("a session with few values, after a restart", bare)
}

func (s *suite) sessionKeys() {
	x := s.newSession(s.key, nil)
	s.kind(s.CreateSession(s.ctx(), x, nil), callbackd.KindConflict)
	other := *x
	other.Key = s.newKey("k2").ID
	other.FirstName = "John"
	s.must(s.CreateSession(s.ctx(), &other, nil))
	s.stored("the session of another key with the same session key", &other)
	s.stored("the first session", x)
}

func (s *suite) otherKeysSession() {
	x, other := s.newSession(s.key, nil), s.newKey("k2")
	s.kind(second(s.Session(s.ctx(), other.ID, x.SessionKey)), callbackd.KindNotFound)
	s.kind(second(s.SessionNotes(s.ctx(), other.ID, x.SessionKey)), callbackd.KindNotFound)
	_, _, err := s.ChangeSession(s.ctx(), other.ID, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) {
		s.Error("the rule was called with another key's session; want NotFound")
		return store.SessionChange{}, nil
	})
	s.kind(err, callbackd.KindNotFound)
}

// committed collects the deliveries that the store hands over from now on.
func (s *suite) committed() (deliveries func() []callbackd.Delivery) {
	var mu sync.Mutex
	var all []callbackd.Delivery
	s.OnCommit(func(ds []callbackd.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, ds...)
	})
	return func() []callbackd.Delivery {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// firing creates n sessions at once, each of which fires an event, and checks
// that it did.
func (s *suite) firing(n int) (made []*callbackd.Session) {
	s.Helper()
	var creations sync.WaitGroup
	for i := range n {
		x := session.New(&s.key, s.at.UTC())
		x.SMS.To = fmt.Sprint("+", i)
		made = append(made, x)
		creations.Go(func() {
			fired, err := session.Create(s.ctx(), s.Store, x, nil, "https://capture.example/")
			if err != nil {
				s.Error(err)
			}
			s.equal("events that the creation fired", fired, 1)
		})
	}
	creations.Wait()
	return made
}

// sessionCreationFires shows that the events that the creation of a session fires are
// accepted with it.
func (s *suite) sessionCreationFires() {
	cb := s.newCallback(s.key, callbackd.SMSRequested, "default")
	committed := s.committed()
	made := s.firing(20)
	s.equal("deliveries that were handed over", len(committed()), len(made))
	for range 2 {
		for i, x := range made {
			s.stored("the created session", x)
			evs := s.eventsOfSession(store.SessionEventQuery{Key: x.Key, Session: x.SessionKey, Limit: 10})
			if len(evs) != 1 {
				s.Fatalf("session %s has %d events, want 1", x.SessionKey, len(evs))
			}
			data := fmt.Sprintf(`{"phone":"+%d","name":null,"link":"https://capture.example/"}`, i)
			s.equal("its event", *evs[0].Event, callbackd.Event{ID: evs[0].ID, Key: x.Key, Type: callbackd.SMSRequested, Session: x.SessionKey, Sequence: 1, Data: []byte(data), Targets: []callbackd.CallbackID{cb.ID}})
			s.equal("when it was accepted", evs[0].Accepted(), s.at)
		}
		s.reopen()
	}
}

// sessionCreatedTwice shows that creating a session with a used session key is a conflict
// and fires nothing.
func (s *suite) sessionCreatedTwice() {
	s.newCallback(s.key, callbackd.SMSRequested, "default")
	made := s.firing(1)[0]
	again := *made
	again.Theme = "LITE"
	s.kind(second(session.Create(s.ctx(), s.Store, &again, nil, "")), callbackd.KindConflict)
	s.kind(s.CreateSession(s.ctx(), &again, nil), callbackd.KindConflict)
	s.stored("the first session", made)
	_, evs := s.start(made)
	s.equal("the sequence number of the next event", evs[0].Sequence, int64(2))
}

// remove removes a session by a rule.
func (s *suite) remove(x *callbackd.Session) error {
	_, _, err := s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, x.CheckDelete(s.at)
	})
	return err
}

// sessionCreatedAgain shows that a removed session leaves its events and its
// sequence numbers behind.
func (s *suite) sessionCreatedAgain() {
	made := s.firing(1)[0]
	s.must(s.remove(made))
	s.must(second(session.Create(s.ctx(), s.Store, made, nil, "")))
	evs := s.eventsOfSession(store.SessionEventQuery{Key: made.Key, Session: made.SessionKey, Limit: 10})
	s.equal("sequence numbers of the events of both", sequences(evs), []int64{1, 2})
}

func (s *suite) sessionChangeFires() {
	cb := s.newCallback(s.key, callbackd.StatusChange, "default")
	committed := s.committed()
	x := s.newSession(s.key, nil)
	s.at = s.at.Add(time.Minute)
	got, evs := s.start(x)
	s.equal("the status", got.Status, callbackd.StatusStarted)
	s.equal("when it was started", got.StartedAt, s.at)
	s.equal("the status of the session that was given to CreateSession", x.Status, callbackd.StatusIdle)
	if len(evs) != 1 {
		s.Fatalf("the change fired %d events, want 1", len(evs))
	}
	s.equal("the event", *evs[0], callbackd.Event{ID: evs[0].ID, Key: x.Key, Type: callbackd.StatusChange, Session: x.SessionKey, Sequence: 1, Data: evs[0].Data, Targets: []callbackd.CallbackID{cb.ID}})
	s.equal("when it was accepted", evs[0].Accepted(), s.at)
	s.equal("deliveries that were handed over", deliveryIDs(committed()), []callbackd.DeliveryID{{Event: evs[0].ID, Callback: cb.ID}})
	published := s.publish(s.key, callbackd.NoteInsert, x.SessionKey)
	s.equal("the sequence number of an event that is published for the session", published[0].Sequence, int64(2))
}

// sessionChanges changes fields that are columns, and large fields, and changes them
// back.
func (s *suite) sessionChanges() {
	x := s.newSession(s.key, nil)
	results := bytes.Repeat([]byte(`{"a": [1.50]} `), 3000)
	for what, edit := range []func(*callbackd.Session){
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
		s.stored(fmt.Sprint("after change ", what), want)
	}
	s.reopen()
	now, _ := s.apply(x, noChange)
	s.equal("the theme after a restart", now.Theme, "CAPT")
	s.equal("the reference after a restart", now.Reference, []byte(nil))
	s.equal("the results after a restart", now.Results, results)
}

// noChange is a rule that changes nothing.
func noChange(*callbackd.Session) ([]callbackd.Fired, error) { return nil, nil }

// changeTheme runs a rule that changes the theme and returns c and err.
func (s *suite) changeTheme(x *callbackd.Session, c store.SessionChange, err error) error {
	_, _, err = s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
		x.Theme = "LITE"
		return c, err
	})
	return err
}

// unchanged checks that a refused change left no trace, on disk or in memory.
func (s *suite) unchanged(x *callbackd.Session) {
	s.Helper()
	s.stored("the session after a refused change", x)
	now, evs := s.apply(x, noChange)
	s.equal("the theme that the next change sees", now.Theme, x.Theme)
	s.equal("events that the next change fires", len(evs), 0)
	s.equal("events of the session", s.listEvents(store.EventQuery{Key: x.Key, Session: x.SessionKey, Limit: 10}), []callbackd.EventID(nil))
}

func (s *suite) sessionRefused() {
	s.newCallback(s.key, callbackd.StatusChange, "default")
	x := s.newSession(s.key, nil)
	refusal := errors.New("refused by the rule")
	err := s.changeTheme(x, store.SessionChange{Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}}}, refusal)
	if err != refusal {
		s.Errorf("the error is %v, want the rule's own", err)
	}
	s.unchanged(x)
	s.must(s.changeTheme(x, store.SessionChange{Unchanged: true}, nil))
	s.unchanged(x)
}

// sessionEventRefused shows that an event that cannot be accepted refuses the
// change too.
func (s *suite) sessionEventRefused() {
	s.newCallback(s.key, callbackd.StatusChange, "default")
	x := s.newSession(s.key, nil)
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: x.Key, At: s.at, Events: []store.NewEvent{{Type: ev2, Session: "other", Data: []byte("{}"), Idempotency: "y"}}})))
	err := s.changeTheme(x, store.SessionChange{Events: []store.NewEvent{{Type: ev1, Data: []byte("{}")}, {Type: ev2, Data: []byte("{}"), Idempotency: "y"}}}, nil)
	s.kind(err, callbackd.KindConflict)
	s.unchanged(x)
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
	s.must(s.remove(x))
	s.kind(s.remove(x), callbackd.KindNotFound)
	s.kind(second(s.Session(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
	s.kind(second(s.SessionNotes(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
	s.must(s.CreateSession(s.ctx(), x, nil))
	notes, err := s.SessionNotes(s.ctx(), x.Key, x.SessionKey)
	s.must(err)
	s.equal("notes of a new session with the same session key", notes, []callbackd.Note(nil))
}

// sessionCompletedOnce completes each session four times at once.
func (s *suite) sessionCompletedOnce() {
	cb := s.newCallback(s.key, callbackd.Complete, "default")
	for range 20 {
		x := s.newSession(s.key, func(x *callbackd.Session) {
			x.Status, x.StartedAt, x.CapturedAt = callbackd.StatusConfirm, s.at.UTC(), s.at.UTC()
		})
		before := len(s.fresh(cb.ID))
		errs := make([]error, 4)
		var calls sync.WaitGroup
		for i := range errs {
			calls.Go(func() {
				_, _, errs[i] = session.Change(s.ctx(), s.Store, x.Key, x.SessionKey, s.at, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Complete(s.at.UTC()) })
			})
		}
		calls.Wait()
		completed := 0
		for _, err := range errs {
			if err == nil {
				completed++
			} else {
				s.kind(err, callbackd.KindConflict)
			}
		}
		s.equal("calls of four that completed the session", completed, 1)
		s.equal("events of its completion", len(s.fresh(cb.ID))-before, 1)
	}
}

func (s *suite) sessionTimeFrame() {
	k, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: "kt", Secret: "x", TimeFrame: 72 * time.Hour, CreatedAt: s.at})
	s.must(err)
	s.reopen()
	for text, want := range map[string]time.Duration{k.APIKey: 72 * time.Hour, s.key.APIKey: callbackd.DefaultTimeFrame} {
		got, err := s.Key(s.ctx(), text)
		s.must(err)
		s.equal("the time frame of "+text, got.SessionTimeFrame(), want)
	}
}
