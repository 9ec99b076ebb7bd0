package simulate_test

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
	"callbackd/internal/simulate"
	"callbackd/internal/store/sqlite"

	"github.com/google/go-cmp/cmp"
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
	wantStatuses(t, r, o.Sessions)
	wantEvents(t, r, o.Sessions)
	equal(t, "calls of progress", len(played), o.Sessions)
	again, err := simulate.Run(t.Context(), cl, o)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the events of the same seed", again.Events, r.Events)
	equal(t, "the statuses of the same seed", again.Statuses, r.Statuses)
}

// equal fails the test unless got is what is wanted of the named thing.
func equal(t *testing.T, name string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// wantStatuses checks where the sessions of a run ended: each was completed, found
// invalid or abandoned.
func wantStatuses(t *testing.T, r *simulate.Result, sessions int) {
	t.Helper()
	sum := 0
	for _, n := range r.Statuses {
		sum += n
	}
	equal(t, "all sessions", sum, sessions)
	waiting := r.Statuses[callbackd.StatusIdle] + r.Statuses[callbackd.StatusStarted] + r.Statuses[callbackd.StatusProcess]
	invalid := r.Statuses[callbackd.StatusInvalid]
	equal(t, "the abandoned sessions", r.Abandoned, waiting)
	equal(t, "the completed sessions", r.Statuses[callbackd.StatusComplete], sessions-waiting-invalid)
	if waiting == 0 || invalid == 0 {
		t.Errorf("%d sessions were abandoned and %d are invalid, want some of each", waiting, invalid)
	}
}

// wantEvents checks what a run fired, and that the callbacks got what they are for.
func wantEvents(t *testing.T, r *simulate.Result, sessions int) {
	t.Helper()
	equal(t, "the events COMPLETE", r.Events[callbackd.Complete], r.Statuses[callbackd.StatusComplete])
	if r.Events[callbackd.NoteInsert] == 0 {
		t.Error("no note was inserted, want some")
	}
	if n := r.Events[callbackd.SMSProcess]; n <= sessions {
		t.Errorf("%d events about SMS, want more than one for each of %d sessions", n, sessions)
	}
	deliveries := r.Events[callbackd.Complete] + r.Events[callbackd.StatusChange]
	equal(t, "the deliveries", r.Deliveries, map[callbackd.State]int{callbackd.Delivered: deliveries})
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
		if took < 3*time.Minute || took > 20*time.Minute {
			t.Errorf("seed %d: it takes %v, want 3 to 20 minutes", seed, took)
		}
		if p.Arrives < 0 || p.Arrives > 10*time.Minute {
			t.Errorf("seed %d: it arrives after %v, want 0 to 10 minutes", seed, p.Arrives)
		}
		if len(p.Steps) < 16 {
			t.Errorf("seed %d: %d steps, want 16 or more", seed, len(p.Steps))
		}
		if p.Abandoned {
			t.Errorf("seed %d: it is abandoned, with odds of 0", seed)
		}
	}
}
