package api_test

import (
	"fmt"
	"testing"
	"time"

	"callbackd/wire"
)

// later returns a time from now as the API reads it.
func later(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

func TestWhatIsTooOldExpires(t *testing.T) { onBothStores(t, whatIsTooOldExpires) }

func whatIsTooOldExpires(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, `,"policy":{"ttl":"1s"}`)
	equal(t, "the ttl", decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)).TTL, "1s")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	body := fmt.Sprintf(`[{"event":"SESSION:COMPLETE","session_key":"S"},
		{"event":"SESSION:COMPLETE","session_key":"S","expires_at":%q},
		{"event":"SESSION:COMPLETE","session_key":"S","deliver_at":%q,"expires_at":%q}]`, later(-time.Hour), later(time.Hour), later(2*time.Hour))
	evs := decode[[]wire.Accepted](s.call("POST", "/v1/events", body).ok(202))
	equal(t, "accepted events", len(evs), 3)
	ids := make([]string, 3)
	for i, ev := range evs {
		ids[i] = decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200)).Deliveries[0]
	}
	s.until("two expired deliveries", func() bool {
		if _, _, err := s.store.Expire(t.Context(), time.Now(), 10); err != nil { // as the server's job does
			t.Error(err)
		}
		return len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?state=expired", "").ok(200)).Data) == 2
	})
	d := s.delivery(ids[0])
	equal(t, "attempts", d.Attempts, 0)
	contains(t, "why it expired", d.Expiry.Why, "it expired at ")
	equal(t, "its cancellation", d.Cancellation == nil, true)
	e := s.explain(ids[0])
	has(t, e, "expired", "no attempt was made")
	contains(t, "the advice", e.Next, "/retry")
	d = s.delivery(ids[2])
	equal(t, "the state of what is deferred", d.State, "pending")
	equal(t, "when it is sent, and when it expires", d.ExpiresAt.Sub(*d.NextAttempt), time.Second)
	e = s.explain(ids[2])
	has(t, e, "deferred", "deliver_at")
	has(t, e, "expires", "ends as expired")
	ev := decode[wire.Event](s.call("GET", "/v1/events/"+evs[2].ID, "").ok(200))
	equal(t, "the times of the event", ev.ExpiresAt.Sub(*ev.DeliverAt).Round(time.Second), time.Hour)

	equal(t, "what a replay would send", int(decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"states":["expired"],"dry_run":true}`).ok(200)).Total), 2)
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	s.call("POST", "/v1/deliveries/"+ids[0]+"/retry", "")
	s.until("the resent delivery", func() bool { return s.delivery(ids[0]).State == "delivered" })
	equal(t, "the other one", s.delivery(ids[1]).State, "expired")
	equal(t, "what is canceled of the deferred one", s.cancel(`{}`).Canceled, int64(1))
}

func TestADeferredEventIsDelivered(t *testing.T) { onBothStores(t, deferredEventIsDelivered) }

func deferredEventIsDelivered(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	at := time.Now().Add(700 * time.Millisecond)
	ev := decode[wire.Accepted](s.call("POST", "/v1/events", fmt.Sprintf(`{"event":"SESSION:COMPLETE","session_key":"S","deliver_at":%q}`, at.Format(time.RFC3339Nano))).ok(202))
	id := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200)).Deliveries[0]
	next := s.publish("SESSION:COMPLETE", "S", `{}`).delivery(1)
	s.until("the later one", func() bool { return s.delivery(next).State == "delivered" })
	s.until("the deferred one", func() bool { return s.delivery(id).State == "delivered" })
	if early := at.Truncate(time.Millisecond).Sub(s.delivery(id).History[0].StartedAt); early > 0 {
		t.Errorf("the attempt began %v early", early)
	}
}

func TestTimesOfEventsAreRead(t *testing.T) {
	s := start(t)
	publish := func(members string) reply {
		t.Helper()
		return s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S",`+members+`}`)
	}
	for _, wrong := range []string{
		`1767366245`, `"1767366245"`, `"2099-01-02"`, `"2099-01-02T15:04:05"`, `"2099-01-02 15:04:05Z"`, `"2099-01-02t15:04:05z"`, `"2099-01-02T15:04Z"`,
		`"2099-02-30T15:04:05Z"`, `"2099-01-02T24:00:00Z"`, `"2099-01-02T15:04:05,5Z"`, `"2099-01-02T15:04:05+25:00"`, `"tomorrow"`, `""`, `"1969-12-31T23:59:59Z"`, `true`, `{}`,
	} {
		for _, member := range []string{"deliver_at", "expires_at"} {
			publish(`"`+member+`":`+wrong).says(400, member+" must be a time with an offset from UTC")
		}
	}
	publish(fmt.Sprintf(`"deliver_at":%q`, later(31*24*time.Hour))).says(400, "more than 30 d in the future")
	at := later(time.Hour)
	publish(fmt.Sprintf(`"deliver_at":%q,"expires_at":%q`, at, at)).says(400, "could never be delivered")
	publish(fmt.Sprintf(`"deliver_at":%q,"expires_at":%q`, at, later(time.Minute))).says(400, "is not before expires_at")
	for _, right := range []string{`"deliver_at":null,"expires_at":null`, `"deliver_at":"2020-01-02T15:04:05+02:00"`, `"expires_at":"2099-01-02T15:04:05.123456Z"`, `"expires_at":"9999-12-31T23:59:59-12:00"`} {
		publish(right).ok(202)
	}
	body := `{"event":"SESSION:COMPLETE","session_key":"S","id":"x","expires_at":"2099-01-02T15:04:05Z"}`
	first := decode[wire.Accepted](s.call("POST", "/v1/events", body).ok(202))
	equal(t, "the answer to a repeat", decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","id":"x","expires_at":"2099-01-02T16:04:05+01:00"}`).ok(202)), first)
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","id":"x"}`).says(409)
}
