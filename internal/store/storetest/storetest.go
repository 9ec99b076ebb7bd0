// Package storetest is what every driver of the store must pass: each test
// is a sentence of the contract.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Open opens the store that dir names; a second call with the same dir, after
// Close, opens the same store again.
type Open func(t *testing.T, dir string) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	tests := map[string]func(*suite){
		"Keys": (*suite).keys, "Callbacks": (*suite).callbacks, "Rotation": (*suite).rotation, "ReplaceOtherHost": (*suite).replaceOtherHost,
		"Accept": (*suite).accept, "SequencesAreGapless": (*suite).sequences, "HandoverInCommitOrder": (*suite).handover,
		"Idempotency": (*suite).idempotency, "IdempotencyRace": (*suite).idempotencyRace, "BatchIsAllOrNothing": (*suite).batch,
		"RecordAndHistory": (*suite).record, "RecordTwiceIsAConflict": (*suite).recordTwice, "Queue": (*suite).queue,
		"Delete": (*suite).deleteCallback, "Revoke": (*suite).revoke, "Retry": (*suite).retry, "Lists": (*suite).lists,
		"ListsByState": (*suite).listsByState, "Sweep": (*suite).sweep, "Restart": (*suite).restart, "OtherKeysObjects": (*suite).otherKeys,
		"Logins": (*suite).logins, "Links": (*suite).links,
		"TimesAreNotEarly": (*suite).notEarly, "CatchUp": (*suite).catchUp, "Once": (*suite).once, "Replays": (*suite).replays, "ReplayToATarget": (*suite).replayTo, "ReplayWindow": (*suite).replayWindow,
		"Logs": (*suite).logs, "Stats": (*suite).stats, "AttemptFilters": (*suite).attemptFilters, "OldErrorsAreFound": (*suite).oldErrors, "LastErrorsAreKept": (*suite).lastErrors,
		"BacklogCountsFromWhenItWasMadeDue": (*suite).backlogSince, "LatestEvents": (*suite).latestEvents, "NewestFirst": (*suite).newestFirst, "WholeVIN": (*suite).wholeVIN,
		"Forget": (*suite).forget, "ForgetNothingPointedAt": (*suite).forgetNothingPointedAt, "SameSettingIsNoVersion": (*suite).sameSetting,
		"DeletedCallbacksAreListed": (*suite).deletedAreListed, "LoginsOfAKeyAreLimited": (*suite).loginsLimited,
		"PagesEndBySize": (*suite).pagesEndBySize,
	}
	maps.Copy(tests, sessionTests)
	maps.Copy(tests, keptTests)
	maps.Copy(tests, clockTests)
	maps.Copy(tests, allKeysTests)
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, dir: t.TempDir(), open: open, at: time.Now().Truncate(time.Millisecond)}
			s.Store = open(t, s.dir)
			s.key = s.newKey("k1")
			f(s)
			s.balanced()
			s.must(s.Store.Close())
		})
	}
}

type suite struct {
	*testing.T
	store.Store
	dir  string
	open Open
	at   time.Time
	key  callbackd.Key
}

func (s *suite) ctx() context.Context { return s.Context() }

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) kind(err error, want callbackd.Kind) {
	s.Helper()
	var e *callbackd.Error
	if !errors.As(err, &e) || e.Kind != want {
		s.Errorf("error %v has not kind %d", err, want)
	}
}

func (s *suite) reopen() {
	s.Helper()
	s.must(s.Store.Close())
	s.Store = s.open(s.T, s.dir)
}

// balanced proves promise 2 for what a test left.
func (s *suite) balanced() {
	s.Helper()
	r, err := s.Check(s.ctx())
	s.must(err)
	if r.FaultN > 0 {
		s.Errorf("check: %v", r.Faults)
	}
	for _, b := range r.Callbacks {
		if b.Accepted != b.Delivered+b.Failed+b.Canceled+b.Pending {
			s.Errorf("check: %+v", b)
		}
	}
}

func (s *suite) newKey(text string) callbackd.Key {
	s.Helper()
	k, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: text, Secret: "secret of " + callbackd.Secret(text), Name: "n", Live: true, CreatedAt: s.at})
	s.must(err)
	return k
}

const ev1, ev2 = callbackd.StatusChange, callbackd.Complete

func (s *suite) newCallback(key callbackd.Key, ev callbackd.EventType, name string) *callbackd.Callback {
	s.Helper()
	cb, created, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: key.ID, Event: ev, Name: name, URL: "https://a.example/h", Method: "POST",
		Headers: []callbackd.Header{{Name: "X-B", Value: "header secret"}, {Name: "X-A", Value: "2"}}, Payload: []byte(`{"x":1}`),
		Policy: callbackd.Policy{Rate: 2, Retry: []time.Duration{0, time.Second}, NoKeepAlive: true}, Secrets: []callbackd.SigningSecret{{Value: "first"}}}, s.at)
	s.must(err)
	if !created {
		s.Fatal("not created")
	}
	return cb
}

func (s *suite) publish(key callbackd.Key, ev callbackd.EventType, sessions ...string) []*callbackd.Event {
	s.Helper()
	b := store.Batch{Key: key.ID, At: s.at}
	for i, session := range sessions {
		b.Events = append(b.Events, store.NewEvent{Type: ev, Session: session, Data: fmt.Appendf(nil, `{"i":%d}`, i)})
	}
	out, err := s.Accept(s.ctx(), b)
	s.must(err)
	return out
}

func (s *suite) fresh(no callbackd.CallbackID) []callbackd.Delivery {
	s.Helper()
	ds, err := s.FirstAttempts(s.ctx(), no, 0, 1000)
	s.must(err)
	return ds
}

// outcome records an attempt that ends in the given state.
func (s *suite) outcome(d callbackd.Delivery, state callbackd.State, due time.Time, holds time.Time) callbackd.State {
	s.Helper()
	got, err := s.Record(s.ctx(), result(d, state, s.at, due, holds))
	s.must(err)
	return got.State
}

func result(d callbackd.Delivery, state callbackd.State, at, due, holds time.Time) callbackd.Outcome {
	r := callbackd.Result{StartedAt: at.UTC(), Timings: callbackd.Timings{DNS: 1000, Connect: 2000, TLS: 3000, FirstByte: 4000, Total: 5000},
		Address: "192.0.2.1:443", Reused: true, Status: 200, RetryAfter: "7", Location: "/x", Headers: "A: b\n", Body: []byte("ok\x00\xff"), BodySize: 4, Truncated: true}
	if state != callbackd.Delivered {
		r.Status, r.Fault, r.Error = 500, callbackd.FaultStatus, "the receiver answered 500"
	}
	return callbackd.Outcome{Delivery: d, Attempt: callbackd.Attempt{Number: d.Attempts + 1, Version: 1, Result: r,
		Decision: callbackd.Decision{State: state, Step: d.Step + 1, Due: due, HoldsUntil: holds, Why: "because"}}}
}

func (s *suite) keys() {
	k, err := s.Key(s.ctx(), "k1")
	s.must(err)
	if k.Account != "acme" || k.Secret.Reveal() != "secret of k1" || !k.Live || k.Name != "n" || !k.CreatedAt.Equal(s.at) || k.Revoked() {
		s.Errorf("%+v", k)
	}
	if same, err := s.KeyByID(s.ctx(), k.ID); err != nil || *same != *k {
		s.Errorf("by number: %+v, %v", same, err)
	}
	_, err = s.KeyByID(s.ctx(), 1<<40)
	s.kind(err, callbackd.KindNotFound)
	_, err = s.CreateKey(s.ctx(), callbackd.Key{APIKey: "k1", CreatedAt: s.at})
	s.kind(err, callbackd.KindConflict)
	for _, text := range []string{"k\xff", "k\x00"} { // what a header may hold is no key, and no fault
		s.kind(second(s.Key(s.ctx(), text)), callbackd.KindNotFound)
	}
	_, err = s.Key(s.ctx(), "k2")
	s.kind(err, callbackd.KindNotFound)
	s.newKey("k2")
	s.must(s.RevokeKey(s.ctx(), "k2", s.at))
	s.must(s.RevokeKey(s.ctx(), "k2", s.at.Add(time.Hour)))
	s.kind(s.RevokeKey(s.ctx(), "k3", s.at), callbackd.KindNotFound)
	s.must(s.RotateKey(s.ctx(), "k1", "second", s.at.Add(time.Hour)))
	s.must(s.RotateKey(s.ctx(), "k1", "third", s.at.Add(2*time.Hour)))
	s.reopen()
	k, err = s.Key(s.ctx(), "k1")
	s.must(err)
	if k.Secret != "third" || k.OldSecret != "second" || !k.OldUntil.Equal(s.at.Add(2*time.Hour)) {
		s.Errorf("after two rotations: %q and %q until %v", k.Secret.Reveal(), k.OldSecret.Reveal(), k.OldUntil)
	}
	s.kind(s.RotateKey(s.ctx(), "k2", "x", s.at), callbackd.KindConflict)
	s.kind(s.RotateKey(s.ctx(), "k3", "x", s.at), callbackd.KindNotFound)
	const template = callbackd.CaptureTemplate("https://{account}.capture.example/{session_key}")
	s.must(s.SetCaptureURL(s.ctx(), "k1", template))
	s.kind(s.SetCaptureURL(s.ctx(), "k3", template), callbackd.KindNotFound)
	own, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: "k4", Secret: "s", CreatedAt: s.at, CaptureURL: template + "/own"})
	s.must(err)
	for range 2 {
		k, err = s.Key(s.ctx(), "k1") // the store that set it knows it at once
		s.must(err)
		same, err := s.KeyByID(s.ctx(), own.ID)
		if s.must(err); k.CaptureURL != template || k.Secret != "third" || same.CaptureURL != template+"/own" {
			s.Errorf("templates %q and %q", k.CaptureURL, same.CaptureURL)
		}
		s.reopen()
	}
	s.must(s.SetCaptureURL(s.ctx(), "k4", ""))
	if k, err = s.KeyByID(s.ctx(), own.ID); err != nil || k.CaptureURL != "" {
		s.Errorf("a template that was taken away is %q, %v", k.CaptureURL, err)
	}
	all, err := s.ListKeys(s.ctx())
	s.must(err)
	if len(all) != 3 || all[0].APIKey != "k1" || !all[1].RevokedAt.Equal(s.at) {
		s.Errorf("%+v", all)
	}
}

func (s *suite) callbacks() {
	cb := s.newCallback(s.key, ev2, "default")
	s.newCallback(s.key, ev1, "b")
	s.newCallback(s.key, ev1, "a")
	same, created, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev2, Name: "default", URL: "https://other.example/"}, s.at)
	s.must(err)
	if created || same.URL != "https://a.example/h" {
		s.Errorf("a second one: %v, %+v", created, same)
	}
	got, err := s.Callback(s.ctx(), s.key.ID, ev2, "default")
	s.must(err)
	if got.ID != cb.ID || got.Version != 1 || got.Method != "POST" || string(got.Payload) != `{"x":1}` || got.Policy.Rate != 2 || len(got.Policy.Retry) != 2 || !got.Policy.NoKeepAlive ||
		len(got.Headers) != 2 || got.Headers[0] != (callbackd.Header{Name: "X-B", Value: "header secret"}) || got.Secrets[0].Value != "first" || !got.CreatedAt.Equal(s.at) {
		s.Errorf("%+v", got)
	}
	page, err := s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: s.key.ID})
	s.must(err)
	var names []string
	for _, cb := range page.Callbacks {
		names = append(names, string(cb.Event)+" "+cb.Name)
	}
	if want := []string{string(ev1) + " a", string(ev1) + " b", string(ev2) + " default"}; !slices.Equal(names, want) {
		s.Errorf("listed %v, want %v", names, want)
	}
	for _, err := range []error{
		second(s.Callback(s.ctx(), s.key.ID, ev2, "none")), second(s.DeleteCallback(s.ctx(), s.key.ID, ev2, "none", s.at)),
		second(s.ReplaceCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev2, Name: "none"}, s.at)),
		second(s.PauseCallback(s.ctx(), s.key.ID, ev2, "none", callbackd.Pause{})), second(s.CallbackByID(s.ctx(), 99)),
		second(s.RotateSecret(s.ctx(), s.key.ID, ev2, "none", "x", s.at, s.at)), second(s.CallbackVersion(s.ctx(), cb.ID, 9)),
	} {
		s.kind(err, callbackd.KindNotFound)
	}
}

func second[T any](_ T, err error) error { return err }

func (s *suite) rotation() {
	s.newCallback(s.key, ev1, "default")
	cb, err := s.RotateSecret(s.ctx(), s.key.ID, ev1, "default", "second", s.at.Add(time.Hour), s.at)
	s.must(err)
	in := cb.SigningSecrets(s.at.Add(time.Minute))
	out := cb.SigningSecrets(s.at.Add(2 * time.Hour))
	if !slices.Equal(in, []callbackd.Secret{"second", "first"}) || !slices.Equal(out, []callbackd.Secret{"second"}) {
		s.Errorf("%d, then %d in force", len(in), len(out))
	}
	s.reopen()
	cb, err = s.RotateSecret(s.ctx(), s.key.ID, ev1, "default", "third", s.at.Add(5*time.Hour), s.at.Add(2*time.Hour))
	s.must(err)
	if got := cb.SigningSecrets(s.at.Add(3 * time.Hour)); !slices.Equal(got, []callbackd.Secret{"third", "second"}) || len(cb.Secrets) != 2 {
		s.Errorf("%d in force, %d kept", len(got), len(cb.Secrets))
	}
}

func (s *suite) replaceOtherHost() {
	cb := s.newCallback(s.key, ev1, "default")
	next := *cb
	next.URL, next.Payload, next.Headers, next.Secrets = "https://a.example/other", []byte("{}"), nil, []callbackd.SigningSecret{{Value: "new"}}
	got, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	if got.Version != 2 || got.Secrets[0].Value != "first" || len(got.Headers) != 0 {
		s.Errorf("same receiver: %+v", got)
	}
	for i, u := range []string{"http://a.example/other", "https://b.example/other", "https://a.example:8443/other"} {
		next.URL = u
		got, err = s.ReplaceCallback(s.ctx(), next, s.at)
		s.must(err)
		if got.Version != int64(3+i) || len(got.Secrets) != 1 || got.Secrets[0].Value != "new" {
			s.Errorf("%s: %+v", u, got)
		}
	}
	old, err := s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	if old.URL != "https://a.example/h" || len(old.Headers) != 2 || old.Version != 1 {
		s.Errorf("version 1 is %+v", old)
	}
	now, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	if now.Version != 5 || now.URL != next.URL {
		s.Errorf("by number: %+v", now)
	}
}

func (s *suite) accept() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	evs := s.publish(s.key, ev1, "S1", "S2", "S1")
	none := s.publish(s.key, ev2, "S1")
	if len(evs) != 3 || evs[2].Sequence != 2 || none[0].Sequence != 3 || len(none[0].Targets) != 0 || !slices.Equal(evs[0].Targets, []callbackd.CallbackID{a.ID, b.ID}) {
		s.Errorf("%+v %+v", evs, none[0])
	}
	for i := 1; i < len(evs); i++ {
		if evs[i].ID <= evs[i-1].ID {
			s.Error("ids do not grow")
		}
	}
	got, err := s.Event(s.ctx(), s.key.ID, evs[1].ID)
	s.must(err)
	if got.Session != "S2" || string(got.Data) != `{"i":1}` || got.Type != ev1 || got.Test || !got.ID.Time().Equal(s.at) {
		s.Errorf("%+v", got)
	}
	test, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: b.ID}}})
	s.must(err)
	if !test[0].Test || !slices.Equal(test[0].Targets, []callbackd.CallbackID{b.ID}) {
		s.Errorf("%+v", test[0])
	}
	if n, m := len(s.fresh(a.ID)), len(s.fresh(b.ID)); n != 3 || m != 4 {
		s.Errorf("%d and %d pending", n, m)
	}
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
			key := s.key
			if w%4 == 0 {
				key = other
			}
			for i := range each {
				session := fmt.Sprint("S", (w+i)%5)
				evs, err := s.Accept(s.ctx(), store.Batch{Key: key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: session, Data: []byte("{}")}}})
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				id := fmt.Sprint(key.ID, session)
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
				s.Fatalf("%s: sequence %d in place %d", id, seq, i+1)
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
			if d.ID.Event <= last || d.ID.Callback != cb.ID || d.Event == nil || d.Event.ID != d.ID.Event {
				s.Errorf("%+v after %d", d, last)
			}
			last = d.ID.Event
			n++
		}
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}")}}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || last < evs[0].ID {
				s.Errorf("answered before it was handed over: %v", err)
			}
		})
	}
	wg.Wait()
	if n != 50 {
		s.Errorf("%d handed over", n)
	}
}

func (s *suite) idempotency() {
	cb := s.newCallback(s.key, ev1, "default")
	b := store.Batch{Key: s.key.ID, At: s.at, Idempotency: "x", Digest: [32]byte{1}, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}")}, {Type: ev1, Session: "S", Data: []byte("{}"), Idempotency: "y"}}}
	first, err := s.Accept(s.ctx(), b)
	s.must(err)
	b.At = s.at.Add(time.Hour)
	again, err := s.Accept(s.ctx(), b)
	s.must(err)
	if len(again) != 2 || again[0].ID != first[0].ID || again[1].ID != first[1].ID || again[1].Sequence != 2 {
		s.Errorf("%+v", again)
	}
	b.Digest[0] = 2
	_, err = s.Accept(s.ctx(), b)
	s.kind(err, callbackd.KindConflict)
	one := store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}"), Idempotency: "y"}}}
	again, err = s.Accept(s.ctx(), one)
	s.must(err)
	if again[0].ID != first[1].ID {
		s.Errorf("%+v", again[0])
	}
	one.Events[0].Data = []byte(`{"other":1}`)
	_, err = s.Accept(s.ctx(), one)
	s.kind(err, callbackd.KindConflict)
	other := s.newKey("k2")
	one.Key = other.ID
	if again, err = s.Accept(s.ctx(), one); err != nil || again[0].ID == first[1].ID {
		s.Errorf("another key's: %v", err)
	}
	if n := len(s.fresh(cb.ID)); n != 2 {
		s.Errorf("%d pending", n)
	}
}

func (s *suite) idempotencyRace() {
	s.newCallback(s.key, ev1, "default")
	ids := make([]callbackd.EventID, 1000)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Idempotency: "x", Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}")}}})
			if err != nil {
				s.Error(err)
				return
			}
			ids[i] = evs[0].ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] {
		s.Errorf("events %s to %s for one idempotency key", ids[0], ids[len(ids)-1])
	}
}

// batch shows that an array with one conflict stores nothing, whoever shares
// its commit.
func (s *suite) batch() {
	cb := s.newCallback(s.key, ev1, "default")
	ok := store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}"), Idempotency: "x"}}}
	second(s.Accept(s.ctx(), ok))
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}")}, {Type: ev1, Session: "S", Data: []byte(`{"a":1}`), Idempotency: "x"}}})
			s.kind(err, callbackd.KindConflict)
		})
		wg.Go(func() { s.publish(s.key, ev1, "S") })
	}
	wg.Wait()
	ds := s.fresh(cb.ID)
	for i, d := range ds {
		if d.Sequence != int64(i+1) {
			s.Fatalf("sequence %d in place %d", d.Sequence, i+1)
		}
	}
	if len(ds) != 101 {
		s.Errorf("%d pending, want 101", len(ds))
	}
}

func (s *suite) record() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	due := s.at.Add(5 * time.Second)
	if got := s.outcome(d, callbackd.Pending, due, s.at.Add(time.Minute)); got != callbackd.Pending {
		s.Errorf("state %s", got)
	}
	v, err := s.Delivery(s.ctx(), s.key.ID, d.ID)
	s.must(err)
	if v.State != callbackd.Pending || v.Attempts != 1 || !v.Due.Equal(due) || len(v.History) != 1 {
		s.Errorf("%+v", v)
	}
	ds, next, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, due, 10)
	s.must(err)
	if len(ds) != 1 || !next.IsZero() || ds[0].Attempts != 1 || ds[0].Step != 1 || ds[0].FirstFailedAt.IsZero() || len(s.fresh(cb.ID)) != 0 {
		s.Errorf("%+v, %v", ds, next)
	}
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	v, err = s.Delivery(s.ctx(), s.key.ID, d.ID)
	s.must(err)
	want := result(ds[0], callbackd.Delivered, s.at, time.Time{}, time.Time{}).Attempt
	got := v.History[1]
	if v.State != callbackd.Delivered || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		s.Errorf("%s\n%+v\n%+v", v.State, got, want)
	}
}

func (s *suite) recordTwice() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	_, err := s.Record(s.ctx(), result(d, callbackd.Delivered, s.at, time.Time{}, time.Time{}))
	s.kind(err, callbackd.KindConflict)
	v, err := s.Delivery(s.ctx(), s.key.ID, d.ID)
	s.must(err)
	if len(v.History) != 1 {
		s.Errorf("%d attempts kept", len(v.History))
	}
}

func (s *suite) queue() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	for range 10 {
		s.publish(s.key, ev1, "S1", "S2")
	}
	nos, err := s.Backlogs(s.ctx())
	s.must(err)
	if !slices.Equal(nos, []callbackd.CallbackID{a.ID}) {
		s.Errorf("backlogs of %v", nos)
	}
	s.publish(s.key, ev2, "S1")
	if nos, err = s.Backlogs(s.ctx()); err != nil || !slices.Equal(nos, []callbackd.CallbackID{a.ID, b.ID}) {
		s.Errorf("backlogs of %v, %v", nos, err)
	}
	page, err := s.FirstAttempts(s.ctx(), a.ID, 0, 7)
	s.must(err)
	rest, err := s.FirstAttempts(s.ctx(), a.ID, page[6].ID.Event, 100)
	s.must(err)
	all := append(page, rest...)
	for i, d := range all {
		if d.Sequence != int64(i/2+1) || d.Attempts != 0 || d.Event == nil || d.Event.ID != d.ID.Event {
			s.Fatalf("place %d has %+v", i, d)
		}
	}
	lane, err := s.Lanes(s.ctx(), a.ID, []callbackd.LaneCursor{{Session: "S2", After: all[1].ID.Event}, {Session: "none"}, {Session: "S1"}}, 4)
	s.must(err)
	if len(all) != 20 || len(lane) != 8 || lane[0].Sequence != 2 || lane[3].Session != "S2" || lane[4].Session != "S1" || lane[7].Sequence != 4 || lane[7].Event == nil {
		s.Errorf("%d fresh, lane %+v", len(all), lane)
	}
	picked, err := s.FirstAttemptsByID(s.ctx(), []callbackd.DeliveryID{all[5].ID, {Event: 1, Callback: a.ID}, all[2].ID, {Event: all[2].ID.Event, Callback: b.ID}})
	s.must(err)
	if len(picked) != 2 || picked[0].ID != all[5].ID || picked[1].ID != all[2].ID || picked[1].Event == nil || picked[1].Sequence != all[2].Sequence {
		s.Errorf("picked %+v", picked)
	}
	for i, d := range all[:6] {
		hold := time.Time{}
		if i%2 == 0 {
			hold = s.at.Add(time.Duration(10-i) * time.Minute)
		}
		s.outcome(d, callbackd.Pending, s.at.Add(time.Duration(6-i)*time.Second), hold)
	}
	if picked, err = s.FirstAttemptsByID(s.ctx(), []callbackd.DeliveryID{all[0].ID, all[6].ID}); err != nil || len(picked) != 1 || picked[0].ID != all[6].ID {
		s.Errorf("what waits for its next attempt is not fresh: %+v, %v", picked, err)
	}
	ds, next, err := s.Due(s.ctx(), callbackd.DueRetries, a.ID, s.at.Add(4*time.Second), 3)
	s.must(err)
	if len(ds) != 3 || ds[0].ID != all[5].ID || !next.Equal(s.at.Add(4*time.Second)) {
		s.Errorf("%+v, next %v", ds, next)
	}
	if ds, next, err = s.Due(s.ctx(), callbackd.DueRetries, a.ID, s.at, 3); err != nil || len(ds) != 0 || !next.Equal(s.at.Add(time.Second)) {
		s.Errorf("%+v, next %v, %v", ds, next, err)
	}
	held, err := s.Blocked(s.ctx(), a.ID, s.at.Add(7*time.Minute), 10)
	s.must(err)
	if len(held) != 2 || held[0].ID != all[2].ID || held[1].ID != all[0].ID {
		s.Errorf("held %+v", held)
	}
}

func (s *suite) deleteCallback() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C", "D")
	flying := s.fresh(cb.ID)[0]
	deleted, err := s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)
	s.must(err)
	if !deleted.Deleted() || len(s.fresh(cb.ID)) != 0 {
		s.Error("a deleted callback is still owed")
	}
	if nos, err := s.Backlogs(s.ctx()); err != nil || len(nos) != 0 {
		s.Errorf("backlogs of %v, %v", nos, err)
	}
	s.balanced()
	if got := s.outcome(flying, callbackd.Delivered, time.Time{}, time.Time{}); got != callbackd.Delivered {
		s.Errorf("an attempt in flight that succeeds ends %s", got)
	}
	if n, err := s.FinalizeCanceled(s.ctx(), s.at, 2); err != nil || n != 2 {
		s.Errorf("settled %d, %v", n, err)
	}
	s.balanced()
	if n, err := s.FinalizeCanceled(s.ctx(), s.at, 2); err != nil || n != 1 {
		s.Errorf("settled %d, %v", n, err)
	}
	if n, err := s.FinalizeCanceled(s.ctx(), s.at, 2); err != nil || n != 0 {
		s.Errorf("settled %d, %v", n, err)
	}
	page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: callbackd.Canceled, Limit: 10})
	s.must(err)
	if len(page.Deliveries) != 3 || page.Deliveries[0].Attempts != 0 || page.Deliveries[2].Attempts != 0 {
		s.Errorf("%+v", page)
	}
	again := s.newCallback(s.key, ev1, "default")
	if evs := s.publish(s.key, ev1, "A"); !slices.Equal(evs[0].Targets, []callbackd.CallbackID{again.ID}) || again.ID == cb.ID {
		s.Errorf("owed to %v", evs[0].Targets)
	}
	_, err = s.RetryDelivery(s.ctx(), s.key.ID, flying.ID, s.at)
	s.kind(err, callbackd.KindConflict)
}

func (s *suite) revoke() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B")
	s.must(s.RevokeKey(s.ctx(), s.key.APIKey, s.at))
	if ds := s.fresh(cb.ID); len(ds) != 0 {
		s.Errorf("%d owed after the revocation", len(ds))
	}
	if got, err := s.CallbackByID(s.ctx(), cb.ID); err != nil || !got.Deleted() || got.URL != cb.URL {
		s.Errorf("the callback of a revoked key: %+v, %v", got, err)
	}
	if got, err := s.CallbackVersion(s.ctx(), cb.ID, 1); err != nil || !got.Deleted() {
		s.Errorf("a version of the callback of a revoked key: %+v, %v", got, err)
	}
	s.balanced()
	if n, err := s.FinalizeCanceled(s.ctx(), s.at, 10); err != nil || n != 2 {
		s.Errorf("settled %d, %v", n, err)
	}
}

func (s *suite) retry() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S", "S")
	ds := s.fresh(cb.ID)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Hour), s.at.Add(time.Hour))
	for i, d := range ds {
		got, err := s.RetryDelivery(s.ctx(), s.key.ID, d.ID, s.at)
		s.must(err)
		if !got.Manual || !got.Due.Equal(s.at) || got.Attempts != 1 || got.Step != 0 || !got.HoldsUntil.IsZero() || got.Session != "S" || got.Sequence != int64(i+1) {
			s.Errorf("%+v", got)
		}
	}
	s.balanced()
	due, _, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, s.at, 10)
	s.must(err)
	for _, d := range due {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	r, err := s.Check(s.ctx())
	s.must(err)
	if len(due) != 2 || r.Callbacks[0].Repeats != 1 || r.Callbacks[0].Delivered != 2 {
		s.Errorf("%d due, %+v", len(due), r.Callbacks[0])
	}
	// A test that is sent again is a test still.
	evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: cb.ID}}})
	s.must(err)
	test := callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}, Session: "T", Sequence: 1, Test: true}
	s.outcome(test, callbackd.Failed, time.Time{}, time.Time{})
	got, err := s.RetryDelivery(s.ctx(), s.key.ID, test.ID, s.at)
	s.must(err)
	if !got.Test {
		s.Errorf("a test became real: %+v", got)
	}
	_, err = s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)
	s.must(err)
	_, err = s.RetryDelivery(s.ctx(), s.key.ID, ds[0].ID, s.at)
	s.kind(err, callbackd.KindConflict)
}

func (s *suite) lists() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	start := s.at
	var evs []*callbackd.Event
	for i := range 30 {
		s.at = start.Add(time.Duration(i) * time.Second)
		evs = append(evs, s.publish(s.key, ev1, fmt.Sprint("S", i%3))...)
	}
	other := s.newKey("k2")
	s.publish(other, ev1, "S0")
	var got []callbackd.EventID
	q := store.EventQuery{Key: s.key.ID, Limit: 7}
	for {
		page, err := s.ListEvents(s.ctx(), q)
		s.must(err)
		for _, ev := range page.Events {
			got = append(got, ev.ID)
		}
		if page.Next == 0 {
			break
		}
		q.After = page.Next
		s.publish(s.key, ev1, "S9") // newer ones must not shift the pages
	}
	if len(got) != 30 || got[0] != evs[29].ID || got[29] != evs[0].ID {
		s.Errorf("%d events", len(got))
	}
	page, err := s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Session: "S1", Since: start.Add(4 * time.Second), Until: start.Add(10 * time.Second), Limit: 50})
	s.must(err)
	if len(page.Events) != 2 || page.Events[0].ID != evs[7].ID || page.Events[1].ID != evs[4].ID {
		s.Errorf("%+v", page.Events)
	}
	var ids []callbackd.DeliveryID
	dq := store.DeliveryQuery{Key: s.key.ID, Session: "S0", Limit: 3}
	for {
		page, err := s.ListDeliveries(s.ctx(), dq)
		s.must(err)
		for _, d := range page.Deliveries {
			ids = append(ids, d.ID)
		}
		if page.Next == (callbackd.DeliveryID{}) {
			break
		}
		dq.After = page.Next
	}
	if len(ids) != 20 || ids[0] != (callbackd.DeliveryID{Event: evs[27].ID, Callback: b.ID}) || ids[1] != (callbackd.DeliveryID{Event: evs[27].ID, Callback: a.ID}) {
		s.Errorf("%v", ids)
	}
}

func (s *suite) listsByState() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	want := map[callbackd.State][]callbackd.DeliveryID{}
	for i := range 300 {
		s.publish(s.key, ev1, fmt.Sprint("S", i%7))
	}
	for _, cb := range []*callbackd.Callback{a, b} {
		for i, d := range s.fresh(cb.ID) {
			state := []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Pending}[i%3]
			if state != callbackd.Pending {
				s.outcome(d, state, time.Time{}, time.Time{})
			}
			want[state] = append(want[state], d.ID)
		}
	}
	for state, ids := range want {
		got := map[callbackd.DeliveryID]int{}
		q := store.DeliveryQuery{Key: s.key.ID, State: state, Limit: 17}
		var last callbackd.DeliveryID
		for {
			page, err := s.ListDeliveries(s.ctx(), q)
			s.must(err)
			for _, d := range page.Deliveries {
				if got[d.ID]++; d.State != state || last.Event != 0 && last.Event < d.ID.Event {
					s.Fatalf("%s after %s in the list of %s", d.ID, last, state)
				}
				last = d.ID
			}
			if page.Next == (callbackd.DeliveryID{}) {
				break
			}
			q.After = page.Next
		}
		for _, id := range ids {
			if got[id] != 1 {
				s.Fatalf("%s is listed %d times as %s", id, got[id], state)
			}
		}
		if len(got) != len(ids) {
			s.Errorf("%d listed as %s, want %d", len(got), state, len(ids))
		}
	}
}

func (s *suite) sweep() {
	cb := s.newCallback(s.key, ev1, "default")
	old := s.publish(s.key, ev1, "A", "B", "C")
	second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Idempotency: "x", Events: []store.NewEvent{{Type: ev2, Session: "A", Data: []byte("{}")}}}))
	s.at = s.at.Add(time.Hour)
	young := s.publish(s.key, ev1, "A")
	for _, d := range s.fresh(cb.ID) {
		if d.Session != "B" {
			s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
		}
	}
	removed, after := 0, callbackd.EventID(0)
	for done := false; !done; {
		var n int
		var err error
		after, n, done, err = s.Sweep(s.ctx(), s.at.Add(-time.Minute), after, 2)
		s.must(err)
		removed += n
	}
	if removed != 3 {
		s.Errorf("%d removed, want 3", removed)
	}
	for _, id := range []callbackd.EventID{old[0].ID, old[2].ID} {
		s.kind(second(s.Event(s.ctx(), s.key.ID, id)), callbackd.KindNotFound)
	}
	for _, id := range []callbackd.EventID{old[1].ID, young[0].ID} {
		s.must(second(s.Event(s.ctx(), s.key.ID, id)))
	}
	if evs := s.publish(s.key, ev1, "A"); evs[0].Sequence != 4 {
		s.Errorf("the sequence goes on with %d", evs[0].Sequence)
	}
}

func (s *suite) restart() {
	cb := s.newCallback(s.key, ev1, "default")
	evs := s.publish(s.key, ev1, "S", "S")
	s.outcome(s.fresh(cb.ID)[0], callbackd.Pending, s.at.Add(time.Minute), s.at.Add(time.Hour))
	s.reopen()
	next := s.publish(s.key, ev1, "S")
	if next[0].Sequence != 3 || next[0].ID <= evs[1].ID {
		s.Errorf("%+v", next[0])
	}
	ds, _, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, s.at.Add(time.Hour), 10)
	s.must(err)
	if len(s.fresh(cb.ID)) != 2 || len(ds) != 1 || ds[0].Attempts != 1 || !ds[0].HoldsUntil.Equal(s.at.Add(time.Hour)) {
		s.Errorf("%+v", ds)
	}
}

func (s *suite) otherKeys() {
	s.newCallback(s.key, ev1, "default")
	ev := s.publish(s.key, ev1, "S")[0]
	id := callbackd.DeliveryID{Event: ev.ID, Callback: ev.Targets[0]}
	other := s.newKey("k2")
	for _, err := range []error{
		second(s.Event(s.ctx(), other.ID, ev.ID)), second(s.Delivery(s.ctx(), other.ID, id)), second(s.RetryDelivery(s.ctx(), other.ID, id, s.at)),
		second(s.Callback(s.ctx(), other.ID, ev1, "default")), second(s.DeleteCallback(s.ctx(), other.ID, ev1, "default", s.at)),
	} {
		s.kind(err, callbackd.KindNotFound)
	}
	evs, err := s.ListEvents(s.ctx(), store.EventQuery{Key: other.ID, Session: "S", Limit: 10})
	s.must(err)
	for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed} {
		page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: other.ID, Callback: id.Callback, State: state, Limit: 10})
		s.must(err)
		if len(page.Deliveries) != 0 || len(evs.Events) != 0 {
			s.Errorf("%+v", page)
		}
	}
}
