package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"
)

// aSearchOpensWhatItNames searches for keys, VINs and IDs. Session keys and VINs may
// be written in small letters.
func aSearchOpensWhatItNames(t *testing.T, s *site) {
	ids := s.fill(s.Key, newReceiver(t).URL)
	const vin = "1FTEW1EP5NKD00001"
	made, err := s.Client(s.Key).CreateSession(context.Background(), client.NewSession{Vehicle: &wire.Vehicle{VIN: new(vin)}})
	if err != nil {
		t.Fatal(err)
	}
	v := s.visitor(t).signIn(s.Key)
	for text, want := range map[string]string{
		ids["session"]: "/console/sessions/" + ids["session"],
		" " + strings.ToLower(made.SessionKey) + " ": "/console/sessions/" + made.SessionKey,
		vin:                  "/console/sessions/" + made.SessionKey,
		strings.ToLower(vin): "/console/sessions/" + made.SessionKey,
		ids["event"]:         "/console/events/" + ids["event"],
		ids["id"]:            "/console/deliveries/" + ids["id"],
		"nothing":            "/console/sessions?q=nothing",
	} {
		to := v.get("/console/search?q=" + url.QueryEscape(text)).Header.Get("Location")
		if !strings.EqualFold(to, want) {
			t.Errorf("%q opens %q, want %q", text, to, want)
		}
		if got := v.get(to); got.StatusCode != http.StatusOK {
			t.Errorf("%q opens %s, which answers %s", text, to, got.Status)
		}
	}
	t.Run("the operator chooses of several keys", func(t *testing.T) {
		s.Publish(s.NewKey("other", "k"), callbackd.NoteInsert, ids["session"], map[string]any{"x": 1})
		op := s.visitor(t).operator()
		to := op.get("/console/search?q=" + ids["session"]).Header.Get("Location")
		if want := "/console/sessions?q=" + ids["session"]; to != want {
			t.Errorf("the search leads to %q, want %q", to, want)
		}
		op.says(to, "acme", "other / k")
	})
	for _, path := range []string{"/console/", "/console/callbacks", "/console/deliveries/" + ids["id"], "/console/keys", "/console/nothing"} {
		if a := v.get(path); !strings.Contains(a.body, `action="/console/search"`) {
			t.Errorf("%s has no search", path)
		}
	}
}
