package e2e

import (
	"testing"

	"callbackd/client"
)

// The operator asks a running server how it is, and changes what it logs until its next
// start.
func TestStatusAndLogLevel(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	out, errs, code := run(t, "status", "--url", srv.url)
	wantExit(t, "status", code, 0, out+errs, "ready       yes", "store       sqlite", "log level   error", "pending     0 deliveries, none is due", "node ")
	out, errs, code = run(t, "log-level", "debug", "--server", srv.url, "--data", dir)
	wantExit(t, "log-level", code, 0, out+errs, "logs debug and above until its next start")
	if err := cl.Do(t.Context(), "GET", "/v1/events/none", nil, nil); err == nil {
		t.Error("an event that does not exist was found")
	}
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"}); err != nil {
		t.Error(err)
	}
	out, errs, code = run(t, "status", "--server", srv.url, "--json")
	wantExit(t, "status --json", code, 0, out+errs, `"log_level":"debug"`, `"ready":true`)
	out, errs, code = run(t, "log-level", "info", "--server", srv.url, "--operator-token", "not the operator's")
	wantExit(t, "log-level with a wrong token", code, 1, out+errs, "401", "operator token")
	out, errs, code = run(t, "log-level", "info", "--server", srv.url, "--data", t.TempDir())
	wantExit(t, "log-level without the store", code, exitSetting, out+errs, "--operator-token")
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	wantExit(t, "the server", 0, 0, srv.log.String(), "the log level was changed until the next start", "request refused")
	out, errs, code = run(t, "status", "--server", srv.url)
	wantExit(t, "status of a stopped server", code, 1, out+errs, "does not answer at")
	srv = serve(t, dir)
	out, errs, code = run(t, "status", "--server", srv.url)
	wantExit(t, "status after a start", code, 0, out+errs, "log level   error")
}
