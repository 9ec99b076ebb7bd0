package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd/wire"
)

// cancel starts a cancellation and waits for its end.
func (s *server) cancel(body string) (r wire.Replay) {
	s.t.Helper()
	r = decode[wire.Replay](s.call("POST", "/v1/deliveries/cancel", body).ok(202))
	s.until("the end of the cancellation", func() bool {
		r = decode[wire.Replay](s.call("GET", "/v1/replays/"+r.ID, "").ok(200))
		return r.State == "done"
	})
	return r
}

func (s *server) countPending(body string) int {
	s.t.Helper()
	return int(decode[wire.ReplayCount](s.call("POST", "/v1/deliveries/cancel", body).ok(200)).Total)
}

func TestWhatIsPendingIsCanceled(t *testing.T) { onBothStores(t, pendingIsCanceled) }

func pendingIsCanceled(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	var ids []string
	for i := range 4 {
		ids = append(ids, s.publish("SESSION:COMPLETE", fmt.Sprint("S", i), `{}`).delivery(1))
	}
	equal(t, "what is pending", s.countPending(`{"dry_run":true}`), 4)
	equal(t, "what is pending of a session", s.countPending(`{"dry_run":true,"session_key":"S1"}`), 1)
	equal(t, "what is pending of another event", s.countPending(`{"dry_run":true,"event":"SESSION:STATUS_CHANGE"}`), 0)
	equal(t, "what was pending in 2020", s.countPending(`{"dry_run":true,"until":"2020-01-01T00:00:00Z"}`), 0)
	equal(t, "the state after dry runs", s.delivery(ids[1]).State, "pending")

	r := s.cancel(`{"session_key":"S1","reason":"wrong vehicle"}`)
	equal(t, "the action", r.Action, "cancel")
	equal(t, "the reason", r.Reason, "wrong vehicle")
	by := fmt.Sprint("API key ", s.key.ID)
	equal(t, "who canceled", r.By, by)
	equal(t, "its states", r.States, []string{"pending"})
	equal(t, "its counts", []int64{r.Total, r.Due, r.Canceled, r.Skipped, r.Pending}, []int64{1, 1, 1, 0, 0})
	d := s.delivery(ids[1])
	equal(t, "the state", d.State, "canceled")
	equal(t, "its attempts", d.Attempts, 0)
	equal(t, "why", d.Cancellation.Why, "canceled by "+by+": wrong vehicle")
	e := s.explain(ids[1])
	has(t, e, "canceled", "It was canceled at", by+": wrong vehicle")
	contains(t, "the advice", e.Next, "/retry")

	r = s.cancel(`{"callback":1}`)
	equal(t, "the rest", r.Canceled, int64(3))
	equal(t, "the canceled deliveries", len(s.deliveries("?state=canceled").Data), 4)
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	s.publish("SESSION:COMPLETE", "S1", `{"n":5}`)
	equal(t, "the first request after the cancellation", string(recv.next().body), `{"event":"SESSION:COMPLETE","session_key":"S1","n":5}`)

	s.call("POST", "/v1/deliveries/"+ids[1]+"/retry", "").ok(202)
	equal(t, "the number of the attempt of what was resent", recv.next().header.Get("callback-attempt"), "1")
	equal(t, "its cancellation", s.ended(ids[1], "delivered").Cancellation == nil, true)
	s.call("POST", "/v1/replays", `{"states":["canceled"]}`).ok(202)
	for range 3 {
		recv.next()
	}
	s.ended(ids[3], "delivered")
}

// The result of an attempt that is in flight counts, and nothing is tried again.
func TestCanceledDuringAnAttempt(t *testing.T) { onBothStores(t, canceledDuringAnAttempt) }

func canceledDuringAnAttempt(t *testing.T, on func(*setup)) {
	for _, c := range []struct {
		answer int
		state  string
	}{{200, "delivered"}, {500, "canceled"}} {
		s := start(t, on)
		answer := make(chan struct{})
		recv := listen(t, func(w http.ResponseWriter, n int) {
			if n == 1 {
				<-answer
				w.WriteHeader(c.answer)
			}
		})
		s.register("SESSION:COMPLETE", recv.url, `,"timeout":"60s"`)
		id := s.publish("SESSION:COMPLETE", "S", `{}`).delivery(1)
		recv.next()
		s.cancel(`{"reason":"test data"}`)
		e := s.explain(id)
		equal(t, "the state during the attempt", e.State, "canceled")
		has(t, e, "sending", "in flight")
		close(answer)
		s.until("the outcome", func() bool { return len(s.delivery(id).History) == 1 })
		d := s.delivery(id)
		equal(t, "the state after the attempt", d.State, c.state)
		equal(t, "its attempts", d.Attempts, 1)
		if c.state == "canceled" {
			contains(t, "why it is not tried again", d.History[0].Why, "during the attempt: canceled by", "test data")
			has(t, s.explain(id), "canceled", "test data")
			has(t, s.explain(id), "last_attempt", "answered 500")
		}
		s.publish("SESSION:COMPLETE", "S", `{"n":2}`)
		equal(t, "the next request of the session", string(recv.next().body), `{"event":"SESSION:COMPLETE","session_key":"S","n":2}`)
	}
}

// A cancellation pauses, continues after a restart, and is repeated by its idempotency key.
func TestACancellationPausesAndContinues(t *testing.T) { onBothStores(t, cancellationPauses) }

func cancellationPauses(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	for i := range 5 {
		s.publish("SESSION:COMPLETE", fmt.Sprint("S", i), `{}`)
	}
	once := func(r *http.Request) { r.Header.Set("Idempotency-Key", "c1") }
	r := decode[wire.Replay](s.call("POST", "/v1/deliveries/cancel", `{"rate":0.001}`, once).ok(202))
	again := decode[wire.Replay](s.call("POST", "/v1/deliveries/cancel", `{"rate":0.001}`, once).ok(202))
	equal(t, "the cancellation of a repeated call", again.ID, r.ID)
	at := "/v1/replays/" + r.ID
	s.until("the first step", func() bool { return decode[wire.Replay](s.call("GET", at, "").ok(200)).Canceled == 1 })
	for _, step := range []struct{ method, path, state string }{{"POST", at + "/pause", "paused"}, {"POST", at + "/resume", "running"}, {"DELETE", at, "canceled"}} {
		r = decode[wire.Replay](s.call(step.method, step.path, "").ok(200))
		equal(t, "the state", r.State, step.state)
		equal(t, "the action", r.Action, "cancel")
	}
	equal(t, "what is left", s.countPending(`{"dry_run":true}`), 4)
	other := s.as(s.newKey("other", false))
	other.call("GET", at, "").says(404, "There is no replay")
	equal(t, "what another key can cancel", other.countPending(`{"dry_run":true}`), 0)
}

func TestFaultsOfACancellation(t *testing.T) {
	s := start(t)
	for body, says := range map[string]string{
		`{"states":["failed"]}`: `Unknown member "states". A cancellation has event,`,
		`{"target":1}`:          `Unknown member "target"`,
		`{"missing":true}`:      `Unknown member "missing"`,
		`{"since":"2027"}`:      "since must be a time",
		`{"since":"1767312000","until":"1767225600"}`:   "until 2026-01-01T00:00:00Z is not after since",
		`{"callback":"default"}`:                        "needs the member event as well",
		`{"callback":99}`:                               "callback 99 is not",
		`{"reason":7}`:                                  "reason must be a string",
		`{"reason":"a\nb"}`:                             "reason has a character that cannot be printed",
		`{"reason":"a\u202eb"}`:                         "reason has a character that cannot be printed",
		`{"reason":"` + strings.Repeat("x", 501) + `"}`: "reason is longer than 500 bytes",
		`{"dry_run":1}`:                                 "dry_run must be true or false",
		``:                                              "The body is empty",
	} {
		s.call("POST", "/v1/deliveries/cancel", body).says(400, says)
	}
	s.call("GET", "/v1/deliveries/cancel", "").says(404, "delivery cancel")
}
