package simulate_test

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
	"callbackd/internal/simulate"
	"callbackd/internal/store/sqlite"
)

// serve runs the whole product with one key.
func serve(t *testing.T) *client.Client {
	t.Helper()
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "acme", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), app.Config{Listen: "127.0.0.1:0", StoreConfig: app.StoreConfig{Data: dir}, Log: slog.New(slog.DiscardHandler), Retention: time.Hour, AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{MaxConnsPerHost: 16, MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &client.Client{Base: a.URL(), Account: k.Account, APIKey: k.APIKey, APISecret: k.Secret.Reveal(), HTTP: &http.Client{Transport: transport}}
}

// What was planned is what the API tells, and what was fired was delivered.
func TestRun(t *testing.T) {
	cl := serve(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer receiver.Close()
	for _, ev := range []callbackd.EventType{callbackd.Complete, callbackd.StatusChange} {
		if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: string(ev), URL: receiver.URL}); err != nil {
			t.Fatal(err)
		}
	}
	o := simulate.Options{Sessions: 40, Seed: 3, Odds: simulate.Odds{Reject: 0.2, Expire: 0.2, Invalid: 0.2}}
	played := make(chan int, 2*o.Sessions)
	o.Progress = func(n, _ int) { played <- n }
	r, err := simulate.Run(t.Context(), cl, o)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range r.Statuses {
		sum += n
	}
	waiting := r.Statuses[callbackd.StatusIdle] + r.Statuses[callbackd.StatusStarted] + r.Statuses[callbackd.StatusProcess]
	if sum != o.Sessions || waiting != r.Abandoned || r.Abandoned == 0 || r.Statuses[callbackd.StatusInvalid] == 0 || r.Statuses[callbackd.StatusComplete] != o.Sessions-waiting-r.Statuses[callbackd.StatusInvalid] {
		t.Errorf("%+v", r)
	}
	owed := r.Events[callbackd.Complete] + r.Events[callbackd.StatusChange]
	if r.Events[callbackd.Complete] != r.Statuses[callbackd.StatusComplete] || r.Events[callbackd.NoteInsert] == 0 || r.Events[callbackd.SMSProcess] <= o.Sessions ||
		r.Deliveries[callbackd.Delivered] != owed || len(r.Deliveries) != 1 || len(played) != o.Sessions {
		t.Errorf("%d owed, %d calls of progress, %+v", owed, len(played), r)
	}
	again, err := simulate.Run(t.Context(), cl, o)
	if err != nil || !reflect.DeepEqual(again.Events, r.Events) || !reflect.DeepEqual(again.Statuses, r.Statuses) {
		t.Errorf("the same seed gives %+v, %v", again, err)
	}
}

func TestRunEndsWithTheFirstFailure(t *testing.T) {
	cl := serve(t)
	cl.APISecret = "wrong"
	_, err := simulate.Run(t.Context(), cl, simulate.Options{Sessions: 5})
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 401 {
		t.Errorf("got %v", err)
	}
}

// An inspection takes minutes, its photos come in capture order, and it
// arrives within the window.
func TestPlansAreRealistic(t *testing.T) {
	for seed := range uint64(200) {
		p := simulate.New(rand.New(rand.NewPCG(seed, 0)), int(seed), simulate.Odds{Reject: 0.1})
		var took time.Duration
		for _, s := range p.Steps {
			took += s.Wait
		}
		if took < 3*time.Minute || took > 20*time.Minute || p.Arrives < 0 || p.Arrives > 10*time.Minute || p.Abandoned || len(p.Steps) < 16 {
			t.Fatalf("seed %d: %v in %d steps, arrives after %v", seed, took, len(p.Steps), p.Arrives)
		}
	}
}
