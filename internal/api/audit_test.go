package api_test

import (
	"net/http"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// audit returns the entries of a query, newest first.
func (s *server) audit(query string) (out []wire.AuditEntry) {
	s.t.Helper()
	for at := "/v1/audit?limit=2" + query; ; {
		page := decode[wire.AuditList](s.call("GET", at, "").ok(200))
		out = append(out, page.Data...)
		if page.Next == nil {
			return out
		}
		at = "/v1/audit?limit=2" + query + "&cursor=" + *page.Next
	}
}

// A key sees who changed what of its own, with secrets as hashes. Of the operator it sees
// neither name nor address.
func TestTheAuditLogOfAKey(t *testing.T) { onBothStores(t, theAuditLogOfAKey) }

func theAuditLogOfAKey(t *testing.T, on func(*setup)) {
	s := start(t, on)
	other := s.as(s.newKey("other", false))
	const path = "/v1/callbacks/SESSION:COMPLETE"
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/1","headers":{"X":"canary-header"}}`).ok(200)
	once := func(r *http.Request) { r.Header.Set("Idempotency-Key", "once") }
	for range 2 {
		s.call("PUT", path, `{"url":"https://a.example/2","headers":{"X":"canary-header"}}`, once).ok(200)
	}
	s.call("POST", path+"/secret/rotate", "").ok(200)
	s.call("POST", path+"/pause", "").ok(200)
	key := decode[wire.Session](s.call("POST", "/v1/sessions", `{"phone":"+15550001"}`).ok(200)).SessionKey
	s.call("PUT", "/v1/sessions/"+key, `{"redirect_url":"https://r.example/"}`).ok(200)
	s.call("DELETE", "/v1/sessions/"+key, "").ok(200)
	s.publish("SESSION:COMPLETE", "S1", `{}`)
	operator := callbackd.Actor{Kind: callbackd.ActorOperator, Name: "canary-name", Address: "192.0.2.77"}
	_, err := s.store.ChangeCallback(store.WithActor(t.Context(), operator), s.key.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{At: time.Now().Truncate(time.Millisecond)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	var actions []string
	for _, e := range s.audit("") {
		actions = append(actions, e.Action)
		lacks(t, "an entry", e.Actor.Name+e.Actor.Address+string(e.Before)+string(e.After), "canary", "whsec_", "192.0.2.77", "15550001", s.key.Secret.Reveal())
		if e.Actor.Kind == "unknown" && e.Action != "key.created" { // which the test did itself
			t.Errorf("nobody knows who did %s", e.Action)
		}
	}
	equal(t, "the actions", actions, []string{"callback.resumed", "session.removed", "session.changed", "callback.paused", "callback.secret_rotated", "callback.replaced", "callback.created", "key.created"})
	replaced := s.audit("&action=callback.replaced")[0]
	equal(t, "who replaced it", replaced.Actor, wire.AuditActor{Kind: "api_key", Name: s.key.APIKey, Address: "127.0.0.1"})
	equal(t, "before and after", string(replaced.Before)+string(replaced.After), `{"url":"https://a.example/1"}{"url":"https://a.example/2"}`)
	equal(t, "entries by the operator", len(s.audit("&actor=operator")), 1)
	equal(t, "entries of another key", len(other.audit("")), 1)
	equal(t, "entries before 2020", len(s.audit("&until=2020-01-01T00:00:00Z")), 0)
	s.call("GET", "/v1/audit?action=x", "").says(400, "action \"x\" is not supported")
	s.call("GET", "/v1/audit?cursor=0", "").says(400, "Invalid cursor")
}
