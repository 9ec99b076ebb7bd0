package callbacks

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
)

// SessionField reads a callback that is given to one session: an object with url, method,
// headers, payload, events and policy. Another member is an error, because everything in it
// is callbackd's own. Its signing secret is not set.
func SessionField(name string, to **callbackd.Callback) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		_, members, err := strictjson.LenientObject(v.JSON)
		if err != nil {
			return callbackd.Invalid("%s must be an object with url, method, headers, payload, events and policy.", v.Name)
		}
		cb, err := ReadForSession(request.Members(members), v.Name)
		if err != nil {
			return err
		}
		*to = &cb
		return nil
	}}
}

// ReadForSession reads the setting of a callback for one session. what names it in errors.
func ReadForSession(body request.Object, what string) (callbackd.Callback, error) {
	cb := withDefaults()
	cb.Name = ""
	cb.Types = slices.Clone(callbackd.SessionEvents)
	policy, err := body.Nested("policy")
	if err != nil {
		return cb, err
	}
	known := request.Field{Name: "policy", Read: func(request.Value) error { return nil }}
	err = body.Strict(what).Read(
		urlField("url", &cb.URL).RequiredElse(ErrMissing),
		methodField("method", &cb.Method),
		headersField("headers", &cb.Headers),
		request.RawObject("payload", &cb.Payload, callbackd.MaxPayload),
		TypesField("events", &cb.Types),
		known,
	)
	if err != nil {
		return cb, err
	}
	return cb, policy.Strict("policy").Read(policyFields(&cb.Policy)...)
}

// TypesField reads the events that a callback for one session gets: at least one, each once.
// They are kept in the order that lists use. Whether the platform has those that are its own
// is another question.
func TypesField(name string, to *[]callbackd.EventType) request.Field {
	var events []callbackd.EventType
	what := fmt.Sprintf("an array of 1 to %d events of sessions, each once", callbackd.MaxSessionTypes)
	return request.Array(name, &events, 1, callbackd.MaxSessionTypes, what, request.PublishedType).Check(func(name string) error {
		if events == nil {
			return nil
		}
		callbackd.SortTypes(events)
		if len(slices.Compact(slices.Clone(events))) < len(events) {
			return callbackd.Invalid("%s must name each event once.", name)
		}
		*to = events
		return nil
	})
}

// CheckForSession is Check of a callback that is given to a session. The store gives it a
// secret that signs by Standard Webhooks.
func CheckForSession(cb *callbackd.Callback) error {
	with := *cb
	with.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	return Check(&with)
}

// SessionLimiter bounds how many callbacks a key has that are for one session. It counts what
// this process gives, and asks the store only now and then: so the bound may be passed by
// what other nodes give within countEvery.
type SessionLimiter struct {
	mu   sync.Mutex
	keys map[callbackd.KeyID]sessionCount
}

type sessionCount struct {
	n    int
	read time.Time
}

const countEvery = time.Minute

// Allow counts n more callbacks of a key, and returns an error of kind
// [callbackd.KindLimited] when the key would have too many.
func (l *SessionLimiter) Allow(ctx context.Context, cbs store.Callbacks, key callbackd.KeyID, n int, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, known := l.keys[key]
	if !known || now.Sub(c.read) >= countEvery {
		stored, err := cbs.CountSessionCallbacks(ctx, key, callbackd.MaxCallbacksOfSession+1)
		if err != nil {
			return fmt.Errorf("count the callbacks for one session: %w", err)
		}
		c = sessionCount{stored, now}
	}
	defer func() { l.keys[key] = c }()
	if c.n+n > callbackd.MaxCallbacksOfSession {
		return callbackd.Errorf(callbackd.KindLimited, "An API key has at most %s callbacks for one session. They end with their sessions; DELETE /v1/callbacks/:id ends one now.", humanize.Number(callbackd.MaxCallbacksOfSession))
	}
	c.n += n
	return nil
}
