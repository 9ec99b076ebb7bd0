// Package storetest is the suite that every driver of the store must pass: each test
// checks one statement of the contract.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Open opens the store that dir names; a second call with the same dir, after
// Close, opens the same store again.
type Open func(t *testing.T, dir string) store.Store

// Run runs the suite. Each case has a store of its own, and ends with a check that every
// delivery is in exactly one state. Cases run in parallel, because they mostly wait for the
// disk.
func Run(t *testing.T, open Open) {
	tests := map[string]func(*suite){}
	for _, cases := range []map[string]func(*suite){
		keyTests, keyLimitTests, callbackTests, sessionCallbackTests, acceptTests, filterTests, onceTests, recordTests, queueTests, endTests, cancelTests, expiryTests, listTests, sweepTests, forgetTests,
		replayTests, replayTargetTests, catchUpTests, healthTests, makeDueTests, errorTests,
		logTests, statsTests, figuresTests, sessionTests, sessionEventTests, sessionListTests, sessionExpiryTests, clockTests, allKeysTests, tokenTests, auditTests, incidentTests, eraseTests, traceTests, eventTypeTests,
	} {
		maps.Copy(tests, cases)
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// equal compares what a case got with what it wants. An empty list equals none.
func (s *suite) equal(what string, got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("%s: -want +got\n%s", what, diff)
	}
}

// deliveryIDs returns the ids of deliveries, in their order.
func deliveryIDs(ds []callbackd.Delivery) (ids []callbackd.DeliveryID) {
	for _, d := range ds {
		ids = append(ids, d.ID)
	}
	return ids
}

func second[T any](_ T, err error) error { return err }

func (s *suite) kind(err error, want callbackd.Kind) {
	s.Helper()
	var e *callbackd.Error
	if !errors.As(err, &e) || e.Kind != want {
		s.Errorf("the error is %v; want kind %d", err, want)
	}
}

func (s *suite) reopen() {
	s.Helper()
	s.must(s.Store.Close())
	s.Store = s.open(s.T, s.dir)
}

// balanced checks that every delivery that a test left is in exactly one state.
func (s *suite) balanced() {
	s.Helper()
	r, err := s.Check(s.ctx())
	s.must(err)
	s.equal("faults that fsck found", r.Faults, []string(nil))
	for _, b := range r.Callbacks {
		if !b.Balanced() {
			s.Errorf("callback %d: not every accepted delivery is in one of the states: %+v", b.Callback.ID, b)
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

func (s *suite) fresh(cb callbackd.CallbackID) []callbackd.Delivery {
	s.Helper()
	ds, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb, Limit: 1000})
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

func result(d callbackd.Delivery, state callbackd.State, at, due, holds time.Time) *callbackd.Outcome {
	r := callbackd.Result{StartedAt: at.UTC(), Timings: callbackd.Timings{DNS: 1000, Connect: 2000, TLS: 3000, FirstByte: 4000, Total: 5000},
		Address: "192.0.2.1:443", Reused: true, Status: 200, RetryAfter: "7", Location: "/x", Headers: "A: b\n", Body: []byte("ok\x00\xff"), BodySize: 4, Truncated: true}
	if state != callbackd.Delivered {
		r.Status, r.Fault, r.Error = 500, callbackd.FaultStatus, "the receiver answered 500"
	}
	return &callbackd.Outcome{Delivery: d, Attempt: callbackd.Attempt{Number: d.Attempts + 1, Version: 1, Result: r,
		Decision: callbackd.Decision{State: state, Step: d.Step + 1, Due: due, HoldsUntil: holds, Why: "because"}}}
}
