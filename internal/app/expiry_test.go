package app

import (
	"context"
	"net/url"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
)

// Deliveries expire while nothing is sent: their callback is paused, and the server was
// stopped.
func TestDeliveriesExpireWhileTheirCallbackIsPaused(t *testing.T) {
	dir := t.TempDir()
	cl := filled(t, dir, "http://127.0.0.1:9/", 0)
	expired := func(want int) {
		t.Helper()
		a, err := Start(t.Context(), config(dir))
		if err != nil {
			t.Fatal(err)
		}
		cl.Base = a.URL()
		for _, expiresAt := range []time.Time{time.Now().Add(time.Millisecond), time.Now().Add(time.Hour)} {
			if _, err := cl.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S", ExpiresAt: expiresAt}); err != nil {
				t.Fatal(err)
			}
		}
		deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for got := -1; got != want; {
			list, err := cl.Deliveries(t.Context(), url.Values{"state": {"expired"}, "limit": {"200"}})
			if err != nil {
				t.Fatal(err)
			}
			if got = len(list.Data); got != want && !pause(deadline, 20*time.Millisecond) {
				t.Fatalf("%d deliveries have expired, want %d", got, want)
			}
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	expired(1)
	expired(2)
}
