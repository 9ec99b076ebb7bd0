package console_test

import (
	"net/http"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/callbacks"
)

// The form of a new callback has the body of every event beside it, and opens that of the
// event that is chosen. The form of a stored callback has its own event.
func TestTheFormShowsTheBodiesOfEvents(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	a := v.get("/console/callbacks/new?event=SESSION:NOTE_INSERT")
	wellBuilt(t, "/console/callbacks/new", a)
	page := words(t, a)
	for _, e := range callbackd.EventTypes {
		if !strings.Contains(page, `"event": "`+string(e)+`"`) {
			t.Errorf("the form has no body of %s", e)
		}
	}
	opened := func(a answer) (names []string) {
		for n := range elements(parse(t, a), "details") {
			if attr(n, "data-sample") != "" && strings.Contains(a.body, `data-sample="`+attr(n, "data-sample")+`" open`) {
				names = append(names, attr(n, "data-sample"))
			}
		}
		return names
	}
	if got := opened(a); len(got) != 1 || got[0] != "SESSION:NOTE_INSERT" {
		t.Errorf("the bodies that are open: %v", got)
	}
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/"})
	a = v.get("/console/callbacks/" + callback + "/edit")
	if got := opened(a); len(got) != 1 || strings.Count(a.body, "data-sample=") != 1 || got[0] != "SESSION:COMPLETE" {
		t.Errorf("the form of a stored callback has the bodies %v", got)
	}
	if sample := string(callbacks.SampleBody(callbackd.Complete)); !strings.Contains(sample, `"session_key"`) || !strings.Contains(words(t, a), `"session_key": "TST-0000000000"`) {
		t.Error("the body of a stored callback's event is not the sample")
	}
}

// The page of the live tail refuses a filter that the list refuses, and keeps the filter of
// the list in its own form.
func TestTheFilterOfTheLiveTail(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	a := v.get("/console/deliveries/live?session=ACM-1&failures=yes")
	wellBuilt(t, "/console/deliveries/live", a)
	for _, want := range []string{`name="session" value="ACM-1"`, `value="yes" selected`, "failures=yes&amp;session=ACM-1"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if a := v.get("/console/deliveries/live?callback=x"); a.StatusCode != http.StatusBadRequest || !strings.Contains(words(t, a), "The filter is invalid") {
		t.Errorf("a wrong callback is answered with %s", a.Status)
	}
}
