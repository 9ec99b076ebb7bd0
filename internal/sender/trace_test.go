package sender_test

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/sender"
)

// traceHeaders returns the trace context that attempt n sends.
func traceHeaders(t *testing.T, s *sender.Sender, cb *callbackd.Callback, ev *callbackd.Event, n int) (headers []string) {
	t.Helper()
	req, err := s.Request(cb, ev, n, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range req.Headers {
		if h.Name == "traceparent" || h.Name == "tracestate" || h.Name == "TraceParent" {
			headers = append(headers, h.Name+": "+h.Value.Reveal())
		}
	}
	return headers
}

func TestTraceOfAnAttempt(t *testing.T) {
	trace := callbackd.ParseTrace([]string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, []string{"vendor=1"})
	ev := event()
	ev.Trace = trace
	cb := callbackTo("https://a.example/hook")
	cb.ID = 7
	of := trace.OfAttempt(callbackd.DeliveryID{Event: ev.ID, Callback: 7}, 2)
	own := callbackTo("https://a.example/hook")
	own.ID, own.Headers = 8, append(own.Headers, callbackd.Header{Name: "TraceParent", Value: "mine"})
	for name, c := range map[string]struct {
		mode sender.TraceMode
		cb   *callbackd.Callback
		ev   *callbackd.Event
		want []string
	}{
		"passed on":          {sender.PassTrace, cb, ev, []string{"traceparent: " + trace.Parent(), "tracestate: vendor=1"}},
		"of the attempt":     {sender.TraceAttempts, cb, ev, []string{"traceparent: " + of.Parent(), "tracestate: vendor=1"}},
		"none":               {sender.NoTrace, cb, ev, nil},
		"of no trace":        {sender.TraceAttempts, cb, event(), nil},
		"the callback's own": {sender.PassTrace, own, ev, []string{"TraceParent: mine"}},
	} {
		s := newSender(t, egress.Options{})
		s.SetTraceMode(c.mode)
		if got := traceHeaders(t, s, c.cb, c.ev, 2); len(got) != len(c.want) || len(got) > 0 && (got[0] != c.want[0] || got[len(got)-1] != c.want[len(got)-1]) {
			t.Errorf("%s: the headers are %q, want %q", name, got, c.want)
		}
	}
}
