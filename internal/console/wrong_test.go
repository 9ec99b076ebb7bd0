package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wrongQueriesAreRefused asks for pages with filters, cursors and IDs that are wrong
// or odd.
func wrongQueriesAreRefused(t *testing.T, s *site) {
	const deliveries, logs, replay = "/console/deliveries?", "/console/logs?", "/console/replays/new?counted=1&"
	v := s.visitor(t).signIn(s.Key)
	for status, paths := range map[int][]string{
		http.StatusBadRequest: {
			deliveries + "state=lost", deliveries + "event=X", deliveries + "callback=0", deliveries + "status=7", deliveries + "fault=bad",
			deliveries + "after=x", deliveries + "since=soon",
			logs + "status=99", logs + "after=-1", "/console/sessions?after=x", "/console/callbacks?after=x", "/console/replays?after=x",
			replay + "rate=-1", replay + "state=pending", replay + "target=99", replay + "missing=true&state=failed",
		},
		http.StatusNotFound: {
			"/console/callbacks/x", "/console/callbacks/999", "/console/deliveries/x", "/console/events/x", "/console/replays/x", "/console/keys/x/rotate",
			"/console/nodes", "/console/static/x/console.css", "/console/sessions/x?from=y", "/console/sessions/x?from=%00",
			"/console/sessions/%00", "/console/sessions/%ff", "/console/keys/%00/rotate", "/console/keys/%ff/rotate",
		},
		http.StatusOK: {
			deliveries + "since=2026-01-02T03:04&until=2026-01-03", deliveries + "status=5xx",
			// Texts that PostgreSQL cannot store are found nowhere.
			deliveries + "session=%00", deliveries + "session=%ff", "/console/sessions?q=%00", "/console/sessions?q=%ff", logs + "path=%00", logs + "path=%ff",
			replay + "missing=true", replay + "state=failed&session=%00", replay + "state=failed&session=%ff", "/console/link?token=%ff",
		},
	} {
		for _, path := range paths {
			if a := v.get(path); a.StatusCode != status {
				t.Errorf("%s answers %s, want %d", path, a.Status, status)
			}
		}
	}
	if a := v.do("POST", "/console/callbacks/new", url.Values{"url": {strings.Repeat("x", 300<<10)}}); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of 300 KiB is answered with %s, want 413", a.Status)
	}
}
