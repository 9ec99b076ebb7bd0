package sender

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/signature"
)

// Request builds the request of attempt number n at a time, signed with every valid
// secret. A preview shows the same request that Send sends.
func (s *Sender) Request(cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time) (*callbackd.Request, error) {
	var body []byte
	if !inQuery(cb) {
		var err error
		if body, err = Body(ev, cb.Payload); err != nil {
			return nil, fmt.Errorf("build the body: %w", err)
		}
	}
	return s.request(cb, ev, n, at, body)
}

// inQuery reports whether a callback gets its data in the query, without a body.
func inQuery(cb *callbackd.Callback) bool {
	return cb.Method == http.MethodGet || cb.Method == http.MethodDelete
}

// request builds the request around a body.
func (s *Sender) request(cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time, body []byte) (*callbackd.Request, error) {
	target, err := egress.ParseURL(cb.URL)
	if err != nil {
		return nil, fmt.Errorf("read the URL: %w", err)
	}
	req := &callbackd.Request{Method: cb.Method, URL: target, Headers: make([]callbackd.Header, 0, 12+len(cb.Headers)), Body: body}
	if inQuery(cb) {
		if err := addQuery(target, ev, cb.Payload); err != nil {
			return nil, fmt.Errorf("build the query: %w", err)
		}
	}
	keys, err := signingKeys(cb, at)
	if err != nil {
		return nil, err
	}
	add := func(name, value string) {
		req.Headers = append(req.Headers, callbackd.Header{Name: name, Value: callbackd.Secret(value)})
	}
	addUnlessSet := func(name, value string) {
		if !hasHeader(cb.Headers, name) {
			add(name, value)
		}
	}
	addUnlessSet("User-Agent", s.agent)
	addUnlessSet("Accept", "*/*")
	addUnlessSet("Accept-Encoding", "identity")
	if !inQuery(cb) {
		addUnlessSet("Content-Type", "application/json")
	}
	for _, own := range cb.Headers {
		if !isReserved(own.Name) {
			req.Headers = append(req.Headers, own)
		}
	}
	// In lower case, as Standard Webhooks spells them: its PHP library finds
	// no other spelling.
	id := ev.ID.String()
	add("webhook-id", id)
	add("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	add("webhook-signature", signature.Sign(id, at.Unix(), req.Body, keys...))
	if inQuery(cb) {
		add("callback-query-signature", signature.Sign(id, at.Unix(), []byte(target.RawQuery), keys...))
	}
	add("callback-attempt", strconv.Itoa(n))
	add("callback-sequence", strconv.FormatInt(ev.Sequence, 10))
	if ev.Test {
		add("callback-test", "true")
	}
	return req, nil
}

func signingKeys(cb *callbackd.Callback, at time.Time) ([][]byte, error) {
	keys := make([][]byte, 0, 2)
	for _, secret := range cb.SigningSecrets(at) {
		key, err := signature.ParseSecret(secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// hasHeader reports whether headers have one with the name.
func hasHeader(headers []callbackd.Header, name string) bool {
	return slices.ContainsFunc(headers, func(h callbackd.Header) bool { return strings.EqualFold(h.Name, name) })
}

// isReserved reports whether only callbackd sets the header.
func isReserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "callback-")
}

// wireRequest returns the request as the transport takes it.
func wireRequest(req *callbackd.Request, alone bool) *egress.Request {
	out := &egress.Request{Method: req.Method, URL: req.URL, Fields: make([]egress.Field, len(req.Headers)), Body: req.Body, Close: alone}
	for i, h := range req.Headers {
		out.Fields[i] = egress.Field{Name: h.Name, Value: h.Value.Reveal()}
	}
	return out
}
