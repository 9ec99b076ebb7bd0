package console_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

const firstRunTitle = "Your first callback"

// aFirstRunEndsWithAnEvent takes the steps of a new key by the links of the pages only, as a
// browser without JavaScript does.
func aFirstRunEndsWithAnEvent(t *testing.T, s *site) {
	recv := newReceiver(t)
	recv.Answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/", firstRunTitle, "next Create a callback", "later Send a test", "later See it arrive", "later Verify the signature")
	form := v.follows("/console/", "New callback")
	to := v.post(form, url.Values{"event": {string(callbackd.Complete)}, "method": {"POST"}, "url": {recv.URL}})
	callback, _, _ := strings.Cut(to, "?")
	v.says(to, "done Create a callback", "next Send a test")

	failed := v.post(v.follows("/console/", "Send a test"), nil)
	const answered = "The last test did not arrive: the receiver answered 404 Not Found"
	v.awaitPage(failed, answered)
	v.says("/console/", "done Send a test", "failed See it arrive "+answered, "later Verify")
	arrived := v.post(v.follows(failed, "Send another test"), nil)
	v.awaitPage(arrived, "next Verify the signature")
	v.says(v.follows(arrived, "Secret and code"), "Code that verifies a request", "next Verify the signature", "callbackd exam")
	for _, label := range []string{"Examine a receiver", "The test", "Send another test"} {
		v.follows("/console/", label)
	}

	event := s.Publish(s.Key, callbackd.Complete, "ACM-0123456789", map[string]any{"x": 1})
	v.awaitPage(deliveryPath(event, strings.TrimPrefix(callback, "/console/callbacks/")), "Delivered")
	for _, path := range []string{"/console/", callback, callback + "/secret", arrived} {
		v.lacks(path, firstRunTitle)
	}
}

// Viewers, keys with several callbacks and the operator's page of all keys have no first run.
// The operator's page of one key has one, whose form names that key.
func TestWhoSeesAFirstRun(t *testing.T) {
	s := startSite(t)
	viewer := s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleViewer))
	viewer.lacks("/console/", firstRunTitle)
	s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleDeveloper)).says("/console/", firstRunTitle)
	operator := s.visitor(t).operator()
	operator.lacks("/console/", firstRunTitle)
	if form := operator.follows("/console/?key="+s.Key.APIKey, "New callback"); form != "/console/callbacks/new?key="+s.Key.APIKey {
		t.Errorf("the form of the operator is %s", form)
	}
	made, err := s.Client(s.Key).CreateSession(t.Context(), client.NewSession{Callback: &client.NewSessionCallback{URL: "https://partner.example/hook", Events: []string{"SESSION:COMPLETE"}}})
	if err != nil {
		t.Fatal(err)
	}
	holder := s.visitor(t).signIn(s.Key)
	holder.lacks(holder.follows("/console/sessions/"+made.SessionKey, "https://partner.example/hook"), firstRunTitle) // "Create a callback" on the page of one
	for _, event := range []string{"SESSION:COMPLETE", "SESSION:STATUS_CHANGE"} {
		s.register(s.Key, client.NewCallback{Event: event, URL: "http://127.0.0.1:9/"})
	}
	s.visitor(t).signIn(s.Key).lacks("/console/", firstRunTitle)
}

// follows opens the first link of a page with these words, and returns its address.
func (v *visitor) follows(path, words string) string {
	v.t.Helper()
	for n := range elements(parse(v.t, v.get(path)), "a") {
		if strings.TrimSpace(text(n)) != words {
			continue
		}
		to := attr(n, "href")
		if a := v.get(to); a.StatusCode != http.StatusOK {
			v.t.Errorf("the link %q of %s leads to %s: %s", words, path, to, a.Status)
		}
		return to
	}
	v.t.Fatalf("%s has no link %q", path, words)
	return ""
}

// lacks fails the test when a page has some words, or does not open.
func (v *visitor) lacks(path string, without ...string) {
	v.t.Helper()
	a := v.get(path)
	got := words(v.t, a)
	if a.StatusCode != http.StatusOK || slices.ContainsFunc(without, func(w string) bool { return strings.Contains(got, w) }) {
		v.t.Errorf("%s (%s) has one of %q:\n%s", path, a.Status, without, got)
	}
}
