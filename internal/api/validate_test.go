package api_test

import (
	"strings"
	"testing"

	"callbackd/internal/api"
	"callbackd/internal/eventtypes"
	"callbackd/wire"
)

// validating sets what becomes of events that do not fit. It returns how many were counted.
func validating(t *testing.T, mode eventtypes.Mode) (change func(*setup), counted func() (accepted, refused int)) {
	t.Helper()
	kinds, err := api.EventKinds()
	if err != nil {
		t.Fatal(err)
	}
	events, err := eventtypes.New(kinds, mode)
	if err != nil {
		t.Fatal(err)
	}
	var n [2]int
	return func(c *setup) {
			c.api.Events = events
			c.api.Misfit = func(refused bool) {
				if refused {
					n[1]++
				} else {
					n[0]++
				}
			}
		}, func() (int, int) {
			return n[0], n[1]
		}
}

const (
	fits   = `{"event":"SESSION:STATUS_CHANGE","session_key":"A","data":{"status":"STARTED","previous_status":"IDLE","timestamp":"2026-01-02T15:04:05+00:00"},"id":"1"}`
	misfit = `{"event":"SESSION:STATUS_CHANGE","session_key":"A","data":{"status":5},"id":"2"}`
)

func TestAMisfitIsRefused(t *testing.T) {
	on, counted := validating(t, eventtypes.Refuse)
	s := start(t, on)
	const why = `The data does not fit the schema of SESSION:STATUS_CHANGE, which GET /v1/event-types/SESSION:STATUS_CHANGE shows. /: missing properties 'timestamp', 'previous_status'. /status: `
	if got := s.call("POST", "/v1/events", misfit).ok(400).body; !strings.Contains(got, why) {
		t.Errorf("got %s, want %s", got, why)
	}
	if got := s.call("POST", "/v1/events", "["+fits+","+misfit+"]").ok(400).body; !strings.Contains(got, "Event 2 of the array: "+why) {
		t.Errorf("in an array: %s", got)
	}
	if l := decode[wire.EventList](s.call("GET", "/v1/events", "").ok(200)); len(l.Data) != 0 {
		t.Errorf("%d events of refused calls are stored", len(l.Data))
	}
	if got := s.call("POST", "/v1/events", fits).ok(202).body; strings.Contains(got, "warning") {
		t.Errorf("an event that fits is warned of: %s", got)
	}
	if accepted, refused := counted(); accepted != 0 || refused != 2 {
		t.Errorf("counted %d accepted and %d refused", accepted, refused)
	}
}

func TestAMisfitIsWarnedOf(t *testing.T) {
	on, counted := validating(t, eventtypes.Warn)
	s := start(t, on)
	one := decode[wire.Accepted](s.call("POST", "/v1/events", misfit).ok(202))
	if want := "/: missing properties 'timestamp', 'previous_status'. /status: got number, want string."; one.Warning != want {
		t.Errorf("the warning is %q, want %q", one.Warning, want)
	}
	if again := decode[wire.Accepted](s.call("POST", "/v1/events", misfit).ok(202)); again.ID != one.ID || again.Warning != one.Warning {
		t.Errorf("a repeat gets %+v, want %+v", again, one)
	}
	all := decode[[]wire.Accepted](s.call("POST", "/v1/events", "["+fits+","+misfit+"]").ok(202))
	if all[0].Warning != "" || all[1].Warning != one.Warning {
		t.Errorf("an array has the warnings %q and %q", all[0].Warning, all[1].Warning)
	}
	if accepted, refused := counted(); accepted != 3 || refused != 0 {
		t.Errorf("counted %d accepted and %d refused", accepted, refused)
	}
}

func TestWithoutValidationAnyDataIsAccepted(t *testing.T) {
	on, _ := validating(t, eventtypes.Off)
	for name, change := range map[string]func(*setup){"off": on, "default": func(*setup) {}} {
		if got := start(t, change).call("POST", "/v1/events", misfit).ok(202).body; strings.Contains(got, "warning") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
