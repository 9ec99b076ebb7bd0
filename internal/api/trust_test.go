package api_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

var changing = regexp.MustCompile(`(evt|dlv)_[0-9a-z]{13}|"\d{4}-\d\d-\d\dT[^"]*"|"webhook-timestamp":"\d+"|"sequence":\d+|"callback-sequence":"\d+"|"callback":\d+|_ID_-\d+`)

// anonymous is an answer to a test-send without what differs between any two.
func anonymous(body string, targets ...string) string {
	for _, t := range targets {
		body = strings.ReplaceAll(body, t, "_TARGET_")
	}
	return changing.ReplaceAllString(changing.ReplaceAllString(body, "_ID_"), "_ID_")
}

// A cloud's metadata service and what else is inside cannot be reached, and a test-send
// does not tell open from closed from filtered ports.
func TestInsideIsRefusedWithoutATrace(t *testing.T) {
	s := start(t, func(c *setup) { c.allow = nil })
	recv := listen(t, nil)
	open, closed := recv.url, "http://"+closedPort(t)
	var first string
	for i, target := range []string{open, closed, "http://169.254.169.254", "http://10.255.255.1:81", "http://[::1]:80", "http://[::ffff:169.254.169.254]", "http://0.0.0.0", "http://100.100.100.200"} {
		s := s.as(s.newKey("acme", true)) // test-sends are limited for each key
		s.register("SESSION:COMPLETE", target+"/latest/meta-data/", "")
		r := s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "").ok(200)
		d := decode[wire.Delivery](r)
		if len(d.History) != 1 {
			t.Fatalf("%s: %s", target, r.body)
		}
		a := d.History[0]
		equal(t, "the state of the delivery to "+target, d.State, "failed")
		equal(t, "its fault", a.Fault, "refused")
		equal(t, "its error", a.Error, "the target address is not allowed")
		equal(t, "its address", a.Address, "")
		equal(t, "its answer", a.Response, (*wire.Response)(nil))
		equal(t, "its timings", a.Timings, wire.Timings{})
		if body := anonymous(r.body, a.Request.URL); i == 0 {
			first = body
		} else if body != first {
			t.Errorf("%s is told from the others:\n%s\n%s", target, body, first)
		}
	}
	if len(recv.hits) != 0 {
		t.Error("the open port was reached")
	}
}

// A callback cannot call the API it was registered with, whatever is allowed.
func TestTheAPIItselfIsNoTarget(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", s.url+"/v1/events", "")
	d := decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "").ok(200))
	equal(t, "the state", d.State, "failed")
	equal(t, "the fault", d.History[0].Fault, "refused")
}

// No field of the API opens a range.
func TestNoFieldChangesTheEgressPolicy(t *testing.T) {
	s := start(t, func(c *setup) { c.allow = nil })
	recv := listen(t, nil)
	values := []string{`true`, `"127.0.0.0/8"`, `["127.0.0.0/8"]`, `{"allow":["127.0.0.0/8"]}`, `"` + recv.url + `"`}
	names := []string{"allow", "allow_target", "allow_targets", "allow_private", "allow-target", "private", "internal", "egress", "egress_proxy", "proxy", "insecure",
		"tls_verify", "verify", "resolve", "dial", "address", "ip", "host", "live", "test", "account", "options"}
	for i, v := range values {
		s := s.as(s.newKey("acme", i%2 == 0))
		members := ""
		for _, n := range names {
			members += `,"` + n + `":` + v
		}
		s.register("SESSION:COMPLETE", recv.url, members)
		s.call("PUT", "/v1/callbacks/SESSION:COMPLETE?allow=127.0.0.0/8&proxy="+escape(recv.url), `{"url":"`+recv.url+`"}`).says(400, "Unknown parameter")
		s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`"`+members+`,"headers":{"X-Forwarded-Host":"public.example","X-Allow-Target":"127.0.0.0/8"}}`).ok(200)
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{}`+members+`}`).says(400, "Unknown member")
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{`+members[1:]+`}}`).ok(202)
		for _, n := range names { // the policy of a callback is strict
			s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`","policy":{"`+n+`":`+v+`}}`).says(400, "Unknown member")
		}
		d := decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", `{"allow":"127.0.0.0/8"}`, set("X-Allow-Target", "127.0.0.0/8")).ok(200))
		if len(d.History) != 1 {
			t.Fatalf("%s: %d attempts, want 1", v, len(d.History))
		}
		equal(t, v+": the fault", d.History[0].Fault, "refused")
	}
	if len(recv.hits) != 0 {
		t.Error("a field opened the way")
	}
}

// The pending deliveries of a revoked key are not sent any more.
func TestRevokedKeysSendNothingMore(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := sendsNothingMoreAfter(t, on, func(s *server) {
			err := s.store.ChangeKey(t.Context(), s.key.APIKey, func(k *callbackd.Key) error {
				k.Revoke(time.Now())
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
		s.call("GET", "/v1/deliveries", "").is(401, wrongToken)
	})
}

// The same for a callback that was deleted: nothing starts after the answer.
func TestDeletedCallbacksSendNothingMore(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := sendsNothingMoreAfter(t, on, func(s *server) { s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200) })
		if l := s.deliveries("?state=canceled&limit=200"); len(l.Data) != 200 || l.Next == nil {
			t.Errorf("%d canceled on the first page", len(l.Data))
		}
	})
}

// sendsNothingMoreAfter shows that of 1,000 deliveries only those in flight are sent when end is
// called. The receiver holds them until end has returned; whatever comes after it is one too many.
func sendsNothingMoreAfter(t *testing.T, on func(*setup), end func(*server)) *server {
	t.Helper()
	s := start(t, on)
	hold, release := make(chan struct{}), make(chan struct{})
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 4 {
			close(hold)
		}
		<-release
	})
	s.register("SESSION:COMPLETE", recv.url, `,"concurrency":4`)
	var batch strings.Builder
	for i := range 1000 {
		batch.WriteString(`,{"event":"SESSION:COMPLETE","session_key":"S` + itoa(i) + `"}`)
	}
	s.call("POST", "/v1/events", "["+batch.String()[1:]+"]").ok(202)
	select {
	case <-hold:
	case <-time.After(patience):
		t.Fatal("the receiver got nothing")
	}
	end(s)
	close(release)
	s.until("the attempts in flight", func() bool { return s.metric(`callbackd_deliveries_ended_total{state="delivered"}`) == "4" })
	s.engine.Drain(t.Context())
	if n := len(recv.hits); n != 4 {
		t.Errorf("%d attempts; 4 were in flight at the end", n)
	}
	return s
}
