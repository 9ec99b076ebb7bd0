package callbackd

import (
	"maps"
	"slices"
	"time"
)

// Withheld says that a callback did not get an event, because its filter did not match
// when the event was accepted.
type Withheld struct {
	Callback CallbackID
	Term     string // of the filter, that failed; it has no values of the event
}

// Candidates are the callbacks that are in force for an event type, in order. nil is none.
type Candidates struct {
	IDs []CallbackID // shared with events; it must not be changed

	filters     []*Filter // different ones
	filterOf    []int     // the filter of each of IDs, or noFilter; nil when no callback has one
	usesSession bool
	ttls        map[CallbackID]time.Duration // of those whose policy has one
}

const noFilter = -1

// Add appends a callback. f is nil when it has no filter, and ttl 0 when its policy has none.
func (c *Candidates) Add(id CallbackID, f *Filter, ttl time.Duration) {
	c.IDs = append(c.IDs, id)
	if ttl != 0 {
		if c.ttls == nil {
			c.ttls = map[CallbackID]time.Duration{}
		}
		c.ttls[id] = ttl
	}
	if f == nil && c.filterOf == nil {
		return
	}
	for len(c.filterOf) < len(c.IDs)-1 {
		c.filterOf = append(c.filterOf, noFilter)
	}
	at := noFilter
	if f != nil {
		if at = slices.IndexFunc(c.filters, f.Equal); at < 0 {
			at = len(c.filters)
			c.filters = append(c.filters, f)
		}
		c.usesSession = c.usesSession || f.usesSession
	}
	c.filterOf = append(c.filterOf, at)
}

// Bytes estimates the memory that the callbacks take.
func (c *Candidates) Bytes() int {
	n := 8 * len(c.IDs)
	for _, f := range c.filters {
		n += 8 + 8*len(f.String()) // a parsed filter takes several times its text
	}
	return n + 48*len(c.ttls)
}

// TTL returns the ttl of a callback; 0 when its policy has none.
func (c *Candidates) TTL(id CallbackID) time.Duration {
	if c == nil || c.ttls == nil {
		return 0
	}
	return c.ttls[id]
}

// With returns c with the callbacks of the event's session that are for the type. c stays
// as it is; it may be nil.
func (c *Candidates) With(ofSession []*Callback, t EventType) *Candidates {
	out := &Candidates{}
	if c != nil {
		out = &Candidates{IDs: slices.Clone(c.IDs), filters: slices.Clone(c.filters), filterOf: slices.Clone(c.filterOf), usesSession: c.usesSession, ttls: maps.Clone(c.ttls)}
	}
	for _, cb := range ofSession {
		if slices.Contains(cb.Types, t) {
			out.Add(cb.ID, cb.Policy.Filter, cb.Policy.TTL)
		}
	}
	return out
}

// UseSession reports whether a filter needs the session of the event.
func (c *Candidates) UseSession() bool { return c != nil && c.usesSession }

// CheckFilters returns an error when the filters would cost too much for each event of
// type ev.
func (c *Candidates) CheckFilters(ev EventType) error {
	sum := 0
	for _, f := range c.filters {
		sum += f.terms
	}
	if sum > MaxFilterSum {
		return Invalid("The filters of the API key's callbacks for %s would have %d operators. At most %d are allowed; equal filters count once.", ev, sum, MaxFilterSum)
	}
	return nil
}

// Choose returns the targets of an event, and the callbacks whose filter does not match.
// s is nil when the session of the event is not stored, or no filter uses it. Equal filters
// are judged once.
func (c *Candidates) Choose(data []byte, s *Session) (targets []CallbackID, withheld []Withheld) {
	switch {
	case c == nil:
		return nil, nil
	case c.filterOf == nil:
		return c.IDs, nil
	}
	return c.choose(&FilterInput{Data: data, Session: s})
}

func (c *Candidates) choose(in *FilterInput) (targets []CallbackID, withheld []Withheld) {
	type verdict struct {
		failed string
		ok     bool
	}
	verdicts := make([]verdict, len(c.filters))
	for i, f := range c.filters {
		verdicts[i].failed, verdicts[i].ok = f.Match(in)
	}
	for i, id := range c.IDs {
		if at := c.filterOf[i]; at != noFilter && !verdicts[at].ok {
			withheld = append(withheld, Withheld{id, verdicts[at].failed})
		} else {
			targets = append(targets, id)
		}
	}
	return targets, withheld
}
