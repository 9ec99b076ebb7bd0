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

// The demo fails when the receiver got the events out of order or twice, and when a
// signature was not valid.
func TestTheDemoFailsWhenAPromiseIsBroken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(wire.DeliveryList{Data: make([]wire.Delivery, 4)})
	}))
	defer server.Close()
	status, stage := "SESSION:STATUS_CHANGE", "SESSION:STAGE_CHANGE"
	for name, c := range map[string]struct {
		got   []taken
		wrong []string
		want  string // the error; empty when the demo succeeds
	}{
		"in order":                   {[]taken{{status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, nil, ""},
		"in order for each callback": {[]taken{{stage, 2}, {stage, 4}, {status, 1}, {status, 3}}, nil, "#1 SESSION:STATUS_CHANGE arrived after #4"},
		"out of order":               {[]taken{{status, 3}, {status, 1}, {stage, 2}, {stage, 4}}, nil, "#1 SESSION:STATUS_CHANGE arrived after #3"},
		"twice":                      {[]taken{{status, 1}, {status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, nil, "#1 SESSION:STATUS_CHANGE arrived after #1"},
		"signature":                  {[]taken{{status, 1}, {stage, 2}, {status, 3}, {stage, 4}}, []string{"the signature of #1 is not valid"}, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			d := &demo{out: &out, start: time.Now(), want: 4, got: c.got, wrong: c.wrong}
			got := ""
			if err := d.verdict(t.Context(), &client.Client{Base: server.URL}); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("the error is %q, want %q", got, c.want)
			}
			if done := strings.Contains(out.String(), "All 4 events were delivered"); done != (c.want == "") {
				t.Errorf("the output says that all is well: %v, want %v\n%s", done, c.want == "", &out)
			}
		})
	}
}

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
			t.Errorf("%s is described as %q, want %q", body, got, want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for text, want := range map[string]speed{"60x": 60, "60": 60, "0.5x": 0.5, "max": 0} {
		var s speed
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s is read as %v, %v, want %v", text, s, err, want)
		}
	}
	for _, text := range []string{"", "x", "fast", "-1x", "0x", "NaN", "Inf", "1e9"} {
		var s speed
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %v, want an error", text, s)
		}
	}
}
