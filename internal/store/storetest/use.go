package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Use works with an empty store as a server with many clients would. Afterwards the store
// has rows of every kind that the contract can write. The seed makes the random choices.
func Use(t *testing.T, st store.Store, seed uint64, steps int) {
	s := &suite{T: t, Store: st, at: used}
	u := &user{suite: s, r: rand.New(rand.NewPCG(seed, 1))}
	for i := range 3 {
		u.keys = append(u.keys, s.newKey(fmt.Sprint("key", i)))
		u.cbs = append(u.cbs, s.newCallback(u.keys[i], ev1, "default"))
	}
	s.must(s.RotateKey(s.ctx(), "key1", "rotated", s.at.Add(time.Hour)))
	s.must(s.SetCaptureURL(s.ctx(), "key1", "https://capture.example/{session_key}"))
	s.must(second(s.newToken(1, "token")))
	s.must(second(s.RevokeToken(s.ctx(), fmt.Sprintf("%012d", 1), s.at)))
	s.must(s.AddEventTypes(s.ctx(), []callbackd.EventType{own1, own2}))
	u.cbs = append(u.cbs, s.newCallback(u.keys[2], own1, "own"))
	s.publish(u.keys[2], own1, "arrival")
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: u.keys[2].ID, At: s.at, Events: []store.NewEvent{{Type: own2, Session: "arrival", Data: []byte("{}"), Callback: given("https://own.example/h", ev1, own2)}}})))
	s.must(s.NoteOptions(s.ctx(), "host", []callbackd.ServerOption{{Name: "grace", Value: "1s"}}, s.at))
	for range steps {
		s.at = s.at.Add(time.Duration(u.r.IntN(40)) * time.Millisecond)
		u.step()
	}
	u.ending()
}

// used is when Use begins: it is the same for every store.
var used = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

type user struct {
	*suite
	r        *rand.Rand
	keys     []callbackd.Key
	cbs      []*callbackd.Callback
	sessions []*callbackd.Session
}

// tolerate ignores refusals, because a random choice may not be possible.
func (u *user) tolerate(err error) {
	u.Helper()
	switch callbackd.KindOf(err) {
	case callbackd.KindConflict, callbackd.KindInvalid, callbackd.KindNotFound, callbackd.KindLimited:
	default:
		u.must(err)
	}
}

func (u *user) step() {
	key := u.keys[u.r.IntN(len(u.keys))]
	s, cb := u.suite, u.cbs[u.r.IntN(len(u.cbs))]
	switch u.r.IntN(20) {
	case 0:
		u.newCallbacks(key)
	case 1:
		next := *cb
		next.URL, next.Secrets = fmt.Sprintf("https://r%d.example/h", u.r.IntN(3)), []callbackd.SigningSecret{{Value: callbackd.Secret(fmt.Sprint("s", u.r.Uint32()))}}
		u.tolerate(second(s.ReplaceCallback(s.ctx(), next, s.at)))
	case 2:
		u.tolerate(second(s.RotateSecret(u.once(cb.Key), cb.Key, cb.Event, cb.Name, callbackd.Secret(fmt.Sprint("r", u.r.Uint32())), s.at.Add(time.Hour), s.at)))
		u.tolerate(second(s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})))
	case 3, 4:
		u.sessions = append(u.sessions, s.newSession(key, func(x *callbackd.Session) { x.FirstName = fmt.Sprint("Zoë\x00", u.r.IntN(9)) }))
	case 5:
		u.replays(key, cb)
	case 6:
		u.secondary(key, cb)
		u.must(second(u.OpenIncident(u.ctx(), &callbackd.Condition{Kind: callbackd.NoticeExhausted, Key: key.ID, Name: "Zoë", Callback: cb.ID}, u.at)))
	case 7, 8, 9:
		u.outcomes(cb)
	case 10, 11, 12, 13:
		if len(u.sessions) > 0 {
			s.randomStep(u.r, u.sessions[u.r.IntN(len(u.sessions))], s.at, u.r.IntN(3) > 0)
		}
	default:
		u.publish(key, cb)
	}
}

// once is the context of a command with one of a few idempotency keys.
func (u *user) once(key callbackd.KeyID) context.Context {
	o := store.NewOnce(key, "POST /rotate", fmt.Sprint("k", u.at.Nanosecond()%7), nil, u.at)
	o.Show = func(any) (store.Answer, error) { return store.Answer{Status: 200, Body: []byte("{}")}, nil }
	return store.WithOnce(u.ctx(), o)
}

func (u *user) newCallbacks(key callbackd.Key) {
	ev := callbackd.EventTypes[u.r.IntN(len(callbackd.EventTypes))]
	name, filter := fmt.Sprint("n", u.r.IntN(3)), "{}"
	if name == "n2" {
		filter = `{"data.n":{"lt":3}}`
	}
	f, err := callbackd.ParseFilter("filter", []byte(filter))
	u.must(err)
	fields, err := callbackd.ParseFields("fields", []byte(`{"except":["n"]}`))
	u.must(err)
	cb, _, err := u.CreateCallback(u.ctx(), callbackd.Callback{Key: key.ID, Event: ev, Name: name, URL: "https://a.example/h", Method: "PUT", Payload: []byte(`{"é":1}`),
		Headers: []callbackd.Header{{Name: "X", Value: "secret"}}, Policy: callbackd.Policy{Rate: 2.5, Filter: f, Fields: fields}, Secrets: []callbackd.SigningSecret{{Value: "w"}}}, u.at)
	u.must(err)
	u.cbs = append(u.cbs, cb)
	if u.r.IntN(4) == 0 && len(u.cbs) > 5 {
		u.tolerate(second(u.DeleteCallback(u.ctx(), key.ID, ev, name, u.at)))
		if u.r.IntN(2) == 0 {
			u.must(second(u.FinalizeCanceled(u.ctx(), u.at, 3)))
		}
	}
}

func (u *user) publish(key callbackd.Key, cb *callbackd.Callback) {
	b := store.Batch{Key: key.ID, At: u.at, Digest: [32]byte{1}}
	if u.r.IntN(3) == 0 {
		b.Idempotency = fmt.Sprint("batch", u.r.IntN(20))
	}
	for range 1 + u.r.IntN(6) {
		n := store.NewEvent{Type: callbackd.EventTypes[u.r.IntN(3)], Session: fmt.Sprint("S", u.r.IntN(12)), Data: fmt.Appendf(nil, `{"n":%d}`, u.r.IntN(5))}
		if u.r.IntN(4) == 0 {
			n.Idempotency = fmt.Sprint("one", u.r.IntN(50))
		}
		if cb.Key == key.ID && u.r.IntN(8) == 0 {
			n.OnlyTo, n.Type = cb.ID, cmp.Or(cb.Event, append(cb.Types, "")[0])
			n.Session = cmp.Or(cb.Session, n.Session)
		} else if u.r.IntN(6) == 0 {
			n.Callback = given(fmt.Sprintf("https://s%d.example/h", u.r.IntN(7)), callbackd.EventTypes[u.r.IntN(3)])
			n.Callback.Method = []string{"POST", "PUT"}[u.r.IntN(2)]
		}
		b.Events = append(b.Events, n)
	}
	u.tolerate(second(u.Accept(u.ctx(), b)))
	page, err := u.ListCallbacks(u.ctx(), store.CallbackQuery{Key: key.ID, Session: b.Events[0].Session})
	u.must(err)
	u.cbs = append(u.cbs, page.Callbacks[:min(1, len(page.Callbacks))]...)
}

// outcomes records outcomes of a callback's next deliveries, of every kind.
func (u *user) outcomes(cb *callbackd.Callback) {
	ds := u.fresh(cb.ID)
	due, _, err := u.Pending(u.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: u.at.Add(time.Hour), Limit: 10})
	u.must(err)
	again, _, err := u.Pending(u.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Replays, At: u.at.Add(time.Hour), Limit: 10})
	u.must(err)
	for _, d := range append(append(ds[:min(len(ds), 8)], due...), again...) {
		o := result(d, callbackd.Delivered, u.at, time.Time{}, time.Time{})
		switch u.r.IntN(5) {
		case 0:
			o = result(d, callbackd.Failed, u.at, time.Time{}, time.Time{})
		case 1, 2:
			o = result(d, callbackd.Pending, u.at, u.at.Add(time.Duration(u.r.IntN(1e6))*time.Microsecond), u.at.Add(time.Duration(u.r.IntN(2))*time.Hour))
			o.Change = callbackd.CallbackChange{Version: o.Attempt.Version, HealthTurned: u.r.IntN(2) == 0, FailingSince: u.at}
		}
		u.tolerate(second(u.Record(u.ctx(), o)))
		if u.r.IntN(6) == 0 {
			u.tolerate(second(u.Resend(u.ctx(), cb.Key, d.ID, u.at)))
		}
	}
}

func (u *user) replays(key callbackd.Key, cb *callbackd.Callback) {
	f := callbackd.ReplayFilter{}
	if cb.Key == key.ID && u.r.IntN(2) == 0 {
		f.Target = cb.ID
	}
	var by *callbackd.Cancellation
	if u.r.IntN(4) == 0 {
		f, by = callbackd.CancelFilter(callbackd.ReplayFilter{Since: u.at}), &callbackd.Cancellation{By: callbackd.ByOperator}
	}
	r, err := u.CreateReplay(u.ctx(), callbackd.Replay{Key: key.ID, Filter: f, Cancel: by, Rate: float64(u.r.IntN(2)) * 20.5, CreatedAt: u.at})
	if u.tolerate(err); err != nil {
		return
	}
	u.step1(r)
	if state := []callbackd.ReplayState{"", callbackd.ReplayPaused, callbackd.ReplayCanceled}[u.r.IntN(3)]; state != "" {
		u.tolerate(second(u.SetReplayState(u.ctx(), key.ID, r.ID, state, u.at)))
	}
}

func (u *user) step1(r *callbackd.Replay) {
	if u.r.IntN(2) == 0 {
		u.must(second(u.StepReplay(u.ctx(), r.ID, u.at)))
	}
}

// secondary writes logs and counters, which are not on the hot path.
func (u *user) secondary(key callbackd.Key, cb *callbackd.Callback) {
	u.must(u.AppendLogs(u.ctx(), []store.LogEntry{
		{Key: key.ID, At: u.at, Method: "GET", Path: "/v1/x\xff", Status: 404, Duration: 3 * time.Millisecond, Message: "no", Address: "192.0.2.1"},
		{Key: key.ID, At: u.at, Method: "POST", Path: "/v1/events", Status: 202, Duration: time.Second, Address: "192.0.2.2", Count: 1 + int64(u.r.IntN(9))},
	}))
	t := store.MinuteCounters{Callback: cb.ID, Key: cb.Key, Minute: u.at.Truncate(time.Minute), Counters: store.Counters{Delivered: 2, Attempts: 3, Faults: 1}}
	t.Latency.Add(time.Duration(u.r.IntN(4000)) * time.Millisecond)
	if u.r.IntN(2) == 0 {
		t.Receiver = store.Receiver{LastSuccess: u.at, LastFailure: u.at, LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: u.at.Add(24 * time.Hour)}
	}
	u.must(u.AddCounters(u.ctx(), []store.MinuteCounters{t}))
}

// ending makes the states that must exist whatever the random choices were.
func (u *user) ending() {
	s, key := u.suite, u.keys[0]
	s.key = key
	for i, link := range []bool{false, true} {
		s.login(loginNames[i], link, time.Hour)
	}
	s.must(second(s.Sweep(s.ctx(), store.Sweep{Before: s.at.Add(-time.Second), Limit: 10})))
	s.publish(key, ev2, "S1", "S2", "S3")
	late := s.newCallback(key, ev2, "late")
	r := s.replay(callbackd.ReplayFilter{Target: late.ID}, 1) // running, with most of its deliveries not due yet
	s.step(r, s.at)
	s.must(s.RevokeKey(s.ctx(), "key2", s.at))
	s.erased("S1")
	s.must(second(s.StepErase(s.ctx(), s.erase(callbackd.EraseSession, "S2", false).ID, s.at)))
	s.must(second(s.StepErase(s.ctx(), s.erase(callbackd.EraseVIN, markVIN, true).ID, s.at)))
}

var loginNames = []string{"browser", "link"}

// Picture returns everything that a store which Use has used returns through the contract,
// to be compared with another store. It changes nothing. It asks separately when the
// callback of a revoked key ended, because lists need not say it.
func Picture(t *testing.T, st store.Store) map[string]any {
	s := &suite{T: t, Store: st, at: used}
	out := map[string]any{}
	keys, err := s.ListKeys(s.ctx())
	s.must(err)
	report, err := s.Check(s.ctx())
	s.must(err)
	out["keys"], out["check"] = keys, Balances(report)
	out["pending callbacks"], err = s.PendingCallbacks(s.ctx())
	s.must(err)
	for _, b := range report.Callbacks {
		s.ofCallback(out, b.Callback)
	}
	for _, k := range keys {
		s.ofKey(out, k)
	}
	due, next, err := s.DueSessions(s.ctx(), used.AddDate(1, 0, 0), 1000)
	s.must(err)
	login, err := s.Login(s.ctx(), sha256.Sum256([]byte(loginNames[0])), used)
	s.must(err)
	out["due sessions"], out["login"] = []any{due, next}, login
	out["running replays"] = s.running(store.AllKeys, store.MaxPage)
	for _, w := range []store.Interval{store.Minute, store.Hour} {
		out[fmt.Sprint("sums by ", time.Duration(w))], err = s.ListStats(s.ctx(), store.StatsQuery{Interval: w, Since: used.Add(-time.Hour), Until: used.AddDate(1, 0, 0)})
		s.must(err)
	}
	return out
}

// Balances returns the balances of a report, by the ID of the callback.
func Balances(r *store.Report) map[callbackd.CallbackID]store.Balance {
	out := map[callbackd.CallbackID]store.Balance{0: {Accepted: r.Events, Failed: r.FaultN}}
	for _, b := range r.Callbacks {
		id := b.Callback.ID
		b.Callback = nil
		out[id] = b
	}
	return out
}

func (s *suite) ofCallback(out map[string]any, cb *callbackd.Callback) {
	s.Helper()
	at, far := fmt.Sprint("callback ", cb.ID, ": "), used.AddDate(1, 0, 0)
	for v := range cb.Version {
		old, err := s.CallbackVersion(s.ctx(), cb.ID, v+1)
		s.must(err)
		out[at+fmt.Sprint("version ", v+1)] = old
	}
	now, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	out[at+"ended"], out[at+"fresh"] = now.DeletedAt, s.fresh(cb.ID)
	scheduled, next, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: far, Limit: 1000})
	s.must(err)
	out[at+"scheduled"] = []any{bySession(scheduled), next}
	replayed, next, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Replays, At: far, Limit: 1000})
	s.must(err)
	out[at+"replayed"] = []any{bySession(replayed), next}
	holding, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Heads, At: used, Limit: 1000})
	s.must(err)
	out[at+"holding"] = bySession(holding)
	lane, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Lanes: []callbackd.LaneCursor{{Session: "S1"}}, Limit: 1000})
	s.must(err)
	out[at+"lane"] = bySession(lane)
	out[at+"health"], err = s.Health(s.ctx(), cb.ID, store.PendingQuery{OverdueBefore: used, Limit: 1000})
	s.must(err)
}

// bySession orders deliveries that are due at one time.
func bySession(ds []callbackd.Delivery) []callbackd.Delivery {
	slices.SortFunc(ds, func(a, b callbackd.Delivery) int { return int(a.ID.Event - b.ID.Event) })
	for i := range ds {
		ds[i].Event = nil // drivers may return more or less of the event
	}
	return ds
}

func (s *suite) ofKey(out map[string]any, k callbackd.Key) {
	s.Helper()
	at := k.APIKey + ": "
	var err error
	out[at+"callbacks"], err = s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: k.ID})
	s.must(err)
	for i := range 12 {
		session := fmt.Sprint("S", i)
		out[at+"callbacks of "+session], err = s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: k.ID, Session: session})
		s.must(err)
	}
	out[at+"health"], err = s.ListHealth(s.ctx(), store.HealthQuery{CallbackQuery: store.CallbackQuery{Key: k.ID}, OverdueBefore: used})
	s.must(err)
	out[at+"logs"], err = s.ListLogs(s.ctx(), store.LogQuery{Key: k.ID, Limit: 200})
	s.must(err)
	out[at+"replays"], err = s.ListReplays(s.ctx(), store.ReplayQuery{Key: k.ID, Limit: 200})
	s.must(err)
	s.eventsOf(out, k)
	for q := (store.SessionQuery{Key: k.ID, Limit: 50}); ; {
		page, err := s.ListSessions(s.ctx(), q)
		s.must(err)
		for _, x := range page.Sessions {
			whole, err := s.Session(s.ctx(), k.ID, x.SessionKey)
			s.must(err)
			notes, err := s.SessionNotes(s.ctx(), k.ID, x.SessionKey)
			s.must(err)
			story, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: k.ID, Session: x.SessionKey, Limit: 100})
			s.must(err)
			out[at+"session "+x.SessionKey] = []any{x, whole, notes, story}
		}
		if q.After = page.Next; q.After == (store.SessionCursor{}) {
			break
		}
	}
	for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed, callbackd.Canceled, callbackd.Delivered} {
		for q := (store.DeliveryQuery{Key: k.ID, State: state, Limit: 100}); ; {
			page, err := s.ListDeliveries(s.ctx(), q)
			s.must(err)
			for _, d := range page.Deliveries {
				whole, err := s.Delivery(s.ctx(), k.ID, d.ID, 0)
				s.must(err)
				d.Event, d.Callback = nil, nil // drivers may return more or less of them
				out[at+string(state)+" "+d.ID.String()] = []any{d, whole}
			}
			if q.After = page.Next; q.After == (callbackd.DeliveryID{}) {
				break
			}
		}
	}
}

// eventsOf lists a key's events, and catches up with them from cursor to
// cursor.
func (s *suite) eventsOf(out map[string]any, k callbackd.Key) {
	s.Helper()
	at := k.APIKey + ": "
	var newest [][]*callbackd.Event
	for q := (store.EventQuery{Key: k.ID, Limit: 100}); ; {
		page, err := s.ListEvents(s.ctx(), q)
		s.must(err)
		newest = append(newest, page.Events)
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	var caught []*callbackd.Event
	for q := (store.EventQuery{Key: k.ID, Limit: 30}); ; {
		page, err := s.EventsAfter(s.ctx(), q)
		s.must(err)
		caught = append(caught, page.Events...)
		if len(page.Events) == 0 && page.Next <= q.After {
			break
		}
		q.After = page.Next
	}
	out[at+"newest events"], out[at+"events caught up"] = newest, caught
}
