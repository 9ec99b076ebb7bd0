package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

// The form of a callback shows what its filter would do with the latest events, also
// without a script, and saves nothing. What is wrong in the filter is shown instead.
func TestAFilterIsTriedBeforeItIsSaved(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/hook"})
	s.Publish(s.Key, callbackd.Complete, "GOOD", map[string]any{"grade": 4, "vin": "<b>1FM"})
	s.Publish(s.Key, callbackd.Complete, "BAD", map[string]any{"grade": 2, "vin": "<b>1FN"})
	form := url.Values{"event": {"SESSION:COMPLETE"}, "url": {""}, "method": {"POST"}, "filter": {`{"data.grade": {"lt": 3}}`}, "fields": {`{"only": ["grade"]}`}, "try": {"yes"}}
	for _, path := range []string{"/console/callbacks/new", "/console/callbacks/1/edit"} {
		a := v.do("POST", path, form)
		said := words(t, a)
		for _, want := range []string{"Matching: 1 of the latest 2 events.", "GOOD data.grade lt 3", `BAD matches {"grade":2}`} {
			if a.StatusCode != http.StatusOK || !strings.Contains(said, want) {
				t.Errorf("%s answers %s and does not say %q:\n%s", path, a.Status, want, said)
			}
		}
		if strings.Contains(a.body, "1FN") {
			t.Errorf("%s shows a field that is not sent", path)
		}
	}
	if _, policy := s.setting(t, "default"); string(policy.Filter) != "null" || string(policy.Fields) != "null" {
		t.Errorf("the trial saved %s and %s", policy.Filter, policy.Fields)
	}
	form.Set("filter", `{"data.grade": {"like": 3}}`)
	a := v.do("POST", "/console/callbacks/new", form)
	if said := words(t, a); a.StatusCode != http.StatusOK || !strings.Contains(said, "Latest events filter.data.grade.like is not an operator.") {
		t.Errorf("a wrong filter is answered with %s:\n%s", a.Status, said)
	}
}

// A key holder tries a filter with the events of the own key, and the operator with those
// of the key that the form names.
func TestAFilterIsTriedWithEventsOfItsKey(t *testing.T) {
	s := startSite(t)
	other := s.NewKey("other", "n")
	s.Publish(other, callbackd.Complete, "THEIRS", map[string]any{"grade": 2})
	form := url.Values{"event": {"SESSION:COMPLETE"}, "filter": {`{"data.grade": {"exists": true}}`}, "try": {"yes"}}
	mine := words(t, s.visitor(t).signIn(s.Key).do("POST", "/console/callbacks/new", form))
	if !strings.Contains(mine, "Matching: 0 of the latest 0 events.") {
		t.Errorf("a key holder sees\n%s", mine)
	}
	none := words(t, s.visitor(t).operator().do("POST", "/console/callbacks/new", form))
	if strings.Contains(none, "Matching:") {
		t.Errorf("the operator sees events without a choice of a key:\n%s", none)
	}
}
