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
	// ListLogs returns the calls of a key newest first.
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
	Key    callbackd.KeyID
	Method string
	Path   string // begins with
	Status int    // 1 to 5: the class; otherwise the status itself
	Since  time.Time
	Until  time.Time
	After  LogID // cursor: only older than this
	Limit  int   // 1 to MaxPage
}

// Fits tells whether e is one that q chooses by what it says, not by when.
func (q *LogQuery) Fits(e *LogEntry) bool {
	return (q.Method == "" || e.Method == q.Method) && strings.HasPrefix(e.Path, q.Path) &&
		(q.Status == 0 || e.Status == q.Status || q.Status <= 5 && e.Status/100 == q.Status)
}

// LogPage is one page. Next is 0 at the end.
type LogPage struct {
	Entries []LogEntry
	Next    LogID
}
