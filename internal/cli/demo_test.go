package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"
)

// The demo fails when a callback got its events in another order, when a
// signature was wrong, and when an event came twice.
func TestDemoIsHonest(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(wire.DeliveryList{Data: make([]wire.Delivery, 4)})
	}))
	defer server.Close()
	status, stage := "SESSION:STATUS_CHANGE", "SESSION:STAGE_CHANGE"
	for _, tt := range []struct {
		got   []taken
		wrong []string
		want  string
	}{
		{[]taken{{status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, nil, ""},
		{[]taken{{stage, 2}, {stage, 4}, {status, 1}, {status, 3}}, nil, ""},
		{[]taken{{status, 3}, {status, 1}, {stage, 2}, {stage, 4}}, nil, "SESSION:STATUS_CHANGE arrived out of order"},
		{[]taken{{status, 1}, {status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, nil, "SESSION:STATUS_CHANGE arrived out of order"},
		{[]taken{{status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, []string{"the signature of #1 is not valid"}, "signature"},
	} {
		var out strings.Builder
		d := &demo{out: &out, start: time.Now(), want: 4, got: tt.got, wrong: tt.wrong}
		err := d.verdict(t.Context(), &client.Client{Base: server.URL})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v %v: %v", tt.got, tt.wrong, err)
		}
		if done := strings.Contains(out.String(), "All 4 events were delivered"); done != (tt.want == "") {
			t.Errorf("%v: it says\n%s", tt.got, &out)
		}
	}
}

// The receiver's words for an event come from what it got.
func TestDescribe(t *testing.T) {
	for body, want := range map[string]string{
		`{"event":"SESSION:SMS_PROCESS","status":"error"}`:                                          "SESSION:SMS_PROCESS    SMS status: error",
		`{"event":"SESSION:STAGE_CHANGE","photo_status":"REJECTED: Too Dark","photo_label":"Left"}`: "SESSION:STAGE_CHANGE   Left rejected: too dark",
		`{"event":"SESSION:STATUS_CHANGE","status":"STARTED","previous_status":"IDLE"}`:             "SESSION:STATUS_CHANGE  IDLE to STARTED",
		`{"event":"SESSION:NOTE_INSERT","note":{"title":"Scratch"}}`:                                "SESSION:NOTE_INSERT    scratch",
		`{"event":"SESSION:COMPLETE","session":{},"photos":[{},{}]}`:                                "SESSION:COMPLETE       the whole inspection, 2 photos",
		`{"event":"SESSION:SMS_REQUESTED","phone":"+1","name":null,"link":null}`:                    "SESSION:SMS_REQUESTED  to be sent to +1",
	} {
		if got := describe([]byte(body)); got != want {
			t.Errorf("%s is %q, want %q", body, got, want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for text, want := range map[string]speed{"60x": 60, "60": 60, "0.5x": 0.5, "max": 0} {
		var s speed
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s is %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "x", "fast", "-1x", "0x", "NaN", "Inf", "1e9"} {
		var s speed
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}
