package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"
)

// trigger publishes marked tests that arrive as real events do, and its exit code says
// whether they did.
func TestTrigger(t *testing.T) {
	t.Parallel()
	const event = "SESSION:COMPLETE"
	var status atomic.Int64
	status.Store(200)
	receiver, got := program(t, func() int { return int(status.Load()) })
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	next := func() received {
		t.Helper()
		select {
		case r := <-got:
			return r
		case <-time.After(time.Minute):
			t.Fatal("no request came within a minute")
			return received{}
		}
	}

	out, errs, code := everyday(t, cl, "trigger", event, "--wait")
	wantExit(t, "trigger without a callback", code, 1, out+errs, "0 callbacks", "no callback is registered for it")
	for _, e := range []string{event, "SESSION:STATUS_CHANGE", "SESSION:STAGE_CHANGE", "SESSION:NOTE_INSERT", "SESSION:SMS_PROCESS", "SESSION:SMS_REQUESTED"} {
		if err := cl.Do(t.Context(), "POST", "/v1/callbacks", map[string]any{"event": e, "url": receiver, "policy": map[string]any{"order_group": "all"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, code = everyday(t, cl, "trigger", event, "--set", "vehicle.vin=WVWZZZ1JZXW000001", "--session", "ACM-0000000001", "--wait")
	wantExit(t, "trigger --wait", code, 0, out+errs, "session ACM-0000000001 #1  test, 1 callback", "delivered  SESSION:COMPLETE #1  callback default")
	r := next()
	var body struct {
		SessionKey string `json:"session_key"`
		Test       bool   `json:"test"`
		Vehicle    struct{ VIN string }
		Photos     []any
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("callback-test") != "true" || !body.Test || body.SessionKey != "ACM-0000000001" || body.Vehicle.VIN != "WVWZZZ1JZXW000001" || len(body.Photos) == 0 {
		t.Errorf("callback-test %q and the body %s", r.header.Get("callback-test"), r.body)
	}
	if strings.Contains(r.body, "TST-0000000000") {
		t.Errorf("the body has the session of the samples: %s", r.body)
	}

	var all wire.Triggered
	asJSON(t, cl, &all, "trigger", "inspection", "--wait")
	if len(all.Events) < 15 || len(all.Deliveries) != len(all.Events) || !strings.HasPrefix(all.Events[0].SessionKey, "TST-") {
		t.Fatalf("an inspection has %d events, %d deliveries: %+v", len(all.Events), len(all.Deliveries), all.Events)
	}
	for i, ev := range all.Events { // across callbacks, because of the order group
		if r := next(); r.header.Get("webhook-id") != ev.ID {
			t.Errorf("request %d is of %s, want %s, %s", i+1, r.header.Get("webhook-id"), ev.ID, ev.Event)
		}
		if d := all.Deliveries[i]; d.EventID != ev.ID || !d.Test || d.State != "delivered" {
			t.Errorf("delivery %d is %+v", i+1, d)
		}
	}

	status.Store(500)
	out, errs, code = everyday(t, cl, "trigger", event, "--wait")
	wantExit(t, "trigger at a receiver that fails", code, 1, out+errs, "failed  SESSION:COMPLETE", "answered 500")
	next()
	out, errs, code = everyday(t, cl, "trigger", event)
	wantExit(t, "trigger without --wait", code, 0, out+errs, "to follow: callbackd deliveries list --session TST-", "callbackd deliveries explain dlv_")
	next()
	if err := cl.Do(t.Context(), "PUT", "/v1/callbacks/"+event, map[string]any{"url": receiver, "policy": map[string]any{"filter": map[string]any{"data.vehicle.year": map[string]any{"lt": 2000}}}}, nil); err != nil {
		t.Fatal(err)
	}
	out, errs, code = everyday(t, cl, "trigger", event)
	wantExit(t, "trigger that a filter withholds", code, 0, out+errs, "0 callbacks", "its filter needs data.vehicle.year lt 2000")
	_, errs, code = everyday(t, cl, "trigger", event, "--set", "vehicle.vim=1")
	wantExit(t, "trigger with an unknown member", code, 78, errs, "there is vehicle.id, vehicle.vin")
	_, errs, code = everyday(t, &client.Client{Base: cl.Base}, "trigger", event)
	wantExit(t, "trigger without a key", code, 78, errs, "CALLBACKD_KEY")
}

// trigger publishes the sample of a type that only the server knows, and the Tab key finds it.
func TestTriggerOfAPlatformsOwnType(t *testing.T) {
	t.Parallel()
	types := t.TempDir()
	arrived := `{"name":"VEHICLE:ARRIVED","description":"A vehicle came to a yard.","schema":{"properties":{"vin":{"type":"string"},"yard":{"type":"string"}},"required":["vin"]},"sample":{"vin":"A","yard":"North"}}`
	if err := os.WriteFile(filepath.Join(types, "arrived.json"), []byte(arrived), 0o600); err != nil {
		t.Fatal(err)
	}
	receiver, got := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir, "--event-types", types, "--validate", "refuse")
	cl := newClient(t, dir)
	cl.Base = srv.url
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: "VEHICLE:ARRIVED", URL: receiver}); err != nil {
		t.Fatal(err)
	}
	out, errs, code := everyday(t, cl, "trigger", "VEHICLE:ARRIVED", "--set", "yard=South", "--wait")
	wantExit(t, "trigger of an own type", code, 0, out+errs, "VEHICLE:ARRIVED  session TST-", "delivered  VEHICLE:ARRIVED #1")
	r := <-got
	var body map[string]any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("callback-test") != "true" || body["event"] != "VEHICLE:ARRIVED" || body["vin"] != "A" || body["yard"] != "South" || body["test"] != true || len(body) != 5 {
		t.Errorf("callback-test %q and the body %s", r.header.Get("callback-test"), r.body)
	}
	out, errs, code = everyday(t, cl, "trigger", "VEHICLE:LEFT")
	wantExit(t, "trigger of a type that the server does not have", code, 1, out+errs, "VEHICLE:LEFT")
	out, errs, code = everyday(t, cl, "trigger", "VEHICLE:ARRIVED", "--set", "vin=7")
	wantExit(t, "trigger of data that does not fit", code, 1, out+errs, "/vin")

	out, errs, code = runCmd(t, withKey(cl, command("__complete", "fish", "--", "trigger", "--server", cl.Base, "VEH")))
	if wantExit(t, "completion", code, 0, errs); out != "VEHICLE:ARRIVED\n" || errs != "" {
		t.Errorf("completion offers %q, and says %q", out, errs)
	}
}
