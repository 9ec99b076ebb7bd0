package store

import (
	"context"
	"strings"
	"time"

	"callbackd"
)

// Logs stores the calls that were made with API keys.
type Logs interface {
	// AppendLogs stores entries in one commit. An entry with a Count is added to the
	// stored entry with the same key, minute, method, path and status.
	AppendLogs(ctx context.Context, entries []LogEntry) error
	// ListLogs returns the calls, newest first: by ID, then by key, descending.
	ListLogs(ctx context.Context, q LogQuery) (LogPage, error)
}

// LogID identifies a log entry within its key. Like an event's id it holds the time.
type LogID int64

// LogEntry is one call, or the sum of a minute's calls of one kind.
type LogEntry struct {
	ID       LogID // set by the store
	Key      callbackd.KeyID
	At       time.Time // of a sum: when its minute began
	Method   string
	Path     string // without the query
	Status   int
	Duration time.Duration // of a sum: the total
	Message  string        // of the answer; empty when it had none
	Address  string        // of the caller, without the port; of a sum: of the last caller
	Count    int64         // of a sum: the number of calls; 0: one call
}

// LogQuery chooses entries. Zero members choose all.
type LogQuery struct {
	Key    callbackd.KeyID // AllKeys is possible
	Method string
	Path   string // the beginning of the path
	Status int    // 1 to 5 choose a class; otherwise the status itself
	Since  time.Time
	Until  time.Time
	After  LogCursor // cursor: only entries after it
	Limit  int       // 1 to MaxPage
}

// Fits reports whether q chooses e by method, path and status. It does not look at
// times.
func (q *LogQuery) Fits(e *LogEntry) bool {
	return (q.Method == "" || e.Method == q.Method) && strings.HasPrefix(e.Path, q.Path) &&
		(q.Status == 0 || e.Status == q.Status || q.Status <= 5 && e.Status/100 == q.Status)
}

// LogCursor is the entry after which a page begins; zero at the start. Entries of two
// keys may have the same ID.
type LogCursor struct {
	ID  LogID
	Key callbackd.KeyID // in a list of all keys; otherwise AllKeys
}

// LogPage is one page. Next is zero at the end. A page that ends at MaxScan may be
// short or even empty, and still has a Next.
type LogPage struct {
	Entries []LogEntry
	Next    LogCursor
}
