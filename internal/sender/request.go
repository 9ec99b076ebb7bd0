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

// Request builds attempt number n at the given time, signed with every
// secret in force. It is what a preview shows and what Send sends.
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

// inQuery tells whether what a callback gets travels in the query, without a
// body.
func inQuery(cb *callbackd.Callback) bool {
	return cb.Method == http.MethodGet || cb.Method == http.MethodDelete
}

// request is Request around a body.
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
	unless := func(name, value string) {
		if !names(cb.Headers, name) {
			add(name, value)
		}
	}
	unless("User-Agent", s.agent)
	unless("Accept", "*/*")
	unless("Accept-Encoding", "identity")
	if !inQuery(cb) {
		unless("Content-Type", "application/json")
	}
	for _, own := range cb.Headers {
		if !isOurs(own.Name) {
			req.Headers = append(req.Headers, own)
		}
	}
	// In lower case, as Standard Webhooks spells them: its library for PHP
	// finds no others.
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

// names tells whether headers have one of the name.
func names(headers []callbackd.Header, name string) bool {
	return slices.ContainsFunc(headers, func(h callbackd.Header) bool { return strings.EqualFold(h.Name, name) })
}

// isOurs tells whether callbackd alone sets the header.
func isOurs(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "callback-")
}

// onWire is the request as the transport takes it.
func onWire(req *callbackd.Request, alone bool) *egress.Request {
	out := &egress.Request{Method: req.Method, URL: req.URL, Fields: make([]egress.Field, len(req.Headers)), Body: req.Body, Close: alone}
	for i, h := range req.Headers {
		out.Fields[i] = egress.Field{Name: h.Name, Value: h.Value.Reveal()}
	}
	return out
}
