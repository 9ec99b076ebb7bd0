package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/storetest"
)

// commands runs the commands of a store with objects of one key.
type commands struct {
	*Store
	t   *testing.T
	ctx context.Context
	now time.Time
	key callbackd.KeyID
	cb  *callbackd.Callback // of the events evs
	evs []*callbackd.Event
}

// everyCommand runs each command of a store, in each of its ways.
func everyCommand(t *testing.T, st *Store) {
	t.Helper()
	s := &commands{Store: st, t: t, ctx: t.Context(), now: time.Now()}
	s.accepts()
	s.records()
	s.queue()
	s.objects()
	s.changes()
	s.resends()
	s.sessions()
	s.idempotent()
	s.replays()
	s.console()
	s.settings()
	s.incidents()
	s.makeDue()
	s.erases()
	s.expires()
	s.deletes()
	s.forgets()
	s.ends()
	s.cluster()
	s.reseals()
	s.ok(s.NoteOptions(s.ctx, "node-1", []callbackd.ServerOption{{Name: "listen", Value: ":8080"}}, s.now))
	s.ok(s.Note(s.ctx, callbackd.AuditLogLevelChanged, "node-1", callbackd.AuditState{"log_level": "info"}, callbackd.AuditState{"log_level": "debug"}))
	s.ok(s.AddEventTypes(s.ctx, []callbackd.EventType{"VEHICLE:ARRIVED"}))
	s.ok(second(s.Check(store.WithProgress(s.ctx, func(int64, int64) {}))))
	s.ok(s.Ready(s.ctx))
}

// erases erases what there is of a person, and looks at the erasures.
func (s *commands) erases() {
	s.t.Helper()
	storetest.Erasures(s.t, s.Store)
	e, err := s.CreateErase(s.ctx, callbackd.Erase{Key: s.key, By: callbackd.ErasePhone, CreatedAt: s.now}, "15555550100")
	s.ok(err)
	for e.Running() {
		step, err := s.StepErase(s.ctx, e.ID, s.now)
		s.ok(err)
		e = step.Erase
	}
	s.ok(second(s.Erase(s.ctx, s.key, e.ID)))
	g, err := s.CreateErases(s.ctx, callbackd.Erase{By: callbackd.ErasePhone, DryRun: true, CreatedAt: s.now}, []callbackd.KeyID{s.key}, "15555550100")
	s.ok(err)
	s.ok(second(s.EraseGroup(s.ctx, g.ID)))
	s.ok(second(s.ListEraseGroups(s.ctx, store.EraseGroupQuery{Limit: 1})))
	s.ok(second(s.ListErases(s.ctx, store.EraseQuery{Key: s.key, Limit: 1})))
	s.ok(second(s.KeyUse(s.ctx, s.key)))
	s.ok(second(s.Check(s.ctx))) // which looks at erased events
}

// reseals reads every secret, and seals those again that no key of the keyset has sealed
// last.
func (s *commands) reseals() {
	s.t.Helper()
	for w := (store.SealedWalk{Reseal: true, Rows: 10, Count: true}); !w.Done; {
		s.ok(s.WalkSealed(s.ctx, &w))
	}
}

// ok ends the test at an error.
func (s *commands) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// second returns the error of a command with two results, third of one with three.
func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// refused checks the kind of an error.
func (s *commands) refused(err error, want callbackd.Kind) {
	s.t.Helper()
	if callbackd.KindOf(err) != want {
		s.t.Errorf("the error is %v, want kind %d", err, want)
	}
}

func (s *commands) newCallback(ev callbackd.EventType, name string) *callbackd.Callback {
	s.t.Helper()
	cb, _, err := s.CreateCallback(s.ctx, callbackd.Callback{Key: s.key, Event: ev, Name: name, URL: "https://a.example/", Method: "POST", Payload: []byte("{}")}, s.now)
	s.ok(err)
	return cb
}

// changeCallback changes a callback by a rule that cannot fail.
func (s *commands) changeCallback(cb *callbackd.Callback, change func(*callbackd.Callback)) {
	s.t.Helper()
	s.ok(second(s.ChangeCallback(s.ctx, cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		change(stored)
		return nil
	})))
}

// delivery returns the id of the delivery of the event with the index i.
func (s *commands) delivery(i int) callbackd.DeliveryID {
	return callbackd.DeliveryID{Event: s.evs[i].ID, Callback: s.cb.ID}
}

// accepts creates the key and the callback and accepts events: new ones, repeats, and
// events of a known session.
func (s *commands) accepts() {
	s.t.Helper()
	k, err := s.CreateKey(s.ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: s.now})
	s.ok(err)
	s.key = k.ID
	s.cb = s.newCallback(callbackd.Complete, "default")
	b := store.Batch{Key: s.key, At: s.now, Idempotency: "x"}
	for i := range 10 {
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: []byte("{}"), Idempotency: fmt.Sprint(i)})
	}
	s.evs, err = s.Accept(s.ctx, b)
	s.ok(err)
	for range 2 {
		s.ok(second(s.Accept(s.ctx, b)))
		b.Idempotency, b.Events[0].Idempotency = "", ""
	}
}

// records lets one delivery fail for good and one wait for a retry.
func (s *commands) records() {
	s.t.Helper()
	for i, state := range []callbackd.State{callbackd.Failed, callbackd.Pending} {
		s.ok(second(s.Record(s.ctx, &callbackd.Outcome{
			Delivery: callbackd.Delivery{ID: s.delivery(i)},
			Attempt:  callbackd.Attempt{Version: 1, Result: callbackd.Result{Fault: callbackd.FaultStatus, Status: 500}, Decision: callbackd.Decision{State: state, Due: s.now}},
			Change:   callbackd.CallbackChange{Version: 1, HealthTurned: true, Pause: callbackd.PausedGone, ClosedUntil: s.now, Proven: true},
		})))
	}
}

func (s *commands) queue() {
	s.t.Helper()
	s.ok(second(s.PendingCallbacks(s.ctx)))
	s.ok(third(s.Pending(s.ctx, callbackd.PendingRead{Callback: s.cb.ID, Limit: 1})))
	s.ok(third(s.Pending(s.ctx, callbackd.PendingRead{Callback: s.cb.ID, Source: callbackd.Retries, At: s.now, Limit: 1})))
	s.ok(third(s.Pending(s.ctx, callbackd.PendingRead{Callback: s.cb.ID, Source: callbackd.Heads, At: s.now, Limit: 1})))
	s.ok(third(s.Pending(s.ctx, callbackd.PendingRead{Callback: s.cb.ID, Lanes: []callbackd.LaneCursor{{Session: "S"}}, Limit: 1})))
	s.ok(second(s.Earlier(s.ctx, callbackd.EarlierRead{Key: s.key, Before: []callbackd.SessionEvent{{Session: "S", Event: s.evs[0].ID}}, At: s.now})))
}

// objects reads single objects from the database and not from a cache.
func (s *commands) objects() {
	s.t.Helper()
	s.ok(second(s.Delivery(s.ctx, s.key, s.delivery(0), 0)))
	s.ok(second(s.Delivery(s.ctx, s.key, s.delivery(0), 2)))
	s.ok(second(s.Event(s.ctx, s.key, s.evs[0].ID)))
	s.ok(second(s.CallbackVersion(s.ctx, s.cb.ID, 1)))
	s.ok(second(store.CallbackNamed(s.ctx, s, s.key, callbackd.Complete, "default")))
	s.DropAll()
	s.ok(second(s.CallbackByID(s.ctx, s.cb.ID)))
	s.ok(second(s.KeyByID(s.ctx, s.key)))
	s.DropAll()
	s.ok(second(s.Key(s.ctx, "k")))
	s.ok(second(s.ListKeys(s.ctx)))
	s.ok(second(s.ListEvents(s.ctx, store.EventQuery{Key: s.key, Until: s.now.Add(time.Hour), Limit: 1})))
}

func (s *commands) changes() {
	s.t.Helper()
	s.changeCallback(s.cb, func(stored *callbackd.Callback) { stored.Replace(s.cb, s.now) })
	s.ok(second(s.ChangeCallback(s.ctx, s.key, s.cb.Event, s.cb.Name, func(cb *callbackd.Callback) error {
		return cb.RotateSecret("next", s.now, s.now)
	})))
}

// settings makes a key with a callback that is paused, as a file of settings does.
func (s *commands) settings() {
	s.t.Helper()
	s.ok(second(s.ReadSettings(s.ctx)))
	s.ok(second(s.ChangeSettings(s.ctx, func([]callbackd.KeySettings) ([]callbackd.SettingsChange, error) {
		key := &callbackd.Key{Account: "a", APIKey: "settings", Secret: "secret", CreatedAt: s.now}
		cb := *s.cb
		cb.ID, cb.CreatedAt, cb.Pause = 0, s.now, callbackd.Pause{Reason: callbackd.PausedByUser, At: s.now}
		return []callbackd.SettingsChange{{Key: key}, {Key: key, After: &cb}}, nil
	})))
}

// resends resends a delivery that failed, one that waits for a retry, and one that
// was not tried.
func (s *commands) resends() {
	s.t.Helper()
	for i := range 3 {
		s.ok(second(s.Resend(s.ctx, s.key, s.delivery(i), s.now)))
	}
}

func (s *commands) sessions() {
	s.t.Helper()
	s.ok(s.CreateSession(s.ctx, &callbackd.Session{Key: s.key, SessionKey: "X", Status: callbackd.StatusIdle, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, nil))
	filter, err := callbackd.ParseFilter("filter", []byte(`{"session.status":{"exists":true}}`))
	s.ok(err)
	s.changeCallback(s.cb, func(cb *callbackd.Callback) { cb.Policy.Filter = filter })
	s.ok(second(s.Accept(s.ctx, store.Batch{Key: s.key, At: s.now, Events: []store.NewEvent{{Type: callbackd.Complete, Session: "X", Data: []byte("{}")}}})))
	s.changeCallback(s.cb, func(cb *callbackd.Callback) { cb.Policy.Filter = nil })
	note := callbackd.Note{Title: "n", InsertedAt: s.now}
	for _, c := range []store.SessionChange{
		{Events: []store.NewEvent{{Type: callbackd.Complete, Data: []byte("{}"), Idempotency: "s"}}, Notes: []callbackd.Note{note}}, {}, {Remove: true},
	} {
		s.ok(second(s.SessionNotes(s.ctx, s.key, "X")))
		s.ok(second(s.Session(s.ctx, s.key, "X")))
		s.ok(third(s.ChangeSession(s.ctx, s.key, "X", s.now, func(x *callbackd.Session) (store.SessionChange, error) {
			if x.Notes += len(c.Notes); len(c.Notes) == 0 {
				x.Status = callbackd.StatusStarted
			}
			return c, nil
		})))
		for _, newest := range []bool{false, true} {
			s.ok(second(s.SessionEvents(s.ctx, store.SessionEventQuery{Key: s.key, Session: "X", Newest: newest, Limit: 10})))
		}
	}
	s.ok(third(s.DueSessions(s.ctx, s.now, 10)))
	s.ok(s.CreateSession(s.ctx, &callbackd.Session{Key: s.key, SessionKey: "Y", Status: callbackd.StatusComplete, CreatedAt: s.now, EndedAt: s.now}, nil))
	s.ok(second(s.Prune(s.ctx, store.Prune{Sessions: s.now.Add(time.Hour)}, 10)))
	for _, session := range []string{"", "X"} {
		s.ok(second(s.EventsAfter(s.ctx, store.EventQuery{Key: s.key, Session: session, Limit: 10})))
	}
}

// idempotent runs commands that have an idempotency key.
func (s *commands) idempotent() {
	s.t.Helper()
	once := func(call string) *store.Once {
		o := store.NewOnce(s.key, call, "k", nil, s.now)
		o.Show = func(any) (store.Answer, error) { return store.Answer{Status: 200, Body: []byte("{}")}, nil }
		return o
	}
	change := once("POST /v1/callbacks")
	s.ok(second(s.ChangeCallback(store.WithOnce(s.ctx, change), s.key, s.cb.Event, s.cb.Name, func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{At: s.now})
		return nil
	})))
	if err := s.Answered(s.ctx, change); err == nil {
		s.t.Error("the call is not known as answered, want its answer")
	}
	key := callbackd.NewSessionKey("a")
	s.ok(s.CreateSession(s.ctx, &callbackd.Session{Key: s.key, SessionKey: key, Status: callbackd.StatusIdle, CreatedAt: s.now}, nil))
	s.ok(third(s.ChangeSession(store.WithOnce(s.ctx, once("POST /v1/sessions")), s.key, key, s.now, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, nil
	})))
	s.ok(second(s.Prune(s.ctx, store.Prune{Answers: s.now.Add(time.Hour)}, 10)))
}

func (s *commands) replays() {
	s.t.Helper()
	target := s.newCallback(callbackd.Complete, "later")
	for _, f := range []callbackd.ReplayFilter{{}, {Session: "S"}, {States: []callbackd.State{callbackd.Failed}}, {States: []callbackd.State{callbackd.Pending}}, {Target: target.ID}} {
		s.ok(second(s.CountReplay(s.ctx, s.key, f)))
		r, err := s.CreateReplay(s.ctx, callbackd.Replay{Key: s.key, Filter: f, CreatedAt: s.now})
		s.ok(err)
		s.ok(second(s.Replay(s.ctx, s.key, r.ID)))
		s.ok(second(s.StepReplay(s.ctx, r.ID, s.now)))
		_, err = s.SetReplayState(s.ctx, s.key, r.ID, callbackd.ReplayCanceled, s.now)
		if callbackd.KindOf(err) != callbackd.KindConflict { // it may have ended
			s.ok(err)
		}
	}
	s.ok(third(s.Pending(s.ctx, callbackd.PendingRead{Callback: target.ID, Source: callbackd.Replays, At: s.now, Limit: 10})))
	s.ok(second(s.ListReplays(s.ctx, store.ReplayQuery{Key: store.AllKeys, Running: true, Limit: 10})))
	s.cancellations()
}

// incidents opens an incident twice, changes it and closes it.
func (s *commands) incidents() {
	s.t.Helper()
	s.ok(second(s.Unwell(s.ctx)))
	s.ok(second(s.Look(s.ctx, s.now, s.now)))
	c := &callbackd.Condition{Kind: callbackd.NoticePaused, Key: s.key, Name: "1", Callback: s.cb.ID}
	i, err := s.OpenIncident(s.ctx, c, s.now)
	s.ok(err)
	s.ok(second(s.OpenIncident(s.ctx, c, s.now)))
	for _, q := range []store.IncidentQuery{{}, {Open: true}, {Untold: true}, {Key: s.key}, {Key: s.key, Open: true}} {
		s.ok(second(s.ListIncidents(s.ctx, q)))
	}
	s.ok(second(s.ChangeIncident(s.ctx, s.key, i.ID, func(i *callbackd.Incident) error {
		i.Miss(s.now, callbackd.EndedDeleted)
		return nil
	})))
	s.ok(second(s.Incident(s.ctx, store.AllKeys, i.ID)))
	s.ok(second(s.Prune(s.ctx, store.Prune{Incidents: s.now.Add(-time.Hour)}, 10)))
}

// cancellations cancels what is pending, and sends it again.
func (s *commands) cancellations() {
	s.t.Helper()
	r, err := s.CreateReplay(s.ctx, callbackd.Replay{Key: s.key, Filter: callbackd.CancelFilter(callbackd.ReplayFilter{}), Cancel: &callbackd.Cancellation{By: callbackd.ByOperator}, CreatedAt: s.now})
	s.ok(err)
	step, err := s.StepReplay(s.ctx, r.ID, s.now)
	s.ok(err)
	if len(step.Canceled) == 0 {
		s.t.Fatal("no delivery was canceled")
	}
	s.ok(second(s.Delivery(s.ctx, s.key, step.Canceled[0].ID, 0)))
	s.ok(second(s.CountReplay(s.ctx, s.key, callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}})))
	o := callbackd.Outcome{Delivery: step.Canceled[len(step.Canceled)-1], Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{Status: 200}, Decision: callbackd.Decision{State: callbackd.Delivered}}}
	s.ok(second(s.Resend(s.ctx, s.key, o.Delivery.ID, s.now)))
	s.ok(second(s.Record(s.ctx, &o)))
	if _, err := s.Record(s.ctx, &o); callbackd.KindOf(err) != callbackd.KindConflict {
		s.t.Errorf("an outcome that comes twice: the error is %v, want a conflict", err)
	}
}

// console runs what the console shows and changes.
func (s *commands) console() {
	s.t.Helper()
	s.ok(s.AppendLogs(s.ctx, []store.LogEntry{{Key: s.key, At: s.now}, {Key: s.key, At: s.now, Count: 2}}))
	s.ok(s.AddCounters(s.ctx, []store.MinuteCounters{{Callback: s.cb.ID, Key: s.key, Minute: s.now, Counters: store.Counters{Delivered: 1}, Receiver: store.Receiver{LastSuccess: s.now}}}))
	s.ok(second(s.ListStats(s.ctx, store.StatsQuery{Callback: s.cb.ID, Interval: store.Minute, Since: s.now.Add(-time.Hour), Until: s.now})))
	s.ok(second(s.ListHealth(s.ctx, store.HealthQuery{Attention: true, CertBefore: s.now})))
	s.lists(s.key)
	s.lists(store.AllKeys)
	s.ok(second(s.Health(s.ctx, s.cb.ID, store.PendingQuery{Limit: 10})))
	s.ok(second(s.Figures(s.ctx)))
	s.ok(second(s.Backlogs(s.ctx, s.now)))
	s.ok(s.AddUpCounts(s.ctx))
	s.ok(second(s.Prune(s.ctx, store.Prune{Logs: s.now, Minutes: s.now, Hours: s.now, Replays: s.now}, 10)))
	link := [32]byte{1}
	s.ok(s.CreateLogin(s.ctx, store.Login{Hash: link, Link: true, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.ok(s.CreateLogin(s.ctx, store.Login{Hash: [32]byte{8}, Key: s.key, Customer: callbackd.ConsoleLink{Role: callbackd.ConsoleViewer}, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.refused(second(s.Login(s.ctx, link, s.now)), callbackd.KindNotFound)
	s.ok(second(s.TakeLogin(s.ctx, link)))
	s.ok(s.CreateToken(s.ctx, callbackd.OperatorToken{ID: "t", Hash: link, Name: "t", Role: callbackd.RoleRead, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.ok(second(s.ListTokens(s.ctx)))
	s.ok(second(s.Token(s.ctx, "t")))
	s.ok(s.UseTokens(s.ctx, map[string]time.Time{"t": s.now}))
	s.ok(second(s.RevokeToken(s.ctx, "t", s.now)))
	change := func(k *callbackd.Key) error {
		k.CaptureURL = "https://capture.example/{session_key}"
		return k.Rotate("next", s.now)
	}
	s.ok(s.ChangeKey(s.ctx, "k", change))
	s.refused(s.ChangeKey(s.ctx, "no such key", change), callbackd.KindNotFound)
}

// lists runs each list of a key, or of all, in each of its ways.
func (s *commands) lists(key callbackd.KeyID) {
	s.t.Helper()
	for _, after := range []int64{0, 1} {
		q := store.CallbackQuery{Key: key, After: callbackd.CallbackID(after), Limit: 1}
		s.ok(second(s.ListCallbacks(s.ctx, q)))
		s.ok(second(s.ListHealth(s.ctx, store.HealthQuery{CallbackQuery: q})))
		for _, running := range []bool{false, true} {
			s.ok(second(s.ListReplays(s.ctx, store.ReplayQuery{Key: key, Running: running, After: callbackd.ReplayID(after), Limit: 10})))
		}
		s.ok(second(s.ListLogs(s.ctx, store.LogQuery{Key: key, After: store.LogCursor{ID: store.LogID(after)}, Limit: 10})))
	}
	for _, q := range []store.CallbackQuery{{Event: s.cb.Event}, {Name: s.cb.Name}, {Event: s.cb.Event, Name: s.cb.Name}} {
		q.Key, q.Limit = key, 1
		s.ok(second(s.ListCallbacks(s.ctx, q)))
	}
	s.ok(second(s.SessionEvents(s.ctx, store.SessionEventQuery{Key: key, Session: "S", Limit: 10})))
	for _, session := range []string{"", "S"} {
		s.ok(second(s.ListEvents(s.ctx, store.EventQuery{Key: key, Session: session, Limit: 1})))
		for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled, callbackd.Expired} {
			for _, status := range []int{0, 5} {
				s.ok(second(s.ListDeliveries(s.ctx, store.DeliveryQuery{Key: key, Session: session, State: state, Status: status, Limit: 1})))
			}
		}
	}
	for _, q := range []store.SessionQuery{{VIN: "1FTEW1EP5NKD00001"}, {SessionKey: "X"}, {Status: callbackd.StatusIdle}, {Text: "x"}} {
		q.Key, q.Limit = key, 10
		s.ok(second(s.ListSessions(s.ctx, q)))
	}
	s.ok(second(s.LatestEvents(s.ctx, []store.SessionID{{Key: key, SessionKey: "X"}}, 10)))
}

func (s *commands) makeDue() {
	s.t.Helper()
	s.changeCallback(s.cb, func(cb *callbackd.Callback) { cb.SetPause(callbackd.Pause{At: s.now}) })
	s.ok(third(s.MakeDue(s.ctx, s.cb.ID, s.now, 1)))
}

func (s *commands) deletes() {
	s.t.Helper()
	s.changeCallback(s.cb, func(cb *callbackd.Callback) { cb.Delete(s.now) })
}

// sessionCallbacks gives a session a callback, changes it, replays to it, and removes it.
func (s *commands) sessionCallbacks() {
	s.t.Helper()
	cb := callbackd.Callback{URL: "https://a.example/", Method: "POST", Payload: []byte("{}"), Types: []callbackd.EventType{callbackd.NoteInsert}}
	x := &callbackd.Session{Key: s.key, SessionKey: "ofCallback", Status: callbackd.StatusExpired, CreatedAt: s.now, EndedAt: s.now}
	s.ok(s.CreateSession(s.ctx, x, &cb))
	cb.Method = "PUT"
	given := store.NewEvent{Type: callbackd.Complete, Session: "ofCallback", Data: []byte("{}"), Callback: &cb}
	for range 2 {
		s.ok(second(s.Accept(s.ctx, store.Batch{Key: s.key, At: s.now, Events: []store.NewEvent{given}})))
		given.Callback = nil
	}
	page, err := s.ListCallbacks(s.ctx, store.CallbackQuery{Key: s.key, Session: "ofCallback"})
	s.ok(err)
	for _, session := range []string{"", "ofCallback"} {
		s.ok(second(s.CreateReplay(s.ctx, callbackd.Replay{Key: s.key, Filter: callbackd.ReplayFilter{Missing: true, Session: session}, CreatedAt: s.now})))
	}
	s.ok(second(s.CountSessionCallbacks(s.ctx, s.key, 10)))
	s.changeCallback(page.Callbacks[0], func(cb *callbackd.Callback) { cb.Resume(s.now) })
	x.SessionKey = "ofCallback2"
	s.ok(s.CreateSession(s.ctx, x, &cb))
	s.ok(second(s.Prune(s.ctx, store.Prune{Sessions: s.now.Add(time.Hour)}, 100)))
	for _, at := range []time.Time{s.now, s.now.Add(2 * time.Hour)} {
		_, _, _, err := s.SweepSessionCallbacks(s.ctx, s.now.Add(time.Hour), at, 0, 10)
		s.ok(err)
	}
}

// forgets removes what no event refers to: a replaced setting and a deleted callback.
func (s *commands) forgets() {
	s.t.Helper()
	setting := *s.newCallback(callbackd.NoteInsert, "default")
	setting.URL = "https://a.example/2"
	s.changeCallback(&setting, func(stored *callbackd.Callback) { stored.Replace(&setting, s.now) })
	s.ok(second(s.Accept(s.ctx, store.Batch{Key: s.key, At: s.now, Events: []store.NewEvent{{Type: callbackd.NoteInsert, Session: "S", Data: []byte("{}")}}})))
	s.ok(second(s.Forgettable(s.ctx, s.now)))
	s.sessionCallbacks()
	unused := s.newCallback(callbackd.Complete, "unused")
	s.changeCallback(unused, func(cb *callbackd.Callback) { cb.Delete(s.now) })
	for f := (store.Forget{Key: s.key, Before: s.now.Add(time.Hour), Events: 1000, Rows: 10}); !f.Done; {
		s.ok(second(s.Forget(s.ctx, &f)))
	}
	s.ok(s.CreateLogin(s.ctx, store.Login{Hash: [32]byte{9}, Key: s.key, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.audits()
}

// audits reads the audit log and removes entries of it.
func (s *commands) audits() {
	s.t.Helper()
	for _, key := range []callbackd.KeyID{s.key, store.AllKeys} {
		s.ok(second(s.ListAudit(s.ctx, store.AuditQuery{Key: key, Limit: 1})))
	}
	s.ok(second(s.VerifyAudit(s.ctx, nil, nil)))
	s.ok(second(s.Prune(s.ctx, store.Prune{Audit: time.Now().Add(time.Hour)}, 2)))
}

// ends cancels what is pending, records attempts that outlast their callback,
// revokes the key and removes old events.
func (s *commands) ends() {
	s.t.Helper()
	s.ok(second(s.FinalizeCanceled(s.ctx, s.now, 1000)))
	s.lists(s.key)
	for i, fault := range []callbackd.Fault{callbackd.NoFault, callbackd.FaultStatus} {
		s.ok(second(s.Record(s.ctx, &callbackd.Outcome{
			Delivery: callbackd.Delivery{ID: s.delivery(i)},
			Attempt:  callbackd.Attempt{Version: 1, Result: callbackd.Result{Fault: fault}, Decision: callbackd.Decision{State: callbackd.Failed}},
		})))
	}
	s.sweep()
	s.ok(s.ChangeKey(s.ctx, "k", func(k *callbackd.Key) error {
		k.Revoke(s.now)
		return nil
	}))
	s.ok(second(s.FinalizeCanceled(s.ctx, s.now, 1000)))
	s.sweep()
}

func (s *commands) sweep() {
	s.t.Helper()
	look, err := s.Sweep(s.ctx, store.Sweep{Before: s.now.Add(time.Hour), Limit: 1, Look: true})
	s.ok(err)
	s.ok(second(s.Sweep(s.ctx, store.Sweep{Before: s.now.Add(time.Hour), Limit: 1, Only: look.Events})))
	s.ok(second(s.Sweep(s.ctx, store.Sweep{Key: s.cb.Key, Before: s.now.Add(-time.Hour), Limit: 10})))
	s.ok(second(s.Sweep(s.ctx, store.Sweep{Before: s.now.Add(time.Hour), Limit: 1000})))
}

// cluster runs the commands of a node.
func (s *commands) cluster() {
	s.t.Helper()
	id, err := s.Join(s.ctx, store.Node{Name: "n"})
	s.ok(err)
	shards, _, err := s.Claim(s.ctx, id, 5)
	s.ok(err)
	s.ok(second(s.Release(s.ctx, id, shards[:1])))
	s.ok(second(s.Heartbeat(s.ctx, store.Heartbeat{ID: id}, 0)))
	s.ok(second(s.Nodes(s.ctx)))
	s.ok(s.Notify(s.ctx, []store.Message{{To: id, Body: "x"}}))
	s.ok(second(s.newestOf(s.ctx, []callbackd.KeyID{s.key})))
	s.ok(s.Leave(s.ctx, id))
}

// expires defers deliveries and lets others expire.
func (s *commands) expires() {
	s.t.Helper()
	ttl := s.newCallback(callbackd.NoteInsert, "ttl")
	s.changeCallback(ttl, func(cb *callbackd.Callback) { cb.Policy.TTL = time.Hour })
	at := s.now.Add(time.Minute)
	_, err := s.Accept(s.ctx, store.Batch{Key: s.key, At: s.now, Events: []store.NewEvent{
		{Type: callbackd.NoteInsert, Session: "expiry", Data: []byte("{}"), DeliverAt: at},
		{Type: callbackd.NoteInsert, Session: "expiry", Data: []byte("{}"), ExpiresAt: at},
		{Type: callbackd.NoteInsert, Session: "expiry", Data: []byte("{}")},
	}})
	s.ok(err)
	_, _, err = s.TakeTurns(s.ctx, ttl.ID, at, 10)
	s.ok(err)
	for range 2 {
		_, _, err = s.Expire(s.ctx, s.now.Add(2*time.Hour), 10)
		s.ok(err)
	}
	s.ok(second(s.CountReplay(s.ctx, s.key, callbackd.ReplayFilter{States: []callbackd.State{callbackd.Expired}})))
}
