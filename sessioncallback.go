package callbackd

import (
	"cmp"
	"encoding/base64"
	"slices"
	"time"
)

// Limits of callbacks that are for one session.
const (
	MaxSessionTypes       = 100       // event types of one
	MaxSessionCallbacks   = 5         // of one session
	MaxCallbacksOfSession = 1_000_000 // of all sessions of an API key; more is a 429
)

// OfSession reports whether the callback is for one session.
func (c *Callback) OfSession() bool { return c.Session != "" }

// Takes reports whether the setting is for events of a type in a session. Whether the
// callback is in force, and its filter, are other questions.
func (c *Callback) Takes(t EventType, session string) bool {
	if !c.OfSession() {
		return c.Event == t
	}
	return c.Session == session && slices.Contains(c.Types, t)
}

// Ref returns what names the callback in the paths of the API: its event, or its ID when it
// is for one session.
func (c *Callback) Ref() string {
	if c.OfSession() {
		return c.Name
	}
	return string(c.Event)
}

// Path returns the path of the API for what is called of of the callback, such as "/resume", or
// for the callback itself when of is empty. It has the name of one that is not the default.
func (c *Callback) Path(of string) string {
	path := "/v1/callbacks/" + c.Ref() + of
	if !c.OfSession() && c.Name != DefaultName {
		path += "?name=" + c.Name
	}
	return path
}

// SampleType returns the type of the events that test the callback.
func (c *Callback) SampleType() EventType {
	if c.OfSession() {
		return c.Types[0]
	}
	return c.Event
}

// EventNames returns the names of the events that the callback is for.
func (c *Callback) EventNames() []string {
	if !c.OfSession() {
		return []string{string(c.Event)}
	}
	return typeNames(c.Types)
}

func typeNames(types []EventType) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return names
}

// SortTypes puts event types into the order that lists use: callbackd's own types first, and
// then those of the platform by name.
func SortTypes(types []EventType) {
	place := func(t EventType) int {
		if i := slices.Index(EventTypes, t); i >= 0 {
			return i
		}
		return len(EventTypes)
	}
	slices.SortFunc(types, func(a, b EventType) int { return cmp.Or(place(a)-place(b), cmp.Compare(a, b)) })
}

// TwinOf reports whether c and o, which are for one session, are one callback of it: they have
// the same URL and the same events.
func (c *Callback) TwinOf(o *Callback) bool {
	return c.URL == o.URL && slices.Equal(c.Types, o.Types)
}

// RefuseTwin returns an error when c has been made the same as another one of inForce, the
// callbacks in force of its session.
func (c *Callback) RefuseTwin(inForce []*Callback) error {
	for _, other := range inForce {
		if other.ID != c.ID && other.TwinOf(c) {
			return Errorf(KindConflict, "The callback %d of the session has this url with the same events already. Change that one, or delete one of them.", other.ID)
		}
	}
	return nil
}

// Given is what it does to give a session a callback.
type Given struct {
	Callback *Callback // as it is stored then
	Before   *Callback // as it was; nil when the session did not have it
	// Unchanged means that the session has it already, so that nothing is stored.
	Unchanged bool
}

// GiveCallback gives a session a callback. inForce are the session's callbacks in force. The
// session has a callback with the same URL for the same events once: when one of inForce is
// such a callback, it gets what else next says, and keeps its secret and its history. To
// give it again as it is changes nothing, so a client may give it with each event.
func GiveCallback(inForce []*Callback, next *Callback, at time.Time) (Given, error) {
	for _, cb := range inForce {
		if !cb.TwinOf(next) {
			continue
		}
		if cb.SendsLike(next) && cb.Policy.Identical(next.Policy) {
			return Given{Callback: cb, Before: cb, Unchanged: true}, nil
		}
		changed := *cb
		changed.Replace(next, at)
		return Given{Callback: &changed, Before: cb}, nil
	}
	if len(inForce) >= MaxSessionCallbacks {
		return Given{}, Errorf(KindInvalid, "A session has at most %d callbacks. GET /v1/callbacks?session=%s lists them; delete one first.", MaxSessionCallbacks, next.Session)
	}
	made := *next
	made.Version, made.CreatedAt, made.UpdatedAt = 1, at, at
	return Given{Callback: &made}, nil
}

// SigningSecretOf returns a key as a signing secret of Standard Webhooks.
func SigningSecretOf(key []byte) Secret {
	return Secret("whsec_" + base64.StdEncoding.EncodeToString(key))
}
