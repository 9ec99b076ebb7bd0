package api

import (
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// place is how far a reader of events has come: its cursor.
type place struct {
	after callbackd.EventID
	first bool  // it begins with whatever is kept
	times int64 // see placeBehind; -1: not known
}

// placeBehind is the place behind an event. When retention has taken later
// events already, which happens when an older one was still owed, the place
// says how often: only what is taken from then on is a gap.
func placeBehind(id callbackd.EventID, r store.Removed) place {
	if r.Newest > id {
		return place{after: id, times: r.Times}
	}
	return place{after: id, times: -1}
}

func parsePlace(s string) (p place, ok bool) {
	id, times, has := strings.Cut(s, ".")
	p.times = -1
	if p.after, ok = callbackd.ParseEventID(id); !ok || !has {
		return p, ok
	}
	n, err := strconv.ParseInt(times, 10, 64)
	p.times = n
	return p, err == nil && n >= 0
}

// String is the cursor.
func (p place) String() string {
	if p.times < 0 {
		return p.after.String()
	}
	return p.after.String() + "." + strconv.FormatInt(p.times, 10)
}

// missed tells whether retention took events that come after the place since
// the reader was there.
func (p place) missed(r store.Removed) bool {
	return r.Newest > p.after && !p.first && r.Times != p.times
}

// gap is what a reader is told that has missed something.
func (p place) gap() string {
	return "Events after " + p.String() + " were removed before this reader came for them, for they are kept for a limited time. Begin with after=start, the oldest event that is kept."
}

// begin turns the cursor of a reader into a place.
func (a *API) begin(c *call, after string) (place, error) {
	switch after {
	case afterStart:
		return place{first: true, times: -1}, nil
	case afterNow:
		// The horizon is what an empty page leads to.
		page, err := a.Store.EventsAfter(c.Context(), store.EventQuery{Key: c.key.ID, After: callbackd.FirstEventID(time.Now().Add(-time.Millisecond)) - 1, Limit: 1})
		return placeBehind(page.Next, page.Removed), err
	}
	p, ok := parsePlace(after)
	if !ok {
		return p, callbackd.Invalid("after must be the next of an earlier answer, the id of an event, %s or %s.", afterStart, afterNow)
	}
	return p, nil
}
