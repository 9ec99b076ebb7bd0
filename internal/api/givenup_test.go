package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"callbackd"
)

// Callers that give up do not fill the operator's log: a caller could
// do that a thousand times a second. The same fault of a call that somebody
// waits for is there.
func TestCallersThatGiveUpAreNotInTheLog(t *testing.T) {
	var log bytes.Buffer
	a := &API{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	gone, leave := context.WithCancel(t.Context())
	leave()
	fault := callbackd.Wrap(callbackd.KindUnavailable, gone.Err(), "the store is busy; try again")
	a.fail(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "GET", "/v1/events", nil), fault)
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
	a.fail(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil), fault)
	if !bytes.Contains(log.Bytes(), []byte("level=ERROR")) {
		t.Errorf("the log has no error: %s", &log)
	}
}
