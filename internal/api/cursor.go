package api

import (
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// cursor is the position of a reader of events: it has read the events up to after.
type cursor struct {
	after callbackd.EventID
	first bool // the reader begins with the oldest stored event
	// removals is how often retention had removed events of the key when the cursor
	// was made. It is -1 when no later event had been removed.
	removals int64
}

// cursorAfter returns the cursor after an event. Retention may have removed later
// events already, because an older one was still pending. The cursor says how often, so
// that only later removals count as a gap.
func cursorAfter(id callbackd.EventID, r store.Removed) cursor {
	if r.Newest > id {
		return cursor{after: id, removals: r.Times}
	}
	return cursor{after: id, removals: -1}
}

// parseCursor reads what [cursor.String] writes. It also reads the id of an event.
func parseCursor(s string) (cur cursor, ok bool) {
	id, removals, has := strings.Cut(s, ".")
	cur.removals = -1
	if cur.after, ok = callbackd.ParseEventID(id); !ok || !has {
		return cur, ok
	}
	n, err := strconv.ParseInt(removals, 10, 64)
	cur.removals = n
	return cur, err == nil && n >= 0
}

// String returns the text that the reader gets.
func (cur cursor) String() string {
	if cur.removals < 0 {
		return cur.after.String()
	}
	return cur.after.String() + "." + strconv.FormatInt(cur.removals, 10)
}

// missed reports whether retention has removed events after the cursor since it was
// made.
func (cur cursor) missed(r store.Removed) bool {
	return r.Newest > cur.after && !cur.first && r.Times != cur.removals
}

// gap returns the message for a reader that has missed events.
func (cur cursor) gap() string {
	return "Events after " + cur.String() + " were removed before this reader asked for them: events are stored for a limited time. Begin with after=start, the oldest stored event."
}

// readCursor reads the cursor that a reader sent.
func (a *API) readCursor(c *call, after string) (cursor, error) {
	switch after {
	case afterStart:
		return cursor{first: true, removals: -1}, nil
	case afterNow:
		// An empty page leads to the horizon.
		page, err := a.Store.EventsAfter(c.Context(), store.EventQuery{Key: c.key.ID, After: callbackd.FirstEventID(time.Now().Add(-time.Millisecond)) - 1, Limit: 1})
		return cursorAfter(page.Next, page.Removed), err
	}
	cur, ok := parseCursor(after)
	if !ok {
		return cur, callbackd.Invalid("after must be the next of an earlier answer, the id of an event, %s or %s.", afterStart, afterNow)
	}
	return cur, nil
}
