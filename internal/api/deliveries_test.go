package api_test

import (
	"net/http"
	"strings"
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
	if d.EventID != ev.ID || d.Event != "SESSION:COMPLETE" || d.SessionKey != "ACM-0123456789" || d.Sequence != 1 || d.CallbackName != "default" || d.Attempts != 2 || d.NextAttempt != nil || d.Repeated || d.Test || len(d.History) != 2 {
		t.Fatalf("%+v", d)
	}
	first, second := d.History[0], d.History[1]
	sent := map[string]string{}
	for _, h := range first.Request.Headers {
		sent[h.Name] = h.Value
	}
	if sent["Authorization"] != "[redacted]" || sent["webhook-signature"] != "[redacted]" || sent["webhook-id"] != ev.ID || sent["callback-attempt"] != "1" || sent["Content-Type"] != "application/json" {
		t.Errorf("sent %v", sent)
	}
	if first.Request.Method != "POST" || first.Request.URL != recv.url+"/hook" || first.Request.Body != `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","a":1.0}` {
		t.Errorf("%+v", first.Request)
	}
	if first.Number != 1 || first.Fault != "status" || first.State != "pending" || first.Next == nil || first.Why == "" || "http://"+first.Address != recv.url || first.Timings.Total <= 0 || first.Repeat {
		t.Errorf("%+v", first)
	}
	r := first.Response
	if r == nil || r.Status != 503 || r.Body != "not now, [redacted]" || r.Encoding != "utf-8" || r.RetryAfter != "0" || !strings.Contains(r.Headers, "X-Reason: [redacted]") || !strings.Contains(r.Headers, "Set-Cookie: [redacted]") {
		t.Errorf("%+v", r)
	}
	if r := second.Response; second.State != "delivered" || second.Why != "the receiver answered 201" || r.Body != "//4=" || r.Encoding != "base64" || r.Size != 2 || r.Truncated {
		t.Errorf("%+v", second)
	}
	if body := s.call("GET", "/v1/deliveries/"+d.ID, "").body; strings.Contains(body, "topsecret") || strings.Contains(body, "session=1") {
		t.Errorf("a secret shows: %s", body)
	}
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
	if a := d.History[0]; a.Request.URL != closed || a.Request.Method != "POST" || a.Fault != "connect" || a.Response != nil {
		t.Errorf("%+v", a)
	}
	if a := d.History[1]; a.Request.URL != recv.url+"/new" || a.Request.Method != "PUT" || !a.Repeat {
		t.Errorf("%+v", a)
	}
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
	r := s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	if d := decode[wire.Delivery](r); d.ID != id || d.Attempts < 1 {
		t.Errorf("%+v", d)
	}
	again := recv.next()
	if again.header.Get("webhook-id") != first.header.Get("webhook-id") || again.body != first.body || again.header.Get("callback-attempt") != "2" {
		t.Errorf("%v %s", again.header, again.body)
	}
	var d wire.Delivery
	s.until("the repeat", func() bool { d = s.delivery(id); return d.State == "delivered" && d.Attempts == 2 })
	if len(d.History) != 2 || d.History[0].Repeat || !d.History[1].Repeat || d.Repeated {
		t.Errorf("%+v", d)
	}
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
	if d := s.ended(id, "failed"); d.Attempts != 2 {
		t.Errorf("%+v", d)
	}
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	if d := s.ended(id, "delivered"); d.Attempts != 4 || !d.History[2].Repeat || d.History[3].Repeat {
		t.Errorf("%+v", d)
	}
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
	if d := s.delivery(id); d.NextAttempt == nil || time.Until(*d.NextAttempt) < 50*time.Minute {
		t.Errorf("%+v", d)
	}
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").ok(202)
	if d := s.ended(id, "delivered"); d.Attempts != 2 || d.History[1].Repeat {
		t.Errorf("%+v", d)
	}
}

// A test-send goes the way of every event, marked, and answers with the
// attempt's full story.
func TestTestSend(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 2 {
			w.WriteHeader(500)
		}
	})
	s.register("SESSION:STATUS_CHANGE", recv.url, `,"payload":{"source":"me"},"headers":{"A":"secret-value"}`)
	d := decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION%3ASTATUS_CHANGE/test", "").ok(200))
	h := recv.next()
	if want := `{"event":"SESSION:STATUS_CHANGE","session_key":"TST-0000000000","test":true,"status":"COMPLETE","timestamp":"2026-01-02T15:11:11+00:00","previous_status":"CONFIRM","source":"me"}`; h.body != want {
		t.Errorf("body %s", h.body)
	}
	if h.header.Get("callback-test") != "true" || h.header.Get("webhook-id") != d.EventID || h.header.Get("webhook-signature") == "" {
		t.Errorf("headers %v", h.header)
	}
	if !d.Test || d.State != "delivered" || len(d.History) != 1 || d.History[0].Response.Status != 200 || d.History[0].Request.Body != h.body {
		t.Errorf("%+v", d)
	}
	// A failure is told at once and not tried again.
	d = decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION:STATUS_CHANGE/test", "").ok(200))
	if d.State != "failed" || len(d.History) != 1 || d.History[0].Response.Status != 500 || d.History[0].Why != "a test is sent once" {
		t.Errorf("%+v", d)
	}
	// It is an event like others, and marked there too; other callbacks of
	// the event do not get it.
	s.register("SESSION:STATUS_CHANGE", "http://"+closedPort(t), `,"name":"other"`)
	l := decode[wire.EventList](s.call("GET", "/v1/events", "").ok(200))
	if len(l.Data) != 2 || !l.Data[0].Test || len(l.Data[0].Deliveries) != 1 {
		t.Errorf("%+v", l)
	}
	recv.next()
	// It passes a pause.
	s.call("POST", "/v1/callbacks/SESSION:STATUS_CHANGE/pause", "").ok(200)
	if d = decode[wire.Delivery](s.call("POST", "/v1/callbacks/SESSION:STATUS_CHANGE/test", "").ok(200)); d.State != "delivered" {
		t.Errorf("%+v", d)
	}
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
	limited := false
	for range 50 {
		r := s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "")
		if r.status == 429 {
			r.is(429, `{"message":"Test-sends are limited to 1 a second. Try again in a moment."}`)
			if r.header.Get("Retry-After") != "1" {
				t.Error(r.header)
			}
			limited = true
			break
		}
	}
	if !limited {
		t.Error("50 test-sends in a row are not limited")
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
