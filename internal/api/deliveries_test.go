package api_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/wire"
)

// deliveryOf is the id of the one delivery of an event.
func (s *server) deliveryOf(ev published) string {
	s.t.Helper()
	e := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200))
	if len(e.Deliveries) != 1 {
		s.t.Fatalf("event %s has deliveries %v", ev.ID, e.Deliveries)
	}
	return e.Deliveries[0]
}

func (s *server) delivery(id string) wire.Delivery {
	s.t.Helper()
	return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+id, "").ok(200))
}

func (s *server) deliveries(query string) wire.DeliveryList {
	s.t.Helper()
	return decode[wire.DeliveryList](s.call("GET", "/v1/deliveries"+query, "").ok(200))
}

// ended waits for a delivery's end.
func (s *server) ended(id, state string) (d wire.Delivery) {
	s.t.Helper()
	s.until(state, func() bool { d = s.delivery(id); return d.State == state })
	return d
}

// metric reads one sample of /metrics.
func (s *server) metric(name string) string {
	s.t.Helper()
	for line := range strings.Lines(s.call("GET", "/metrics", "").ok(200).body) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	s.t.Fatalf("there is no metric %s", name)
	return ""
}

// A delivery tells of every attempt what was sent, secrets redacted, what
// came back, and why the next is when it is.
func TestADeliveryTellsItsStory(t *testing.T) { onBothStores(t, aDeliveryTellsItsStory) }

func aDeliveryTellsItsStory(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.Header().Set("X-Reason", "Bearer topsecret")
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Set-Cookie", "session=1")
			w.WriteHeader(503)
			w.Write([]byte("not now, topsecret"))
			return
		}
		w.WriteHeader(201)
		w.Write([]byte{0xff, 0xfe})
	})
	s.register("SESSION:COMPLETE", recv.url+"/hook", `,"headers":{"Authorization":"Bearer topsecret"},"retry":["0s","0s"]`)
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"a":1.0}`)
	d := s.ended(s.deliveryOf(ev), "delivered")
	if len(d.History) != 2 {
		t.Fatalf("%d attempts, want 2: %+v", len(d.History), d)
	}
	wantFailedAttempt(t, d.History[0], recv.url, ev.ID)
	wantDeliveredAttempt(t, d.History[1])
	d.History, d.AcceptedAt = nil, time.Time{}
	equal(t, "the delivery", d, wire.Delivery{ID: ev.delivery(1), EventID: ev.ID, Event: "SESSION:COMPLETE", SessionKey: "ACM-0123456789", Sequence: 1,
		Callback: 1, CallbackName: "default", State: "delivered", Attempts: 2})
	lacks(t, "the answer", s.call("GET", "/v1/deliveries/"+d.ID, "").body, "topsecret", "session=1")
}

// wantFailedAttempt checks the first attempt of aDeliveryTellsItsStory.
func wantFailedAttempt(t *testing.T, a wire.Attempt, receiver, event string) {
	t.Helper()
	sent := map[string]string{}
	for _, h := range a.Request.Headers {
		sent[h.Name] = h.Value
	}
	for name, want := range map[string]string{"Authorization": "[redacted]", "webhook-signature": "[redacted]", "webhook-id": event, "callback-attempt": "1", "Content-Type": "application/json"} {
		equal(t, "the header "+name, sent[name], want)
	}
	a.Request.Headers = nil
	equal(t, "the request", a.Request, wire.Request{Method: "POST", URL: receiver + "/hook", Body: `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","a":1.0}`})

	if a.Response == nil {
		t.Fatal("the first attempt has no response")
	}
	contains(t, "the headers of the answer", a.Response.Headers, "X-Reason: [redacted]", "Set-Cookie: [redacted]")
	a.Response.Headers = ""
	const body = "not now, topsecret"
	equal(t, "the answer", *a.Response, wire.Response{Status: 503, Body: "not now, [redacted]", Encoding: "utf-8", Size: int64(len(body)), RetryAfter: "0"})

	equal(t, "the number", a.Number, 1)
	equal(t, "the fault", a.Fault, "status")
	equal(t, "the state", a.State, "pending")
	equal(t, "the address", "http://"+a.Address, receiver)
	equal(t, "that a person asked for it", a.Repeat, false)
	if a.Next == nil || a.Why == "" {
		t.Errorf("the next attempt is at %v because %q, want a time and a reason", a.Next, a.Why)
	}
	if a.Timings.Total <= 0 {
		t.Errorf("it took %v ms, want more than nothing", a.Timings.Total)
	}
}

// wantDeliveredAttempt checks the second attempt of aDeliveryTellsItsStory.
func wantDeliveredAttempt(t *testing.T, a wire.Attempt) {
	t.Helper()
	equal(t, "the state", a.State, "delivered")
	equal(t, "the reason", a.Why, "the receiver answered 201")
	a.Response.Headers = ""
	equal(t, "the answer", *a.Response, wire.Response{Status: 201, Body: "//4=", Encoding: "base64", Size: 2})
}

// A setting may change between attempts: each shows what it sent.
func TestAttemptsShowTheSettingThatWasSent(t *testing.T) {
	onBothStores(t, attemptsShowTheSettingThatWasSent)
}

func attemptsShowTheSettingThatWasSent(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	closed := "http://" + closedPort(t) + "/"
	s.register("SESSION:COMPLETE", closed, `,"retry":["0s"],"headers":{"X-Old":"x"}`)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`))
	s.ended(id, "failed")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`/new","method":"PUT"}`).ok(200)
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	d := s.ended(id, "delivered")
	if len(d.History) != 2 {
		t.Fatalf("%d attempts, want 2: %+v", len(d.History), d)
	}
	first, second := d.History[0], d.History[1]
	equal(t, "the first URL", first.Request.URL, closed)
	equal(t, "the first method", first.Request.Method, "POST")
	equal(t, "the first fault", first.Fault, "connect")
	equal(t, "the first answer", first.Response, (*wire.Response)(nil))
	equal(t, "the second URL", second.Request.URL, recv.url+"/new")
	equal(t, "the second method", second.Request.Method, "PUT")
	equal(t, "that a person asked for the second", second.Repeat, true)
}

// A delivered one can be sent again. It is a repeat: with the same
// webhook-id, marked in its history, counted by a metric.
func TestRetryOfADeliveredOneIsARepeat(t *testing.T) { onBothStores(t, retryOfADeliveredOneIsARepeat) }

func retryOfADeliveredOneIsARepeat(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"a":1}`)
	id := s.deliveryOf(ev)
	first := recv.next()
	s.ended(id, "delivered")
	s.until("the metric", func() bool { return s.metric(`callbackd_deliveries_ended_total{state="delivered"}`) == "1" })
	if n := s.metric("callbackd_manual_attempts_total"); n != "0" {
		t.Errorf("repeats before: %s", n)
	}
	d := decode[wire.Delivery](s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202))
	equal(t, "the delivery of the answer", d.ID, id)
	if d.Attempts < 1 {
		t.Errorf("the answer has %d attempts, want 1 or more", d.Attempts)
	}
	again := recv.next()
	equal(t, "webhook-id", again.header.Get("webhook-id"), first.header.Get("webhook-id"))
	equal(t, "the body", again.body, first.body)
	equal(t, "callback-attempt", again.header.Get("callback-attempt"), "2")
	s.until("the repeat", func() bool { d = s.delivery(id); return d.State == "delivered" && d.Attempts == 2 })
	equal(t, "which attempts a person asked for", repeats(d), []bool{false, true})
	equal(t, "that a repeat waits", d.Repeated, false)
	s.until("the metric", func() bool { return s.metric("callbackd_manual_attempts_total") == "1" })
}

// A failed delivery is retried from the start of its schedule.
func TestRetryOfAFailedOneStartsItsScheduleAgain(t *testing.T) {
	onBothStores(t, retryOfAFailedOneStartsItsScheduleAgain)
}

func retryOfAFailedOneStartsItsScheduleAgain(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n <= 3 {
			w.WriteHeader(500)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, `,"retry":["0s","0s"]`)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`))
	equal(t, "attempts before", s.ended(id, "failed").Attempts, 2)
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	d := s.ended(id, "delivered")
	equal(t, "attempts", d.Attempts, 4)
	equal(t, "which attempts a person asked for", repeats(d), []bool{false, false, true, false})
}

// repeats tells of each attempt whether a person asked for it after the end.
func repeats(d wire.Delivery) (out []bool) {
	for _, a := range d.History {
		out = append(out, a.Repeat)
	}
	return out
}

// A delivery that waits for its schedule can be sent now.
func TestRetryOfAWaitingOneIsDueAtOnce(t *testing.T) { onBothStores(t, retryOfAWaitingOneIsDueAtOnce) }

func retryOfAWaitingOneIsDueAtOnce(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.WriteHeader(500)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, `,"retry":["0s","1h"]`)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`))
	s.until("the first attempt", func() bool { return s.delivery(id).Attempts == 1 })
	if next := s.delivery(id).NextAttempt; next == nil || time.Until(*next) < 50*time.Minute {
		t.Errorf("the next attempt is at %v, want about an hour from now", next)
	}
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	equal(t, "which attempts a person asked for", repeats(s.ended(id, "delivered")), []bool{false, false})
}

// testSend sends a test to the callback of STATUS_CHANGE.
func (s *server) testSend() wire.Delivery {
	s.t.Helper()
	return decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION%3ASTATUS_CHANGE/test", "").ok(200))
}

// onlyAttempt is the attempt of a delivery that was tried once.
func onlyAttempt(t *testing.T, d wire.Delivery) wire.Attempt {
	t.Helper()
	if len(d.History) != 1 {
		t.Fatalf("%d attempts, want 1: %+v", len(d.History), d)
	}
	return d.History[0]
}

// A test is sent as every event is, is marked as a test, and answers with all about its
// attempt.
func TestATestSendIsMarkedAndTellsItsAttempt(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:STATUS_CHANGE", recv.url, `,"payload":{"source":"me"},"headers":{"A":"secret-value"}`)
	d := s.testSend()
	h := recv.next()
	equal(t, "the body", h.body, `{"event":"SESSION:STATUS_CHANGE","session_key":"TST-0000000000","test":true,"status":"COMPLETE","timestamp":"2026-01-02T15:11:11+00:00","previous_status":"CONFIRM","source":"me"}`)
	equal(t, "callback-test", h.header.Get("callback-test"), "true")
	equal(t, "webhook-id", h.header.Get("webhook-id"), d.EventID)
	if h.header.Get("webhook-signature") == "" {
		t.Error("the test is not signed")
	}
	equal(t, "that it is a test", d.Test, true)
	equal(t, "the state", d.State, "delivered")
	a := onlyAttempt(t, d)
	equal(t, "the status", a.Response.Status, 200)
	equal(t, "the body that is shown", a.Request.Body, h.body)
}

func TestATestSendThatFailsIsNotTriedAgain(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(500) })
	s.register("SESSION:STATUS_CHANGE", recv.url, "")
	d := s.testSend()
	equal(t, "the state", d.State, "failed")
	a := onlyAttempt(t, d)
	equal(t, "the status", a.Response.Status, 500)
	equal(t, "the reason", a.Why, "a test is sent once")
}

// A test-send is an event like others, and marked there too. Other callbacks of the
// event do not get it.
func TestATestSendIsAnEventForOneCallback(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:STATUS_CHANGE", "http://"+closedPort(t), `,"name":"other"`)
	s.register("SESSION:STATUS_CHANGE", recv.url, "")
	d := s.testSend()
	l := decode[wire.EventList](s.call("GET", "/v1/events", "").ok(200))
	if len(l.Data) != 1 {
		t.Fatalf("%d events, want 1: %+v", len(l.Data), l)
	}
	equal(t, "that the event is a test", l.Data[0].Test, true)
	equal(t, "its deliveries", l.Data[0].Deliveries, []string{d.ID})
}

func TestATestSendPassesAPause(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:STATUS_CHANGE", recv.url, "")
	s.call("POST", "/v1/callbacks/SESSION:STATUS_CHANGE/pause", "").ok(200)
	equal(t, "the state", s.testSend().State, "delivered")
}

func TestEveryEventHasASample(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	tests := 0
	for _, typ := range callbackd.EventTypes {
		ev := string(typ)
		if tests++; tests > api.TestBurst {
			s = s.as(s.newKey("acme", false)) // more would be too many for one key
		}
		s.register(ev, recv.url, "")
		if d := decode[wire.Delivery](s.call("POST", "/v1/callbacks/"+ev+"/test", "").ok(200)); d.State != "delivered" {
			t.Errorf("%+v", d)
		}
		if h := recv.next(); !strings.HasPrefix(h.body, `{"event":"`+ev+`","session_key":"TST-0000000000","test":true,"`) {
			t.Error(h.body)
		}
	}
}

// Test-sends answer what a target did; they are limited for each key.
func TestTestSendsAreLimited(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	answers := make([]reply, 50)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "") })
	}
	all.Wait()
	limited := 0
	for _, r := range answers {
		if r.status == 429 {
			r.is(429, `{"message":"Test-sends are limited to 1 a second. Try again in a moment."}`)
			equal(t, "Retry-After", r.header.Get("Retry-After"), "1")
			limited++
		} else {
			r.ok(200)
		}
	}
	if most := len(answers) - api.TestBurst; limited == 0 || limited > most {
		t.Errorf("%d of %d test-sends at once are refused, want 1 to %d", limited, len(answers), most)
	}
	other := s.as(s.newKey("acme", false))
	other.register("SESSION:COMPLETE", recv.url, "")
	other.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "").ok(200)
}

// A delivery that was not tried yet has an empty history, not none.
func TestADeliveryWithoutAttemptsHasAnEmptyHistory(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "http://127.0.0.1:1/hook", "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "S", "{}"))
	if r := s.call("GET", "/v1/deliveries/"+id, "").ok(200); !strings.HasSuffix(r.body, `"history":[]}`+"\n") {
		t.Error(r.body)
	}
	if r := s.call("GET", "/v1/deliveries", "").ok(200); strings.Contains(r.body, "history") {
		t.Error(r.body)
	}
}
