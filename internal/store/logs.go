package store

import (
	"context"
	"strings"
	"time"

	"callbackd"
)

// Logs keeps the calls that were made with API keys.
type Logs interface {
	// AppendLogs keeps entries in one commit. Entries with a Count are added
	// to the one of the same key, minute, method, path and status.
	AppendLogs(ctx context.Context, entries []LogEntry) error
	// ListLogs returns the calls newest first: by ID, then by key, descending.
	ListLogs(ctx context.Context, q LogQuery) (LogPage, error)
}

// LogID is a log entry's place: like an event's id it holds its time.
type LogID int64

// LogEntry is one call, or the sum of a minute's calls of one kind.
type LogEntry struct {
	ID       LogID // set by the store
	Key      callbackd.KeyID
	At       time.Time // of a sum: the beginning of its minute
	Method   string
	Path     string // without the query
	Status   int
	Duration time.Duration // of a sum: all together
	Message  string        // of the answer; empty when it had none
	Address  string        // the caller's, without the port; of a sum: the last one
	Count    int64         // 0: one call, with its own entry
}

// LogQuery chooses entries. Zero members choose all.
type LogQuery struct {
	Key    callbackd.KeyID // AllKeys is possible
	Method string
	Path   string // begins with
	Status int    // 1 to 5: the class; otherwise the status itself
	Since  time.Time
	Until  time.Time
	After  LogCursor // only entries behind it
	Limit  int       // 1 to MaxPage
}

// Fits tells whether e is one that q chooses by what it says, not by when.
func (q *LogQuery) Fits(e *LogEntry) bool {
	return (q.Method == "" || e.Method == q.Method) && strings.HasPrefix(e.Path, q.Path) &&
		(q.Status == 0 || e.Status == q.Status || q.Status <= 5 && e.Status/100 == q.Status)
}

// LogCursor is the place after which a page begins; zero at the start. Entries of
// two keys may have the same ID.
type LogCursor struct {
	ID  LogID
	Key callbackd.KeyID // of a list over all keys; otherwise AllKeys
}

// LogPage is one page. Next is zero at the end. A page cut by MaxScan may be
// short, even empty, and still has a Next.
type LogPage struct {
	Entries []LogEntry
	Next    LogCursor
}
