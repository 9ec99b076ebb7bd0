package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

func config(dir string) Config {
	return Config{Listen: "127.0.0.1:0", StoreConfig: StoreConfig{Data: dir}, Log: slog.New(slog.DiscardHandler), AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Retention: time.Hour}
}

// filled makes a data directory whose events were accepted long ago: n whose
// deliveries have ended, and ten that wait for a receiver that is paused.
func filled(t *testing.T, dir, receiver string, n int) *client.Client {
	t.Helper()
	ctx := t.Context()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	callback := func(ev callbackd.EventType) *callbackd.Callback {
		cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: ev, Name: "default", URL: receiver, Method: "POST", Payload: []byte("{}"),
			Secrets: []callbackd.SigningSecret{{Value: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return cb
	}
	live := callback(callbackd.StatusChange)
	callback(callbackd.Complete)
	if _, err := s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now()})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	accept := func(ev callbackd.EventType, n int) []*callbackd.Event {
		b := store.Batch{Key: k.ID, At: time.Now().Add(-48 * time.Hour)}
		for i := range n {
			b.Events = append(b.Events, store.NewEvent{Type: ev, Session: fmt.Sprint("old", i), Data: []byte("{}")})
		}
		evs, err := s.Accept(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		return evs
	}
	accept(callbackd.Complete, 10)
	var work sync.WaitGroup
	for _, ev := range accept(callbackd.StatusChange, n) {
		work.Go(func() {
			_, err := s.Record(ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: live.ID}},
				Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200}, Decision: callbackd.Decision{State: callbackd.Delivered}}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	return &client.Client{Account: "a", APIKey: "k", APISecret: "s"}
}

// balance is what a store has of its events and deliveries.
type balance struct{ events, delivered, pending int64 }

func balanceOf(t *testing.T, s store.Store) (b balance) {
	t.Helper()
	r, err := s.Check(t.Context())
	if err != nil || r.FaultN > 0 {
		t.Fatalf("fsck: %v, %v; want no faults", r.Faults, err)
	}
	for _, c := range r.Callbacks {
		b.delivered += c.Delivered
		b.pending += c.Pending
	}
	b.events = r.Events
	return b
}

// Events that ended before the retention are removed step by step while
// deliveries go on. Pending events stay, and so do new ones.
func TestRetentionRunsBesideDeliveries(t *testing.T) {
	const old, fresh = 5 * stepSize, 100
	arrived := make(chan struct{}, fresh)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{} }))
	defer receiver.Close()
	dir := t.TempDir()
	cl := filled(t, dir, receiver.URL, old)
	a, err := Start(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	cl.Base = a.URL()
	for i := range fresh {
		if _, err := cl.Publish(t.Context(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: fmt.Sprint("new", i%5)}); err != nil {
			t.Fatal(err)
		}
	}
	for range fresh {
		<-arrived
	}
	// In each session with a pending event the newest one stays too: it has the last number.
	want := balance{events: fresh + 10 + 10, delivered: fresh + 10, pending: 10}
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := balanceOf(t, a.store); got != want; got = balanceOf(t, a.store) {
		if !pause(deadline, 20*time.Millisecond) {
			t.Fatalf("the store has %+v, want %+v: of the old events the pending and the newest of their sessions", got, want)
		}
	}
	list, err := cl.Deliveries(t.Context(), url.Values{"state": {"pending"}, "limit": {"200"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.Data); n != 10 {
		t.Errorf("%d pending deliveries are listed, want 10", n)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
