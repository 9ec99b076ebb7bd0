package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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
		"":                   "/console/sessions",
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
		op.says("/console/search?q="+ids["session"], "Sessions", "acme", "other / k")
	})
	for _, path := range []string{"/console/", "/console/callbacks", "/console/deliveries/" + ids["id"], "/console/keys", "/console/nothing"} {
		if a := v.get(path); !strings.Contains(a.body, `action="/console/search"`) {
			t.Errorf("%s has no search", path)
		}
	}
}

// aSearchShowsWhatItFinds finds callbacks by their URL, name, event and number, and for the
// operator API keys, but nothing of another key.
func aSearchShowsWhatItFinds(t *testing.T, s *site) {
	ctx := context.Background()
	own := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "warehouse", URL: "https://Hooks.find-me.example/in?x=1"})
	s.register(s.Key, client.NewCallback{Event: "SESSION:NOTE_INSERT", URL: "https://b.example/"})
	given, err := s.Client(s.Key).CreateSession(ctx, client.NewSession{Callback: &client.NewSessionCallback{URL: "https://partner.example/"}})
	if err != nil {
		t.Fatal(err)
	}
	key := s.NewKey("hidden-account", "hidden-name")
	hidden := s.register(key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "hidden", URL: "https://find-me.example/hidden"})
	v := s.visitor(t).signIn(s.Key)
	found := func(v *visitor, text string) string {
		t.Helper()
		path := "/console/search?q=" + url.QueryEscape(text)
		a := v.get(path)
		wellBuilt(t, path, a)
		if a.StatusCode != http.StatusOK {
			t.Fatalf("%s answers %s", path, a.Status)
		}
		return a.body
	}
	at := func(id string) string { return `href="/console/callbacks/` + id + `"` }
	for _, text := range []string{"FIND-me", "hooks.find-me.example", "/in?x=1", "Warehouse", "session:complete", "complete", own, fmt.Sprint(given.Callback.ID)} {
		body, want := found(v, text), at(own)
		if text == fmt.Sprint(given.Callback.ID) {
			want = at(text)
		}
		if !strings.Contains(body, want) {
			t.Errorf("%q does not find the callback", text)
		}
		if strings.Contains(body, at(hidden)) {
			t.Errorf("%q finds the callback of another key", text)
		}
	}
	if strings.Contains(found(v, hidden), at(hidden)) { // the number may be in the key of the session
		t.Error("the id of a callback finds it with a key that may not see it")
	}
	for _, text := range []string{"hidden", key.APIKey, "hidden-account", "default", "nothing has this"} {
		if body := found(v, text); !strings.Contains(body, "Nothing was found") {
			t.Errorf("%q finds something with a key that may not see it", text)
		}
	}
	op := s.visitor(t).operator()
	for text, want := range map[string][]string{
		"find-me":        {at(own), at(hidden), "hidden-account"},
		"hidden":         {at(hidden), "hidden-account / hidden-name"},
		"Hidden-Account": {`href="/console/callbacks?key=` + key.APIKey + `"`},
		key.APIKey[:12]:  {"hidden-account / hidden-name"},
	} {
		body := found(op, text)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("the operator's %q does not find %s", text, w)
			}
		}
	}
	if body := op.get("/console/search?q=find-me&key=" + key.APIKey).body; strings.Contains(body, at(own)) || !strings.Contains(body, at(hidden)) {
		t.Error("the search in one key finds callbacks of another, or not its own")
	}
	for i := range 15 {
		s.register(s.Key, client.NewCallback{Event: "SESSION:STATUS_CHANGE", Name: fmt.Sprint("many", i), URL: "https://many.example/"})
	}
	if body := found(v, "many.example"); strings.Count(body, "https://many.example/") != 10 || !strings.Contains(body, "More results match") {
		t.Errorf("a text in 15 callbacks shows %d", strings.Count(body, "https://many.example/"))
	}
}

// A search of all keys looks at a limited number of callbacks and says so; one in a key looks
// at all of that key.
func TestASearchOfAllKeysIsBounded(t *testing.T) {
	s := startSite(t)
	keys := []callbackd.Key{s.Key}
	for i := range 20 {
		keys = append(keys, s.NewKey("account", fmt.Sprint("k", i)))
	}
	s.Stop()
	st := s.Store(false)
	for i, key := range keys {
		n := callbackd.MaxCallbacks
		if i == len(keys)-1 {
			n = 1
		}
		for j := range n {
			_, _, err := st.CreateCallback(context.Background(), callbackd.Callback{Key: key.ID, Event: callbackd.Complete, Name: fmt.Sprint("c", j),
				URL: fmt.Sprintf("https://host%d.example/", i), Method: "POST", Payload: []byte("{}")}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	s.Start()
	v := s.visitor(t).operator()
	v.says("/console/search?q=host20.example", "Nothing was found", "The search looked at the first 2,000 callbacks only")
	v.says("/console/search?q=host19.example", "More results match")
	own := v.get("/console/search?q=host20.example&key=" + keys[20].APIKey)
	if got := words(t, own); !strings.Contains(got, "https://host20.example/") || strings.Contains(got, "2,000") {
		t.Errorf("the search in one key says: %s", got)
	}
}
