package console

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"callbackd"
)

// Visitors that give up do not fill the operator's log: a caller could
// do that a thousand times a second. The same fault of a call that somebody
// waits for is there.
func TestVisitorsThatGiveUpAreNotInTheLog(t *testing.T) {
	var log bytes.Buffer
	c := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	gone, leave := context.WithCancel(t.Context())
	leave()
	fault := callbackd.Wrap(callbackd.KindUnavailable, gone.Err(), "the store is busy; try again")
	c.fail(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "GET", "/console/", nil), nil, fault)
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
	c.fail(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/console/", nil), nil, fault)
	if !bytes.Contains(log.Bytes(), []byte("level=ERROR")) {
		t.Errorf("the log has no error: %s", &log)
	}
}
