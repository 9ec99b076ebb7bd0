package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// A cancellation goes on after kill -9 where it was. Nothing that it canceled is sent.
func TestACancellationSurvivesKillNine(t *testing.T) {
	t.Parallel()
	const n = 2000
	sk := newSink(t)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	hook(t, cl, sk.URL, event)
	callback := "/v1/callbacks/" + event
	if err := cl.Do(t.Context(), "POST", callback+"/pause", nil, nil); err != nil {
		t.Fatal(err)
	}
	for i := range n / 500 {
		var b []client.NewEvent
		for j := range 500 {
			b = append(b, client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i, "-", j), Data: map[string]int{"i": i}})
		}
		if err := cl.Do(t.Context(), "POST", "/v1/events", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	says(t, callAs(cl, "deliveries", "cancel", "--all", "--dry-run"), "2,000 deliveries would be canceled\n")
	var r wire.Replay
	if err := json.Unmarshal([]byte(says(t, callAs(cl, "deliveries", "cancel", "--event", event, "--rate", "1000", "--reason", "a drill", "--json"))), &r); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{n / 8, n / 2} {
		r = awaitReplay(t, cl, r.ID, func(r wire.Replay) bool { return r.Canceled >= at })
		srv.kill()
		srv = serve(t, dir)
		cl.Base = srv.url
	}
	r = awaitReplay(t, cl, r.ID, func(r wire.Replay) bool { return r.State == "done" })
	if r.Canceled != n || r.Skipped != 0 || r.Reason != "a drill" {
		t.Errorf("the cancellation ended as %+v, want %d canceled", r, n)
	}
	if err := cl.Do(t.Context(), "POST", callback+"/resume", nil, nil); err != nil {
		t.Fatal(err)
	}
	last, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "LAST"})
	if err != nil {
		t.Fatal(err)
	}
	sk.await(t, "the next event", func() bool { return len(sk.ids) > 0 })
	sk.await(t, "nothing but the event that was accepted last", func() bool { return len(sk.ids) == 1 && sk.ids[last.ID] == 1 })
	says(t, callAs(cl, "replay", "show", r.ID), "2,000 of 2,000 canceled, 0 skipped\n")
	srv.term(t)
	fsck(t, dir)
}

// awaitReplay reads a replay until it is as f wants.
func awaitReplay(t *testing.T, cl *client.Client, id string, f func(wire.Replay) bool) (r wire.Replay) {
	t.Helper()
	eventually(t, "the replay", func() bool {
		var err error
		r, err = cl.Replay(t.Context(), id)
		return err == nil && f(r)
	})
	return r
}
