package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

// incident returns the ID of an incident of a key: a delivery that was given up.
func (s *site) incident(t *testing.T, k callbackd.Key) (id string) {
	t.Helper()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(broken.Close)
	s.register(k, client.NewCallback{Event: string(callbackd.NoteInsert), URL: broken.URL, Retry: []string{"0s"}})
	s.Publish(k, callbackd.NoteInsert, "S", nil)
	s.Await(func() bool {
		list, err := s.Client(k).Incidents(t.Context(), nil)
		if err == nil && len(list.Data) > 0 {
			id = list.Data[0].ID
		}
		return id != ""
	})
	return id
}

// An incident is counted in the navigation until somebody acknowledges or mutes it.
func TestIncidentsAreAcknowledgedAndMuted(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *site) {
		id := s.incident(t, s.Key)
		v, operator := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
		v.says("/console/incidents", "DELIVERY:FAILED", "were given up: 1 so far")
		operator.says("/console/incidents", "DELIVERY:FAILED", s.Key.Account)
		if body := v.get("/console/callbacks").body; !strings.Contains(body, `class="count" aria-label="1 open"`) {
			t.Error("the navigation does not count the incident")
		}
		if to := v.post("/console/incidents/"+id+"/mute", url.Values{"for": {"1h"}}); to != "/console/incidents?done=muted" {
			t.Errorf("after a mute the page is %s", to)
		}
		v.says("/console/incidents", "Muted until", "End the mute")
		v.post("/console/incidents/"+id+"/mute", url.Values{"for": {"0s"}})
		operator.post("/console/incidents/"+id+"/acknowledge", nil)
		body := v.get("/console/incidents").body
		if !strings.Contains(body, "Acknowledged by the operator") || strings.Contains(body, `class="count"`) || strings.Contains(body, "Muted until") {
			t.Errorf("the page of an acknowledged incident is %s", body)
		}
		if a := v.do("POST", "/console/incidents/"+id+"/mute", url.Values{"for": {"31d"}}); a.StatusCode != http.StatusBadRequest {
			t.Errorf("a mute for 31 days answers %s, want 400", a.Status)
		}
		v.says("/console/incidents?state=all", "DELIVERY:FAILED")
	})
}
