// Package eventtypes has the catalogue of events: each type with the JSON Schema and a
// sample of the body that a receiver gets. It checks published events against the schemas.
package eventtypes

import (
	"fmt"
	"slices"

	"callbackd"
	"callbackd/wire"
)

// Mode says what becomes of a published event that does not fit the schema of its type.
type Mode string

// The modes.
const (
	Off    Mode = "off"    // nothing is checked
	Warn   Mode = "warn"   // the event is accepted, and the answer has a warning
	Refuse Mode = "refuse" // the call is refused
)

// Catalogue holds the types of events. It does not change.
type Catalogue struct {
	mode  Mode
	kinds []wire.EventKind
	types map[callbackd.EventType]*checker // nil when nothing is checked
}

// New returns the catalogue of kinds, callbackd's own and then the platform's, and compiles
// their schemas unless nothing is checked.
func New(kinds []wire.EventKind, mode Mode) (*Catalogue, error) {
	c := &Catalogue{mode: mode, kinds: kinds}
	if mode == Off || mode == "" {
		return c, nil
	}
	c.types = map[callbackd.EventType]*checker{}
	for i := range kinds {
		k := &kinds[i]
		checks, err := newChecker(k)
		if err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", k.Type, err)
		}
		c.types[callbackd.EventType(k.Type)] = checks
	}
	return c, nil
}

// Kinds returns all types, in the order of lists. They must not be changed.
func (c *Catalogue) Kinds() []wire.EventKind { return c.kinds }

// Kind returns one type.
func (c *Catalogue) Kind(t callbackd.EventType) (wire.EventKind, bool) {
	i := slices.IndexFunc(c.kinds, func(k wire.EventKind) bool { return k.Type == string(t) })
	if i < 0 {
		return wire.EventKind{}, false
	}
	return c.kinds[i], true
}

// Has reports whether events of a type may be published and have callbacks.
func (c *Catalogue) Has(t callbackd.EventType) bool {
	_, ok := c.Kind(t)
	return ok
}

// Types returns all types, in the order of lists.
func (c *Catalogue) Types() []callbackd.EventType {
	out := make([]callbackd.EventType, len(c.kinds))
	for i, k := range c.kinds {
		out[i] = callbackd.EventType(k.Type)
	}
	return out
}

// OwnSample returns the data of the sample of a platform's own type; nil for another type.
func (c *Catalogue) OwnSample(t callbackd.EventType) []byte {
	k, ok := c.Kind(t)
	if !ok || k.Group != GroupOwn {
		return nil
	}
	return dataOf(k.Sample)
}

// Checks reports whether published events are checked.
func (c *Catalogue) Checks() bool { return c.types != nil }

// Refuses reports whether an event that does not fit is refused.
func (c *Catalogue) Refuses() bool { return c.mode == Refuse }

// Check returns what is wrong in the data of an event, a sentence for each of the first
// few places. It returns nil when a body with the data fits the schema of the type, and
// when nothing is checked. data is an object that was read strictly.
func (c *Catalogue) Check(t callbackd.EventType, data []byte) []string {
	checks := c.types[t]
	if checks == nil {
		return nil
	}
	return checks.check(data)
}
