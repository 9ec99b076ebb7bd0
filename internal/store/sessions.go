package store

import (
	"context"
	"time"

	"callbackd"
)

// Sessions stores inspection sessions. A session belongs to one API key; another
// key gets NotFound. Callers must not change the sessions that they get.
type Sessions interface {
	// CreateSession stores a session, gives it the callback unless that is nil, as Accept
	// does, and accepts the events that its creation fires, at its CreatedAt, in one
	// transaction. It fails with Conflict when the key has a session with this session
	// key already.
	CreateSession(ctx context.Context, s *callbackd.Session, given *callbackd.Callback, fired ...NewEvent) error
	// Session returns one session.
	Session(ctx context.Context, key callbackd.KeyID, sessionKey string) (*callbackd.Session, error)
	// ChangeSession calls change with a copy of the session. It writes the
	// changed copy, with the events and notes that change returns, in one
	// transaction: all of it is durable when ChangeSession returns, or nothing.
	// It accepts the events at the time at, like Accept.
	//
	// Changes of one session run one after the other, each on the result of the
	// one before. change may run more than once, in a transaction that is then
	// rolled back. So it depends on its argument alone and does not call the
	// store. Its error is returned as it is, and nothing is written.
	ChangeSession(ctx context.Context, key callbackd.KeyID, sessionKey string, at time.Time, change func(*callbackd.Session) (SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error)
	// SessionNotes returns a session's notes, oldest first.
	SessionNotes(ctx context.Context, key callbackd.KeyID, sessionKey string) ([]callbackd.Note, error)
	// ListSessions returns sessions without their Results, newest first: by
	// CreatedAt, then by session key, then by API key, descending. A page ends when
	// the sum of SessionSize reaches MaxPageData.
	ListSessions(ctx context.Context, q SessionQuery) (SessionPage, error)
	// SessionEvents returns events of a session, each with its deliveries by ID of
	// the callback. It ends early when the data reaches MaxPageData. The session
	// itself need not be stored. Without events the result is empty.
	SessionEvents(ctx context.Context, q SessionEventQuery) ([]SessionEvent, error)
	// LatestEvents returns, for each of the sessions that has events, the
	// newest n of them, newest first, without their data. A SessionID with
	// AllKeys names the sessions of every key that have its SessionKey.
	LatestEvents(ctx context.Context, sessions []SessionID, n int) (map[SessionID][]*callbackd.Event, error)
	// DueSessions returns up to limit sessions whose Due is not after now,
	// soonest first. next is the soonest Due of the others, or zero when there are
	// none.
	DueSessions(ctx context.Context, now time.Time, limit int) (due []SessionID, next time.Time, err error)
}

// SessionID identifies a session among those of all keys.
type SessionID struct {
	Key        callbackd.KeyID
	SessionKey string
}

// SessionChange says what to write together with a change of a session.
type SessionChange struct {
	Events []NewEvent // the store sets their Session
	Notes  []callbackd.Note
	// Remove deletes the session and its notes. Its events stay.
	Remove bool
	// Action is set when a person makes the change, so that the audit log has it. What
	// the platform's events change is in the events.
	Action callbackd.AuditAction
	// Unchanged says that there is nothing to write.
	Unchanged bool
}

// SessionQuery chooses sessions. Zero members choose all.
type SessionQuery struct {
	Key    callbackd.KeyID // AllKeys is possible
	Status callbackd.SessionStatus
	Since  time.Time // created at or after
	Until  time.Time // created before
	// Text is part of the session key, the VIN or the reference, in any case.
	Text string
	// VIN is the whole VIN, in any case. SessionKey is the whole session key. Both
	// use an index. When one of them is set, only Key and Limit count besides it, and
	// there is no next page.
	VIN        string
	SessionKey string
	After      SessionCursor
	Limit      int // 1 to MaxPage
}

// SessionCursor is the session after which a page begins; zero at the start.
type SessionCursor struct {
	CreatedAt  time.Time
	SessionKey string
	Key        callbackd.KeyID // in a list of all keys; otherwise AllKeys
}

// SessionPage is one page. Next is zero at the end. A page that ends at MaxScan may be
// short or even empty, and still has a Next.
type SessionPage struct {
	Sessions []*callbackd.Session
	Next     SessionCursor
}

// SessionEventQuery chooses events of one session of a key.
type SessionEventQuery struct {
	Key     callbackd.KeyID
	Session string
	After   int64 // sequence numbers above this one
	Before  int64 // sequence numbers below this one; 0: all
	Newest  bool  // newest first; otherwise oldest first
	Limit   int   // 1 to MaxPage
}

// SessionEvent is an event with its deliveries. They have neither Event nor History.
type SessionEvent struct {
	*callbackd.Event
	Deliveries []DeliveryView
}

// SessionEventsFull reports whether a page of SessionEvents with this limit ended because
// it was full, so that there may be more events.
func SessionEventsFull(page []SessionEvent, limit int) bool {
	size := 0
	for i := range page {
		size += len(page[i].Data)
	}
	return len(page) > 0 && (len(page) == limit || size >= MaxPageData)
}

// SessionSize returns about how many bytes a session takes in a list, without its
// results.
func SessionSize(s *callbackd.Session) int {
	size := 1<<10 + len(s.Reference) + len(s.SourceProperties) + len(s.RedirectURL)
	for i := range s.Photos {
		p := &s.Photos[i]
		size += len(p.URL) + len(p.Typed) + len(p.Reason)
	}
	return size
}
