package console_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"
)

// newSession creates a session without events and returns its key.
func (s *site) newSession() string {
	s.T.Helper()
	made, err := s.Client(s.Key).CreateSession(context.Background(), client.NewSession{})
	if err != nil {
		s.T.Fatal(err)
	}
	return made.SessionKey
}

// publishMany publishes 450 events of 21 sessions.
func (s *site) publishMany() {
	s.T.Helper()
	for i := range 3 {
		var batch []client.NewEvent
		for j := range 150 {
			batch = append(batch, client.NewEvent{Event: "SESSION:STAGE_CHANGE", SessionKey: fmt.Sprintf("ACM-%05d%05d", i, j%7), Data: map[string]any{"x": 1}})
		}
		if err := s.Client(s.Key).Do(context.Background(), "POST", "/v1/events", batch, nil); err != nil {
			s.T.Fatal(err)
		}
	}
}

// sessionsAreListedByLatestEvent lists sessions with many events. Each session is on
// one page, and the list has its latest event however many came since.
func sessionsAreListedByLatestEvent(t *testing.T, s *site) {
	old := s.newSession()
	s.Publish(s.Key, callbackd.NoteInsert, old, map[string]any{"x": 1})
	fresh := s.newSession()
	s.publishMany()
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/sessions?q="+old, "NOTE_INSERT #1")

	first := words(t, v.get("/console/sessions"))
	if !strings.Contains(first, fresh) {
		t.Errorf("the first page lacks the new session without events, %s:\n%s", fresh, first)
	}
	if n := strings.Count(first, "none yet"); n != 1 {
		t.Errorf("%d sessions of the first page have no event, want 1:\n%s", n, first)
	}
	if strings.Contains(first, old) {
		t.Errorf("the first page has the session of the oldest event, %s:\n%s", old, first)
	}

	shown := v.walk("/console/sessions")
	if len(shown) != 23 {
		t.Errorf("%d sessions are listed, want 23", len(shown))
	}
	for name, n := range shown {
		if n != 1 {
			t.Errorf("%s is listed %d times, want once", name, n)
		}
	}
}

// aSessionShowsItsOwnCallbacks gives a session a callback: the pages of both lead to each
// other, no list of callbacks has it, and its secret is on no page.
func aSessionShowsItsOwnCallbacks(t *testing.T, s *site) {
	made, err := s.Client(s.Key).CreateSession(context.Background(), client.NewSession{Callback: &client.NewSessionCallback{URL: "https://partner.example/hook", Events: []string{"SESSION:COMPLETE"}}})
	if err != nil {
		t.Fatal(err)
	}
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/sessions/"+made.SessionKey, "Callbacks of this session", "https://partner.example/hook")
	page := fmt.Sprint("/console/callbacks/", made.Callback.ID)
	v.says(page, "For session "+made.SessionKey, "COMPLETE", "shown once")
	if strings.Contains(words(t, v.get("/console/callbacks")), "partner.example") {
		t.Error("the list of callbacks has the one of a session")
	}
	option := fmt.Sprintf(`<option value="%d"`, made.Callback.ID)
	for query, offered := range map[string]bool{"": false, "session=" + made.SessionKey: true, "session=nothing": false} {
		for _, form := range []string{"/console/replays/new", "/console/deliveries", "/console/deliveries/cancel"} {
			if a := v.get(form + "?" + query); strings.Contains(a.body, option) != offered {
				t.Errorf("%s?%s offers the callback: %t, want %t", form, query, !offered, offered)
			}
		}
	}
	a := v.get(page)
	replay := html.UnescapeString(regexp.MustCompile(`href="(/console/replays/new[^"]*)"`).FindStringSubmatch(a.body)[1])
	for _, who := range []*visitor{v, s.visitor(t).operator()} {
		form := who.get(replay + "&counted=1")
		if !strings.Contains(form.body, option+" selected") || !strings.Contains(words(t, form), "0 deliveries would be replayed") {
			t.Errorf("%s (%s) does not choose the callback: %s", replay, form.Status, words(t, form))
		}
	}
	for _, list := range []string{"/console/deliveries", "/console/deliveries/live", "/console/deliveries/cancel", "/console/replays/new"} {
		list = fmt.Sprint(list, "?callback=", made.Callback.ID)
		if a := v.get(list); !strings.Contains(a.body, fmt.Sprintf(`<option value="%d" selected>For session %s → partner.example`, made.Callback.ID, made.SessionKey)) {
			t.Errorf("the filter of %s (%s) does not have the callback", list, a.Status)
		}
		other := s.visitor(t).signIn(s.NewKey("other", "another"))
		if strings.Contains(other.get(list).body, made.SessionKey) {
			t.Errorf("%s shows the callback of another key", list)
		}
	}
	for _, sub := range []string{"", "/secret", "/edit"} {
		a := v.get(page + sub)
		wellBuilt(t, page+sub, a)
		if a.StatusCode != http.StatusOK || strings.Contains(a.body, made.Callback.Secret) {
			t.Errorf("%s answers %s, or shows the secret", sub, a.Status)
		}
	}
}

// aCallbackOfASessionIsChanged edits the callback of a session by its form, and makes another
// secret for it. That is shown once.
func aCallbackOfASessionIsChanged(t *testing.T, s *site) {
	ctx := context.Background()
	cl := s.Client(s.Key)
	made, err := cl.CreateSession(ctx, client.NewSession{Callback: &client.NewSessionCallback{URL: "https://partner.example/hook", Events: []string{"SESSION:COMPLETE"},
		Headers: map[string]string{"X-Own": "kept"}}})
	if err != nil {
		t.Fatal(err)
	}
	stored := func() (out wire.CallbackOne) {
		t.Helper()
		if err := cl.Do(ctx, "GET", fmt.Sprint("/v1/callbacks/", made.Callback.ID), nil, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	v := s.visitor(t).signIn(s.Key)
	page := fmt.Sprint("/console/callbacks/", made.Callback.ID)
	v.says(page, "Edit", "rotate it")
	v.says(page+"/edit", "Session", made.SessionKey, "STATUS_CHANGE", "What your receiver gets", "Try the filter")
	form := url.Values{"url": {"https://partner.example/other"}, "method": {"PUT"}, "headers": {"X-Own: [redacted]"}, "order_group": {"auto"}, "events": {"SESSION:COMPLETE", "SESSION:NOTE_INSERT"}}
	if to := v.post(page+"/edit", form); !strings.HasPrefix(to, page) {
		t.Errorf("the saved form leads to %s", to)
	}
	if got := stored(); got.Data.URL != "https://partner.example/other" || got.Data.Method != "PUT" || fmt.Sprint(got.Data.Events) != "[SESSION:COMPLETE SESSION:NOTE_INSERT]" || fmt.Sprint(got.Data.Headers) != "[{X-Own kept}]" {
		t.Errorf("the setting is now %+v", got)
	}
	v.says(page, "COMPLETE, NOTE_INSERT", "https://partner.example/other", "auto")

	twin := map[string]any{"event": "SESSION:COMPLETE", "session_key": made.SessionKey, "data": map[string]any{},
		"callback": map[string]any{"url": "https://twin.example/", "events": form["events"]}}
	if err := cl.Do(ctx, "POST", "/v1/events", twin, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		wrong  url.Values
		status int
		want   string
	}{
		{url.Values{"url": {"https://twin.example/"}}, http.StatusConflict, "has this url with the same ev"},
		{url.Values{"events": nil}, http.StatusBadRequest, "Choose at least one event"},
		{url.Values{"events": {"SESSION:NOTHING"}}, http.StatusBadRequest, "events"},
		{url.Values{"events": {"SESSION:COMPLETE", "SESSION:COMPLETE"}}, http.StatusBadRequest, "events must name each event o"},
		{url.Values{"url": {""}}, http.StatusBadRequest, "Enter the URL"},
	} {
		bad := url.Values{"url": form["url"], "method": form["method"], "events": form["events"]}
		for name, value := range c.wrong {
			bad[name] = value
		}
		a := v.submit("POST", page+"/edit", bad)
		wellBuilt(t, page+"/edit", a)
		if a.StatusCode != c.status || !strings.Contains(words(t, a), c.want) {
			t.Errorf("%v is answered with %s and without %q: %s", c.wrong, a.Status, c.want, words(t, a))
		}
	}
	if got := stored(); fmt.Sprint(got.Data.Events) != "[SESSION:COMPLETE SESSION:NOTE_INSERT]" {
		t.Errorf("a refused form changed the setting to %+v", got)
	}

	shownOnce := func(a answer, why string) {
		t.Helper()
		wellBuilt(t, why, a)
		secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`).FindString(words(t, a))
		if a.StatusCode != http.StatusOK || secret == "" || !strings.Contains(words(t, a), why) {
			t.Fatalf("answered with %s and without a secret or %q: %s", a.Status, why, words(t, a))
		}
		if secret == made.Callback.Secret {
			t.Error("the secret is the old one")
		}
		if again := v.get(page + "/secret"); strings.Contains(again.body, "whsec_") {
			t.Error("the page shows the secret a second time")
		}
	}
	shownOnce(v.do("POST", page+"/secret", url.Values{"keep": {"1h"}}), "There is a new signing secret")
	v.says(page+"/secret", "An older secret stays valid until")
	form.Set("url", "https://elsewhere.example/")
	form.Set("headers", "X-Own: new")
	shownOnce(v.do("POST", page+"/edit", form), "Its URL names another receiver")
	other := s.visitor(t).signIn(s.NewKey("other", "another"))
	for _, sub := range []string{"/secret", "/edit"} {
		if a := other.do("POST", page+sub, form); a.StatusCode != http.StatusNotFound {
			t.Errorf("another key's %s is answered with %s", sub, a.Status)
		}
	}
}
