package console

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"callbackd"
)

// A page that fails because its browser has left is not logged as an error. Otherwise
// any caller could fill the operator's log.
func TestVisitorsThatGiveUpAreNotInTheLog(t *testing.T) {
	left, leave := context.WithCancel(t.Context())
	leave()
	for name, c := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"left":  {left, ""},
		"waits": {t.Context(), "level=ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			page := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			fault := callbackd.Wrap(callbackd.KindUnavailable, context.Canceled, "the store is busy; try again")
			page.fail(httptest.NewRecorder(), httptest.NewRequestWithContext(c.ctx, "GET", "/console/", nil), nil, fault)
			if got := log.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("the log is %q, want %q", got, c.want)
			}
		})
	}
}
