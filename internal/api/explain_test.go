package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

func (s *server) explain(delivery string) wire.Explanation {
	s.t.Helper()
	return decode[wire.Explanation](s.call("GET", "/v1/deliveries/"+delivery+"/explain", "").ok(200))
}

// has requires a reason, and parts of its sentence.
func has(t *testing.T, e wire.Explanation, code string, parts ...string) wire.Reason {
	t.Helper()
	i := slices.IndexFunc(e.Reasons, func(r wire.Reason) bool { return r.Code == code })
	if i < 0 {
		t.Fatalf("no %s in %+v", code, e)
	}
	for _, p := range parts {
		if !strings.Contains(e.Reasons[i].Message, p) {
			t.Errorf("%s: %q lacks %q", code, e.Reasons[i].Message, p)
		}
	}
	return e.Reasons[i]
}

// delivery is the id of an event's delivery to a callback.
func (p published) delivery(callback int) string {
	return "dlv_" + strings.TrimPrefix(p.ID, "evt_") + "-" + itoa(callback)
}

// What a callback has waited for, or why it never gets an event, is said.
func TestWhyACallbackDidNotGetIt(t *testing.T) { onBothStores(t, whyACallbackDidNotGetIt) }

func whyACallbackDidNotGetIt(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:NOTE_INSERT", recv.url, `,"name":"gone"`)
	s.call("DELETE", "/v1/callbacks/SESSION:NOTE_INSERT?name=gone", "").ok(200)
	ev := s.publish("SESSION:NOTE_INSERT", "S", `{}`)
	s.register("SESSION:NOTE_INSERT", recv.url, "")
	s.register("SESSION:COMPLETE", recv.url, "")
	why := func(callback string) wire.Explanation {
		t.Helper()
		l := decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain?callback="+callback, "").ok(200))
		if len(l.Data) != 1 {
			t.Fatalf("%d explanations, want 1", len(l.Data))
		}
		equal(t, "the event", l.EventID, ev.ID)
		equal(t, "the delivery", l.Data[0].Delivery, (*string)(nil))
		equal(t, "the state", l.Data[0].State, "")
		return l.Data[0]
	}
	has(t, why("1"), "deleted_before", "was deleted at")
	if e := why("2"); !strings.Contains(e.Next, "POST /v1/replays with target 2, session_key S") || has(t, e, "not_registered_yet", "was created at").Until == nil {
		t.Errorf("%+v", e)
	}
	has(t, why("3"), "other_event", "registered for SESSION:COMPLETE", "the event is SESSION:NOTE_INSERT")
	if l := decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain", "").ok(200)); len(l.Data) != 1 || l.Data[0].Callback != 2 {
		t.Errorf("without a callback: %+v", l.Data)
	}
	s.call("GET", "/v1/events/"+ev.ID+"/explain?callback=99", "").says(400, "not a callback of this API key")
	other := s.as(s.newKey("other", false))
	other.call("GET", "/v1/events/"+ev.ID+"/explain", "").says(404)
	other.call("GET", "/v1/deliveries/"+ev.delivery(2)+"/explain", "").says(404)
	s.call("GET", "/v1/deliveries/x/explain", "").says(404)
	s.call("GET", "/v1/events/x/explain", "").says(404)
}

func TestWhyADeliveryWaits(t *testing.T) { onBothStores(t, whyADeliveryWaits) }

func whyADeliveryWaits(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusInternalServerError) // it holds for the delivery alone
	})
	s.register("SESSION:COMPLETE", recv.url, `,"order":"1h"`)
	first := s.publish("SESSION:COMPLETE", "S", `{}`)
	recv.next()
	s.until("the first failure", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+first.delivery(1), "").ok(200)).Attempts == 1
	})
	second := s.publish("SESSION:COMPLETE", "S", `{}`)
	e := s.explain(first.delivery(1))
	if e.State != "pending" || has(t, e, "waiting_retry", "Attempt 2 is due at", "Retry-After: 600").Until == nil || !strings.Contains(e.Next, "/retry") {
		t.Errorf("%+v", e)
	}
	has(t, e, "last_attempt", "Attempt 1 at", "answered 500")
	e = s.explain(second.delivery(1))
	has(t, e, "held", "Event 1 of its session failed")
	if has(t, e, "backlog", "1 older delivery to the callback is pending").Since == nil || !strings.Contains(e.Next, first.delivery(1)+"/explain") {
		t.Errorf("%+v", e)
	}
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	e = s.explain(second.delivery(1))
	if e.Reasons[0].Code != "paused" || !strings.Contains(e.Reasons[0].Message, "somebody paused it") || !strings.Contains(e.Next, "POST /v1/callbacks/SESSION:COMPLETE/resume") {
		t.Errorf("%+v", e)
	}
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	e = s.explain(second.delivery(1))
	if e.State != "canceled" || e.Reasons[0].Code != "callback_deleted" {
		t.Errorf("%+v", e)
	}
}

func TestWhyADeliveryFailed(t *testing.T) { onBothStores(t, whyADeliveryFailed) }

func whyADeliveryFailed(t *testing.T, on func(*setup)) {
	s := start(t, on, func(c *setup) { c.allow = []string{"127.0.0.1/32"} })
	s.register("SESSION:COMPLETE", "http://127.0.0.2:9/", `,"retry":[0]`)
	s.register("SESSION:NOTE_INSERT", "http://"+closedPort(t)+"/", `,"retry":[0,0]`)
	refused, failed := s.publish("SESSION:COMPLETE", "S", `{}`), s.publish("SESSION:NOTE_INSERT", "S", `{}`)
	s.until("both failures", func() bool {
		return len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?state=failed", "").ok(200)).Data) == 2
	})
	e := s.explain(refused.delivery(1))
	if e.Reasons[0].Code != "refused_address" || !strings.Contains(e.Next, "--allow-target") {
		t.Errorf("%+v", e)
	}
	has(t, s.explain(failed.delivery(2)), "failed", "Both attempts failed; the last one at")
	for query, want := range map[string]int{"fault=refused": 1, "fault=connect": 1, "fault=tls": 0, "status=5xx": 0, "status=5XX": 0} {
		if n := len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?"+query, "").ok(200)).Data); n != want {
			t.Errorf("%s gives %d, want %d", query, n, want)
		}
	}
	s.call("GET", "/v1/deliveries?status=99", "").says(400, "status must be")
	s.call("GET", "/v1/deliveries?status=6xx", "").says(400, "status must be")
	s.call("GET", "/v1/deliveries?fault=x", "").says(400, `fault "x" is not supported. Use status, refused,`)
}

// A 2xx whose body is cut is a success, and the history and the explanation say
// what happened; a query that is too long ends the delivery at once.
func TestACutBodyAndALongQueryAreSaid(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("half"))
	})
	s.register("SESSION:COMPLETE", recv.url, "")
	s.register("SESSION:NOTE_INSERT", recv.url, `,"method":"GET"`)
	cut := s.ended(s.deliveryOf(s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)), "delivered")
	a := cut.History[0]
	if a.Fault != "" {
		t.Errorf("the fault is %q, want none: the receiver answered 2xx", a.Fault)
	}
	if !strings.Contains(a.Error, "the body of the answer is incomplete") {
		t.Errorf("the error is %q, want that the body is incomplete", a.Error)
	}
	if a.Response.Body != "half" {
		t.Errorf("the body is %q, want half", a.Response.Body)
	}
	has(t, s.explain(cut.ID), "delivered", "the body of the answer is incomplete: the connection was closed, but the status decides.")
	long := s.ended(s.publish("SESSION:NOTE_INSERT", "ACM-0123456789", `{"note":"`+strings.Repeat("x", 9000)+`"}`).delivery(2), "failed")
	if len(long.History) != 1 || long.History[0].Fault != "query" {
		t.Errorf("%+v", long)
	}
	if e := s.explain(long.ID); !strings.Contains(e.Next, "POST") {
		t.Errorf("%+v", e)
	}
	if list := decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?fault=query", "").ok(200)); len(list.Data) != 1 {
		t.Errorf("%d with the fault", len(list.Data))
	}
}

func TestTheBreakerIsSaid(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusInternalServerError) })
	s.register("SESSION:COMPLETE", recv.url, `,"retry":[0,"1h"],"order":0`)
	for i := range callbackd.BreakerThreshold {
		s.publish("SESSION:COMPLETE", fmt.Sprint("S", i), `{}`)
	}
	last := s.publish("SESSION:COMPLETE", "L", `{}`)
	s.until("the breaker", func() bool {
		return slices.ContainsFunc(s.explain(last.delivery(1)).Reasons, func(r wire.Reason) bool { return r.Code == "breaker_open" })
	})
	if r := has(t, s.explain(last.delivery(1)), "breaker_open", "Nothing is sent to it before a probe at"); r.Until == nil || r.Until.Before(time.Now()) {
		t.Errorf("%+v", r)
	}
}

// A receiver that asked to be left alone is: the policy and the explanation
// say until when, and a resume sends what waits.
func TestAClosedCallbackIsSaid(t *testing.T) { onBothStores(t, closedIsSaid) }

func closedIsSaid(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.Header().Add("Retry-After", "300")
			w.Header().Add("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, "")
	first := s.publish("SESSION:COMPLETE", "S1", `{}`)
	recv.next()
	s.until("the first failure", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+first.delivery(1), "").ok(200)).Attempts == 1
	})
	second := s.publish("SESSION:COMPLETE", "S2", `{}`)
	r := has(t, s.explain(second.delivery(1)), "asked_to_wait", "(Retry-After); nothing is sent to it before")
	p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200))
	if p.ClosedUntil == nil || time.Until(*p.ClosedUntil) < 9*time.Minute || r.Until == nil || !r.Until.Equal(*p.ClosedUntil) {
		t.Errorf("closed until %v, explained as %v", p.ClosedUntil, r.Until)
	}
	if e := s.explain(second.delivery(1)); !strings.Contains(e.Next, "/resume") {
		t.Errorf("%+v", e)
	}
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	s.until("both", func() bool {
		return len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?state=delivered", "").ok(200)).Data) == 2
	})
	if p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)); p.ClosedUntil != nil {
		t.Errorf("still closed until %v", p.ClosedUntil)
	}
}

// What outlasts its callback is told as it ended, and nobody is advised to
// send again what was delivered.
func TestWhatOutlastsItsCallbackIsExplained(t *testing.T) { onBothStores(t, outlastingIsExplained) }

func outlastingIsExplained(t *testing.T, on func(*setup)) {
	s := start(t, on)
	answer := make(chan struct{})
	recv := listen(t, func(w http.ResponseWriter, _ int) { <-answer })
	s.register("SESSION:COMPLETE", recv.url, `,"timeout":"60s"`)
	id := s.publish("SESSION:COMPLETE", "S1", `{}`).delivery(1)
	recv.next()
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	e := s.explain(id)
	if has(t, e, "sending", "1 attempt to the callback that began before is still in flight"); e.State != "canceled" {
		t.Errorf("%+v", e)
	}
	close(answer)
	s.until("the outcome", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+id, "").ok(200)).State == "delivered"
	})
	e = s.explain(id)
	if has(t, e, "delivered", "answered 200 to attempt 1"); len(e.Reasons) != 1 || !strings.Contains(e.Next, "webhook-id") {
		t.Errorf("%+v", e)
	}
}

// What waits because nothing has succeeded at its host yet is told so.
func TestProbationIsSaid(t *testing.T) {
	s := start(t)
	answer := make(chan struct{})
	recv := listen(t, func(w http.ResponseWriter, _ int) { <-answer })
	defer close(answer)
	for i := range callbackd.RampStart + 1 {
		s.register("SESSION:COMPLETE", recv.url, `,"timeout":"60s","name":"n`+itoa(i)+`"`)
	}
	ev := s.publish("SESSION:COMPLETE", "S", `{}`)
	for range callbackd.RampStart {
		recv.next()
	}
	waiting := 0
	for i := range callbackd.RampStart + 1 {
		for _, r := range s.explain(ev.delivery(i + 1)).Reasons {
			if r.Code == "probation" && strings.Contains(r.Message, "has not succeeded at "+recv.url+" yet") {
				waiting++
			}
		}
	}
	if waiting != 1 {
		t.Errorf("%d are told of the probation, and one waits", waiting)
	}
}
