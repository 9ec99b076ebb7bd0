package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"callbackd"
	"callbackd/wire"
)

// limit gives the server's key limits.
func (s *server) limit(l callbackd.KeyLimits) {
	s.t.Helper()
	err := s.store.ChangeKey(s.t.Context(), s.key.APIKey, func(k *callbackd.Key) error {
		k.Limits = l
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestPublishRateOfAKey(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		counted := map[callbackd.Limit]int{}
		s := start(t, on, func(c *setup) { c.api.Limited = func(l callbackd.Limit) { counted[l]++ } })
		s.limit(callbackd.KeyLimits{PublishRate: 0.01})
		const event = `{"event":"SESSION:COMPLETE","session_key":"S","data":{}}`
		repeatable := func(r *http.Request) { r.Header.Set("Idempotency-Key", "once") }
		first := s.call("POST", "/v1/events", event, repeatable).ok(202)
		if p, left := first.header.Get("RateLimit-Policy"), first.header.Get("RateLimit"); p != `"publish_rate";q=1;w=100` || !strings.HasPrefix(left, `"publish_rate";r=0;t=`) {
			t.Errorf("the headers are %q and %q", p, left)
		}
		over := s.call("POST", "/v1/events", event).says(429, "the limit publish_rate of this API key is 0.01 events a second")
		if wait, err := strconv.Atoi(over.header.Get("Retry-After")); err != nil || wait < 50 || wait > 100 {
			t.Errorf("Retry-After is %q, want up to 100 seconds", over.header.Get("Retry-After"))
		}
		s.call("POST", "/v1/events", "["+event+","+event+"]").says(429, "An array of 2 events is too much now")
		s.call("POST", "/v1/events", event, repeatable).is(202, strings.TrimSpace(first.body))
		s.call("POST", "/v1/sessions", `{"sms":{"to":"+4915112345678"}}`).says(429, "publish_rate")
		s.call("GET", "/v1/events", "").ok(200) // reads have no rate
		if counted[callbackd.LimitPublishRate] != 3 {
			t.Errorf("%v refused calls were counted, want 3 of publish_rate", counted)
		}
		s.limit(callbackd.KeyLimits{PublishRate: callbackd.NoLimit})
		s.call("POST", "/v1/events", event).ok(202) // without a restart
	})
}

func TestPendingDeliveriesOfAKey(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		s.register("SESSION:COMPLETE", "https://a.example/", "")
		s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
		s.limit(callbackd.KeyLimits{Pending: 3})
		publish := func(n int) reply {
			event := `{"event":"SESSION:COMPLETE","session_key":"S","data":{"a":1}}`
			return s.call("POST", "/v1/events", "["+strings.Repeat(event+",", n-1)+event+"]")
		}
		publish(2).ok(202)
		publish(2).ok(202)
		publish(1).says(429, "4 deliveries of this API key are pending, and its limit pending_deliveries is 3")
		l := decode[wire.Limits](s.call("GET", "/v1/limits", "").ok(200))
		if l.PendingDeliveries != (wire.Limit{Limit: 3, Used: 4}) || l.PendingBytes != (wire.Limit{Used: 4 * int64(len(`{"a":1}`))}) || l.Callbacks != (wire.Limit{Limit: 100, Used: 1}) || l.PublishRate != (wire.RateLimit{}) {
			t.Errorf("the limits are %+v", l)
		}
		s.limit(callbackd.KeyLimits{PendingBytes: 20})
		publish(1).says(429, "have 28 bytes of event data, and its limit pending_bytes is 20")
		s.limit(callbackd.KeyLimits{})
		publish(1).ok(202)
	})
}

func TestCallbacksGetThePolicyOfTheirKey(t *testing.T) {
	s := start(t)
	o := s.operator("terraform", callbackd.RoleFull)
	path := "/v1/admin/keys/" + s.key.APIKey
	set := decode[wire.Key](o.call("PUT", path, `{"callback_policy":{ "timeout": "5s", "concurrency": 4, "keep_alive": false },"limits":{"callbacks":2,"pending_bytes":0}}`).ok(200))
	if string(set.CallbackPolicy) != `{"timeout":"5s","concurrency":4,"keep_alive":false}` || *set.Limits.Callbacks != 2 || *set.Limits.PendingBytes != 0 || set.Limits.PublishRate != nil {
		t.Errorf("the key has %s and %+v", set.CallbackPolicy, set.Limits)
	}
	policy := func() wire.Policy {
		return decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200))
	}
	s.register("SESSION:COMPLETE", "https://a.example/", `,"policy":{"timeout":"9s"}`)
	if p := policy(); p.Timeout != "9s" || p.Concurrency != 4 || p.KeepAlive {
		t.Errorf("the new callback has %+v", p)
	}
	s.register("SESSION:COMPLETE", "https://a.example/", `,"policy":{"timeout":"9s"}`) // a repeat
	o.call("PUT", path, `{"callback_policy":{"concurrency":7}}`).ok(200)
	if p := policy(); p.Concurrency != 4 || p.KeepAlive {
		t.Errorf("the callback has changed with its key: %+v", p)
	}
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/"}`).ok(200)
	if p := policy(); p.Timeout != "15s" || p.Concurrency != 7 || !p.KeepAlive {
		t.Errorf("the replaced callback has %+v", p)
	}
	if set := decode[wire.Key](o.call("PUT", path, `{}`).ok(200)); string(set.CallbackPolicy) != "{}" || set.Limits != (wire.KeyLimits{}) {
		t.Errorf("without settings the key has %s and %+v", set.CallbackPolicy, set.Limits)
	}
}

func TestAKeyHasARetention(t *testing.T) {
	s := start(t)
	o := s.operator("terraform", callbackd.RoleFull)
	path := "/v1/admin/keys/" + s.key.APIKey
	wants := func(k wire.Key, retention, types string) {
		t.Helper()
		if got := k.Retention; (got == nil) != (retention == "") || got != nil && *got != retention || string(k.RetentionEvents) != types {
			t.Errorf("the key has %v and %s, want %q and %s", got, k.RetentionEvents, retention, types)
		}
	}
	o.call("PUT", path, `{"retention":"168h","retention_events":{"SESSION:NOTE_INSERT":"24h", "SESSION:COMPLETE":"1h"}}`).ok(200)
	wants(decode[wire.Key](o.call("GET", path, "").ok(200)), "7d", `{"SESSION:COMPLETE":"1h","SESSION:NOTE_INSERT":"1d"}`)
	wants(decode[wire.Key](o.call("PUT", path, `{"retention":3600}`).ok(200)), "1h", "{}")
	wants(decode[wire.Key](o.call("PUT", path, `{}`).ok(200)), "", "{}")
}

func TestLimitsOfAKeyAreChecked(t *testing.T) {
	s := start(t)
	o := s.operator("terraform", callbackd.RoleFull)
	path := "/v1/admin/keys/" + s.key.APIKey
	for _, c := range []struct{ members, says string }{
		{`"limits":{"publish_rate":-1}`, "a number of events a second from 0.001 to 1,000,000, or 0 for no limit"},
		{`"limits":{"publish_rate":1000001}`, "publish_rate"},
		{`"limits":{"pending_deliveries":1.5}`, "a whole number of deliveries up to 1,000,000,000,000, or 0 for no limit"},
		{`"limits":{"pending_bytes":"many"}`, "a whole number of bytes"},
		{`"limits":{"callbacks":0}`, "a whole number from 1 to 100"},
		{`"limits":{"callbacks":101}`, "a whole number from 1 to 100"},
		{`"limits":{"sessions":1}`, "sessions"},
		{`"limits":"x"`, "limits"},
		{`"callback_policy":{"timeout":"2h"}`, "timeout"},
		{`"callback_policy":{"auth":{}}`, "auth"},
		{`"callback_policy":{"filter":{}}`, "filter"},
		{`"callback_policy":"x"`, "callback_policy"},
		{`"retention":"59m"`, "from 1h to 3650d"},
		{`"retention":"forever"`, "retention"},
		{`"retention_events":[1]`, "retention_events"},
		{`"retention_events":{"SESSION:NOTHING":"1d"}`, "SESSION:NOTHING"},
		{`"retention_events":{"SESSION:COMPLETE":"1m"}`, "from 1h to 3650d"},
		{fmt.Sprintf(`"callback_policy":{"retry":[0%s]}`, strings.Repeat(",0        ", 500)), "callback_policy"},
	} {
		o.call("PUT", path, "{"+c.members+"}").says(400, c.says)
	}
	l := decode[wire.Limits](o.call("GET", path+"/limits", "").ok(200))
	if l.APIKey != s.key.APIKey || l.Callbacks != (wire.Limit{Limit: 100}) {
		t.Errorf("the limits are %+v", l)
	}
}
