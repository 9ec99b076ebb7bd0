package console_test

import (
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

// whatIsPendingIsCanceled cancels a paused callback's backlog: first one session of it, as
// the key holder, and then the rest, as the operator.
func whatIsPendingIsCanceled(t *testing.T, s *site) {
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: newReceiver(t).URL})
	v := s.visitor(t).signIn(s.Key)
	v.post("/console/callbacks/"+callback+"/pause", nil)
	var events []string
	for _, session := range []string{"ACM-0123456789", "ACM-OTHER00001", "ACM-OTHER00002"} {
		events = append(events, s.Publish(s.Key, callbackd.Complete, session, map[string]any{"x": 1}))
	}
	v.says("/console/callbacks/"+callback, "cancel pending")
	v.says("/console/deliveries?state=pending&session=ACM-0123456789", "Cancel pending")
	v.says("/console/deliveries/cancel?counted=1&session=ACM-0123456789", "1 pending delivery", "Cancel 1 delivery")
	v.says("/console/deliveries/cancel?counted=1&callback="+callback, "3 pending deliveries", "Cancel 3 deliveries")
	v.says("/console/deliveries/cancel?counted=1&rate=0.1&callback="+callback, "3 pending deliveries would be canceled, which takes at least 30 s")
	at := v.post("/console/deliveries/cancel", url.Values{"session": {"ACM-0123456789"}, "rate": {"500"}, "reason": {"wrong vehicle"}})
	v.awaitPage(at, "100 % of 1 delivery")
	v.says(at, "Cancellation", "canceled by API key", "wrong vehicle", "canceled 1")
	v.says("/console/replays", "cancels")
	v.says("/console/callbacks/"+callback, "a person canceled it")
	v.says("/console/events/"+events[0], "It was canceled at", "Resend")
	v.says(deliveryPath(events[0], callback), "It was canceled at", "wrong vehicle", "Resend")
	v.says("/console/deliveries/cancel?counted=1&session=ACM-0123456789", "0 pending deliveries")

	op := s.visitor(t).operator()
	op.says("/console/deliveries/cancel?counted=1&callback="+callback, "2 pending deliveries", s.Key.APIKey[:8])
	at = op.post("/console/deliveries/cancel", url.Values{"key": {s.Key.APIKey}, "callback": {callback}})
	op.awaitPage(at, "100 % of 2 deliveries")
	op.says(deliveryPath(events[2], callback), "canceled by the operator")

	v.post("/console/callbacks/"+callback+"/resume", nil)
	if to := v.post(deliveryPath(events[0], callback)+"/resend", nil); !strings.Contains(to, "/console/deliveries/") {
		t.Errorf("the resend leads to %q, want the delivery", to)
	}
	v.awaitPage(deliveryPath(events[0], callback), "Delivered with 1 attempt")
}
