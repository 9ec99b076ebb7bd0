package sender

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/signature"
)

// Request builds the request of attempt number n at a time, signed with every valid
// secret. A preview shows the same request that Send sends, with the mask for how it signs
// in.
func (s *Sender) Request(cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time) (*callbackd.Request, error) {
	var body []byte
	if !inQuery(cb) {
		var err error
		if cb.Policy.Format.ForPeople() {
			body, err = messageBody(ev, cb.Policy.Format, cb.Payload)
		} else {
			body, err = Body(ev, cb.Policy.Fields, cb.Payload)
		}
		if err != nil {
			return nil, fmt.Errorf("build the body: %w", err)
		}
	}
	req, err := s.settings.of(cb, s).request(cb, ev, n, at, body)
	if err != nil {
		return nil, err
	}
	out := &callbackd.Request{Method: req.Method, URL: req.URL, Body: req.Body}
	for _, f := range req.Fields {
		out.Headers = append(out.Headers, callbackd.Header{Name: f.Name, Value: callbackd.Secret(f.Value)})
	}
	if cb.Policy.Auth.Authorizes() {
		out.Headers = append(out.Headers, callbackd.Header{Name: "Authorization", Value: callbackd.Mask})
	}
	return out, nil
}

// inQuery reports whether a callback gets its data in the query, without a body.
func inQuery(cb *callbackd.Callback) bool {
	return cb.Method == http.MethodGet || cb.Method == http.MethodDelete
}

// request builds the request around a body.
func (s *setting) request(cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time, body []byte) (*egress.Request, error) {
	if s.err != nil {
		return nil, fmt.Errorf("use the callback's setting: %w", s.err)
	}
	const ofAttempt = 9 + callbackd.MaxSigningSchemes // the most headers that are added here
	req := &egress.Request{Method: cb.Method, URL: s.target, Fields: make([]egress.Field, 0, len(s.headers)+ofAttempt), Body: body}
	if inQuery(cb) {
		target := *s.target
		if err := addQuery(&target, chosen(ev, cb.Policy.Fields), cb.Payload); err != nil {
			return nil, fmt.Errorf("build the query: %w", err)
		}
		req.URL = &target
	}
	req.Fields = append(req.Fields, s.headers...)
	add := func(name, value string) { req.Fields = append(req.Fields, egress.Field{Name: name, Value: value}) }
	var room [callbackd.MaxSigningSecrets]*signature.Key
	keys := s.signingKeys(room[:0], at)
	// In lower case, as Standard Webhooks spells them: its PHP library finds
	// no other spelling.
	id := ev.ID.String()
	add("webhook-id", id)
	add("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	if len(keys) > 0 {
		add("webhook-signature", signature.Sign(id, at.Unix(), req.Body, keys...))
	}
	if len(keys) > 0 && inQuery(cb) {
		add("callback-query-signature", signature.Sign(id, at.Unix(), []byte(req.URL.RawQuery), keys...))
	}
	for _, by := range s.signers {
		signed := req.Body
		if inQuery(cb) {
			signed = []byte(req.URL.RawQuery)
		}
		add(by.header, by.prefix+by.key.Hex(signed))
	}
	add("callback-attempt", strconv.Itoa(n))
	add("callback-sequence", strconv.FormatInt(ev.Sequence, 10))
	if ev.Test {
		add("callback-test", "true")
	}
	if t := s.trace(cb, ev, n); t != nil {
		add("traceparent", t.Parent())
		if t.State != "" {
			add("tracestate", t.State)
		}
	}
	return req, nil
}

// trace returns the trace context that attempt number n sends; nil for none. A callback that
// sets one of these headers itself keeps its own.
func (s *setting) trace(cb *callbackd.Callback, ev *callbackd.Event, n int) *callbackd.Trace {
	switch {
	case ev.Trace == nil || s.traces == NoTrace || hasHeader(cb.Headers, "traceparent") || hasHeader(cb.Headers, "tracestate"):
		return nil
	case s.traces == TraceAttempts:
		return ev.Trace.OfAttempt(callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, n)
	}
	return ev.Trace
}
