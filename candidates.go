package callbackd

// Withheld says that a callback did not get an event, because its filter did not match
// when the event was accepted.
type Withheld struct {
	Callback CallbackID
	Term     string // of the filter, that failed; it has no values of the event
}

// Candidates are the callbacks that are in force for an event type, in order. nil is none.
type Candidates struct {
	IDs []CallbackID // shared with events; it must not be changed

	filters     []*Filter // nil when no callback has one; else one for each of IDs, or nil
	usesSession bool
}

// Add appends a callback. f is nil when it has no filter.
func (c *Candidates) Add(id CallbackID, f *Filter) {
	c.IDs = append(c.IDs, id)
	if f == nil && c.filters == nil {
		return
	}
	for len(c.filters) < len(c.IDs)-1 {
		c.filters = append(c.filters, nil)
	}
	c.filters = append(c.filters, f)
	c.usesSession = c.usesSession || f != nil && f.usesSession
}

// Bytes estimates the memory that the callbacks take.
func (c *Candidates) Bytes() int {
	n := 8 * len(c.IDs)
	for _, f := range c.filters {
		n += 8 + 8*len(f.String()) // a parsed filter takes several times its text
	}
	return n
}

// UseSession reports whether a filter needs the session of the event.
func (c *Candidates) UseSession() bool { return c != nil && c.usesSession }

// Choose returns the targets of an event, and the callbacks whose filter does not match.
// s is nil when the session of the event is not stored, or no filter uses it.
func (c *Candidates) Choose(data []byte, s *Session) (targets []CallbackID, withheld []Withheld) {
	switch {
	case c == nil:
		return nil, nil
	case c.filters == nil:
		return c.IDs, nil
	}
	in := &FilterInput{Data: data, Session: s}
	for i, id := range c.IDs {
		if f := c.filters[i]; f != nil {
			if failed, ok := f.Match(in); !ok {
				withheld = append(withheld, Withheld{id, failed})
				continue
			}
		}
		targets = append(targets, id)
	}
	return targets, withheld
}
