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
	e := why("2")
	contains(t, "the advice", e.Next, "POST /v1/replays with target 2, session_key S")
	if has(t, e, "not_registered_yet", "was created at").Until == nil {
		t.Error("not_registered_yet has no time, want when the callback was created")
	}
	has(t, why("3"), "other_event", "registered for SESSION:COMPLETE", "the event is SESSION:NOTE_INSERT")
	l := decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain", "").ok(200))
	if len(l.Data) != 1 {
		t.Fatalf("%d explanations without a callback, want 1", len(l.Data))
	}
	equal(t, "the callback of the explanation", l.Data[0].Callback, int64(2))
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
	equal(t, "the state of the first", e.State, "pending")
	if has(t, e, "waiting_retry", "Attempt 2 is due at", "Retry-After: 600").Until == nil {
		t.Error("waiting_retry has no time, want when the retry is due")
	}
	contains(t, "the advice for the first", e.Next, "/retry")
	has(t, e, "last_attempt", "Attempt 1 at", "answered 500")
	e = s.explain(second.delivery(1))
	has(t, e, "held", "Event 1 of its session failed")
	if has(t, e, "backlog", "1 older delivery to the callback is pending").Since == nil {
		t.Error("backlog has no time, want since when the older delivery waits")
	}
	contains(t, "the advice for the second", e.Next, first.delivery(1)+"/explain")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	e = s.explain(second.delivery(1))
	equal(t, "the first reason of a pause", e.Reasons[0].Code, "paused")
	contains(t, "the message about the pause", e.Reasons[0].Message, "somebody paused it")
	contains(t, "the advice for a pause", e.Next, "POST /v1/callbacks/SESSION:COMPLETE/resume")
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	e = s.explain(second.delivery(1))
	equal(t, "the state after the deletion", e.State, "canceled")
	equal(t, "the first reason after the deletion", e.Reasons[0].Code, "callback_deleted")
}

func TestWhyADeliveryWaitsInItsOrderGroup(t *testing.T) {
	onBothStores(t, whyADeliveryWaitsInItsOrderGroup)
}

func whyADeliveryWaitsInItsOrderGroup(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s.register("SESSION:STATUS_CHANGE", recv.url+"/status", `,"retry":[0,3600],"policy":{"order":"1h","order_group":"auto"}`)
	s.register("SESSION:COMPLETE", recv.url+"/complete", `,"policy":{"order_group":"auto"}`)
	first := s.publish("SESSION:STATUS_CHANGE", "S", `{}`)
	recv.next()
	s.until("the failure", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+first.delivery(1), "").ok(200)).Attempts == 1
	})
	second := s.publish("SESSION:COMPLETE", "S", `{}`)
	s.until("the reason", func() bool {
		e := s.explain(second.delivery(2))
		return len(e.Reasons) > 0 && e.Reasons[0].Code == "order_group"
	})
	e := s.explain(second.delivery(2))
	if has(t, e, "order_group", "It waits for "+first.ID+" of its session (event 1) to another callback of the order group, which failed and holds later ones until").Until == nil {
		t.Error("order_group has no time, want when the failed delivery holds no longer")
	}
	contains(t, "the advice", e.Next, first.delivery(1)+"/explain")
	s.call("POST", "/v1/deliveries/"+first.delivery(1)+"/retry", "").ok(202)
	recv.next()
	recv.next()
	s.until("the delivery", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+second.delivery(2), "").ok(200)).State == "delivered"
	})
	p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200))
	equal(t, "the order group", p.OrderGroup, "auto")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/"}`).ok(200)
	p = decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200))
	equal(t, "the order group without one", p.OrderGroup, "")
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
	equal(t, "the first reason", e.Reasons[0].Code, "refused_address")
	contains(t, "the advice", e.Next, "--allow-target")
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
	if len(long.History) != 1 {
		t.Fatalf("%d attempts with a query that is too long, want 1", len(long.History))
	}
	equal(t, "the fault", long.History[0].Fault, "query")
	contains(t, "the advice", s.explain(long.ID).Next, "POST")
	if list := decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?fault=query", "").ok(200)); len(list.Data) != 1 {
		t.Errorf("%d deliveries are listed with the fault query, want 1", len(list.Data))
	}
}

func TestAnOpenBreakerIsExplained(t *testing.T) {
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
	r := has(t, s.explain(last.delivery(1)), "breaker_open", "Nothing is sent to it before a probe at")
	if r.Until == nil {
		t.Fatal("breaker_open has no time, want that of the probe")
	}
	if now := time.Now(); r.Until.Before(now) {
		t.Errorf("the probe is at %v, want later than now, %v", r.Until, now)
	}
}

// When a receiver asks for no requests, nothing is sent. The policy and the explanation
// say until when, and a resume sends what waits.
func TestAClosedCallbackIsExplained(t *testing.T) { onBothStores(t, closedIsExplained) }

func closedIsExplained(t *testing.T, on func(*setup)) {
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
	if p.ClosedUntil == nil || r.Until == nil {
		t.Fatalf("the policy says closed until %v, the explanation until %v; want a time in both", p.ClosedUntil, r.Until)
	}
	if wait := time.Until(*p.ClosedUntil); wait < 9*time.Minute {
		t.Errorf("the callback is closed for %v, want 9 min or more", wait)
	}
	if !r.Until.Equal(*p.ClosedUntil) {
		t.Errorf("the explanation says until %v, want %v as in the policy", r.Until, p.ClosedUntil)
	}
	contains(t, "the advice", s.explain(second.delivery(1)).Next, "/resume")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	s.until("both", func() bool {
		return len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?state=delivered", "").ok(200)).Data) == 2
	})
	if p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)); p.ClosedUntil != nil {
		t.Errorf("after a resume the callback is closed until %v, want that it is open", p.ClosedUntil)
	}
}

// An attempt that outlasts its callback is explained by its outcome, and there is no advice
// to resend what was delivered.
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
	has(t, e, "sending", "1 attempt to the callback that began before is still in flight")
	equal(t, "the state during the attempt", e.State, "canceled")
	close(answer)
	s.until("the outcome", func() bool {
		return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+id, "").ok(200)).State == "delivered"
	})
	e = s.explain(id)
	has(t, e, "delivered", "answered 200 to attempt 1")
	equal(t, "the number of reasons", len(e.Reasons), 1)
	contains(t, "the advice", e.Next, "webhook-id")
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
	// The one that waits may still have its callback's setting read.
	s.until("one delivery is told of the probation", func() bool {
		waiting := 0
		for i := range callbackd.RampStart + 1 {
			for _, r := range s.explain(ev.delivery(i + 1)).Reasons {
				if r.Code == "probation" && strings.Contains(r.Message, "has not succeeded at "+recv.url+" yet") {
					waiting++
				}
			}
		}
		return waiting == 1
	})
}

func TestWhyADeliveryWasStopped(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("callback-control", "stop")
		w.WriteHeader(http.StatusInternalServerError)
	})
	s.register("SESSION:COMPLETE", recv.url, "")
	d := s.publish("SESSION:COMPLETE", "S", `{}`).delivery(1)
	recv.next()
	s.until("the end", func() bool { return s.explain(d).State == "failed" })
	has(t, s.explain(d), "failed", "The only attempt failed at", "answered 500; the receiver wants no further attempt of this delivery (callback-control: stop).")
}

// What a message says to call is about the callback that it is about, and not about the default
// one of the event.
func TestAdviceNamesTheCallback(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", `,"name":"audit"`)
	at := "/v1/callbacks/SESSION:COMPLETE"
	s.call("POST", at+"/pause?name=audit", "").ok(200)
	d := s.publish("SESSION:COMPLETE", "S", `{}`).delivery(1)
	contains(t, "the advice", s.explain(d).Next, "POST "+at+"/resume?name=audit")
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://b.example/","name":"audit"}`).says(409, "PUT "+at+"?name=audit updates it")
	s.call("PUT", at+"?name=audit", `{"url":"https://a.example/","secret":"known already"}`).says(400, "POST "+at+"/secret/rotate?name=audit")
	s.call("POST", at+"/auth/test?name=audit", "").says(409, "POST "+at+"/auth/rotate?name=audit")
}
