package console_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
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
	for _, list := range []string{"/console/deliveries", "/console/deliveries/live", "/console/deliveries/cancel"} {
		list = fmt.Sprint(list, "?callback=", made.Callback.ID)
		if a := v.get(list); !strings.Contains(a.body, fmt.Sprintf(`<option value="%d" selected>For session %s → partner.example`, made.Callback.ID, made.SessionKey)) {
			t.Errorf("the filter of %s (%s) does not have the callback", list, a.Status)
		}
		other := s.visitor(t).signIn(s.NewKey("other", "another"))
		if strings.Contains(other.get(list).body, made.SessionKey) {
			t.Errorf("%s shows the callback of another key", list)
		}
	}
	for _, sub := range []string{"/secret", "/edit"} {
		if resp := v.get(page + sub); strings.Contains(words(t, resp), made.Callback.Secret) {
			t.Errorf("%s shows the secret", sub)
		}
	}
}
