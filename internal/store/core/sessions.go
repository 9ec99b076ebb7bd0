package core

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// SessionColumns are the columns of a session, in the order of [ScanSession].
const SessionColumns = "no, key_no, session, status, created_at, ended_at, reference, results, document"

// SessionWork is a session in a group of changes: as it is stored, and as the
// changes of the group have left it so far.
type SessionWork struct {
	RowID   int64              // of its row
	Stored  *callbackd.Session // nil when the group creates it
	Current *callbackd.Session // nil when the group removes it
	Changed bool

	action    callbackd.AuditAction // of the last change
	before    *callbackd.Session    // the last change
	notes     []callbackd.Note      // that the group adds
	firstNote int                   // the number of the first of them
}

// sessionRow is a session as it is read. Its document is not decoded yet.
type sessionRow struct {
	rowID    int64
	session  callbackd.Session
	document []byte
}

// scan reads SessionColumns, and further columns into more.
func (r *sessionRow) scan(row Row, more ...any) error {
	s := &r.session
	dest := []any{&r.rowID, &s.Key, &s.SessionKey, &s.Status, &s.CreatedAt, &s.EndedAt, &s.Reference, &s.Results, &r.document}
	return row.Scan(append(dest, more...)...)
}

// decode returns the session with what its document holds.
func (r *sessionRow) decode() (*callbackd.Session, error) {
	if err := store.DecodeSession(r.document, &r.session); err != nil {
		return nil, damaged(fmt.Errorf("the document of session %s: %w", r.session.SessionKey, err))
	}
	return &r.session, nil
}

// ScanSession reads SessionColumns, and further columns into more.
func ScanSession(row Row, more ...any) (*SessionWork, error) {
	var r sessionRow
	if err := r.scan(row, more...); err != nil {
		return nil, err
	}
	s, err := r.decode()
	return &SessionWork{RowID: r.rowID, Stored: s, Current: s}, err
}

// NoSession is the error for a session that a key does not have.
func NoSession(sessionKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "Session %s cannot be found.", sessionKey)
}

// SessionExists is the error for a session key that is taken.
func SessionExists(sessionKey string) error {
	return callbackd.Errorf(callbackd.KindConflict, "the session key %s exists already", sessionKey)
}

// Apply runs one change on what the changes before it left. accept stores the
// events that the change fires; it gets the session as it is after the change. After an
// error w is as it was.
func (w *SessionWork) Apply(change func(*callbackd.Session) (store.SessionChange, error), accept func(*callbackd.Session, []store.NewEvent) ([]*callbackd.Event, error)) (*callbackd.Session, []*callbackd.Event, error) {
	before, after := *w.Current, *w.Current
	w.action = ""
	c, err := change(&after)
	if err != nil {
		return nil, nil, err
	}
	if c.Unchanged {
		return &after, nil, nil
	}
	events, err := accept(&after, EventsOfSession(after.SessionKey, c.Events))
	if err != nil {
		return nil, nil, err
	}
	w.Changed = true
	w.action, w.before = c.Action, &before
	if c.Remove {
		w.Current, w.notes = nil, nil
		return &after, events, nil
	}
	if len(w.notes) == 0 {
		w.firstNote = after.Notes - len(c.Notes) + 1
	}
	w.Current, w.notes = &after, append(w.notes, c.Notes...)
	return &after, events, nil
}

// Audit returns the entries of the audit log about the change that [SessionWork.Apply] has
// just made: one when a person made it, and else none. after is the result of Apply.
func (w *SessionWork) Audit(a *Auditor, after *callbackd.Session) []callbackd.AuditEntry {
	if w.action == "" {
		return nil
	}
	e := callbackd.AuditEntry{Key: after.Key, Action: w.action, Subject: after.SessionKey, Actor: a.actor}
	digest := a.Digest(after.Key)
	if w.Current != nil {
		var changed bool
		e.Before, e.After, changed = callbackd.AuditChange(w.before.AuditState(digest), after.AuditState(digest), digest)
		if !changed && w.action == callbackd.AuditSessionChanged {
			return nil
		}
	}
	return []callbackd.AuditEntry{e}
}

// EventsOfSession returns events as events of a session.
func EventsOfSession(sessionKey string, events []store.NewEvent) []store.NewEvent {
	events = slices.Clone(events)
	for i := range events {
		events[i].Session = sessionKey
	}
	return events
}

// Column is a column that a driver adds to a row, with its value.
type Column struct {
	Name  string
	Value any
}

// Execer is the part of [Tx] that a write needs.
type Execer interface {
	// Exec is that of [Tx].
	Exec(sql string, args ...any) (int64, error)
}

// Write stores the session as the changes have left it, with the driver's own columns.
func (w *SessionWork) Write(tx Execer, own ...Column) error {
	switch {
	case w.Current == nil:
		return removeSession(tx, w.RowID)
	case w.Stored == nil:
		s := w.Current
		return insert(tx, "sessions", append([]Column{{"key_no", s.Key}, {"session", s.SessionKey}, {"created_at", s.CreatedAt}}, append(sessionColumns(s), own...)...))
	}
	columns := sessionColumns(w.Current)
	if onlyDocumentChanged(w.Stored, w.Current) {
		columns = columns[:1]
	}
	if err := update(tx, "sessions", append(columns, own...), w.RowID); err != nil {
		return err
	}
	for i, n := range w.notes {
		_, err := tx.Exec("INSERT INTO session_notes (session_no, n, title, description, inserted_by, inserted_at) VALUES ($1, $2, $3, $4, $5, $6)",
			w.RowID, w.firstNote+i, Text(n.Title), Text(n.Description), Text(n.InsertedBy), n.InsertedAt)
		if err != nil {
			return err
		}
	}
	return nil
}

// sessionColumns returns the columns that a change can write; the document is
// the first.
func sessionColumns(s *callbackd.Session) []Column {
	return []Column{
		{"document", store.EncodeSession(s)},
		{"status", s.Status},
		{"ended_at", s.EndedAt},
		{"due", s.Due()},
		{"search", Text(store.SessionText(s))},
		{"reference", nullable(s.Reference)},
		{"results", nullable(s.Results)},
	}
}

// onlyDocumentChanged reports whether no column but the document differs. Most
// changes are such, and then no index is touched.
func onlyDocumentChanged(old, now *callbackd.Session) bool {
	return old.Status == now.Status &&
		old.Due().Equal(now.Due()) &&
		old.Vehicle.VIN == now.Vehicle.VIN &&
		bytes.Equal(old.Reference, now.Reference) &&
		bytes.Equal(old.Results, now.Results)
}

// nullable returns nil, which is stored as NULL, for a nil slice. An empty slice stays
// empty.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func removeSession(tx Execer, rowID int64) error {
	for _, sql := range []string{"DELETE FROM session_notes WHERE session_no = $1", "DELETE FROM sessions WHERE no = $1"} {
		if _, err := tx.Exec(sql, rowID); err != nil {
			return err
		}
	}
	return nil
}

// ReadSession reads one session.
func ReadSession(tx Tx, key callbackd.KeyID, sessionKey string) (w *SessionWork, err error) {
	if !storable(sessionKey) {
		return nil, NoSession(sessionKey)
	}
	err = tx.Query("SELECT "+SessionColumns+" FROM sessions WHERE key_no = $1 AND session = $2", func(row Row) error {
		w, err = ScanSession(row)
		return err
	}, key, sessionKey)
	if err == nil && w == nil {
		err = NoSession(sessionKey)
	}
	return w, err
}

// Session is part of [store.Sessions].
func (s *Store) Session(ctx context.Context, key callbackd.KeyID, sessionKey string) (session *callbackd.Session, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		w, err := ReadSession(tx, key, sessionKey)
		if err == nil {
			session = w.Stored
		}
		return err
	})
	return session, err
}

// SessionNotes is part of [store.Sessions].
func (s *Store) SessionNotes(ctx context.Context, key callbackd.KeyID, sessionKey string) (notes []callbackd.Note, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		notes = nil
		w, err := ReadSession(tx, key, sessionKey)
		if err != nil {
			return err
		}
		return tx.Query("SELECT title, description, inserted_by, inserted_at FROM session_notes WHERE session_no = $1 ORDER BY n", func(row Row) error {
			var title, description, person Text
			var n callbackd.Note
			err := row.Scan(&title, &description, &person, &n.InsertedAt)
			n.Title, n.Description, n.InsertedBy = string(title), string(description), string(person)
			notes = append(notes, n)
			return err
		}, w.RowID)
	})
	return notes, err
}

// DueSessions is part of [store.Sessions].
func (s *Store) DueSessions(ctx context.Context, now time.Time, limit int) (due []store.SessionID, next time.Time, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		due, next = nil, time.Time{}
		return tx.Query("SELECT key_no, session, due FROM sessions WHERE due IS NOT NULL ORDER BY due LIMIT $1", func(row Row) error {
			var id store.SessionID
			var at time.Time
			if err := row.Scan(&id.Key, &id.SessionKey, &at); err != nil {
				return err
			}
			if at.After(now) || len(due) == limit {
				next = at
				return ErrStop
			}
			due = append(due, id)
			return nil
		}, limit+1)
	})
	return due, next, err
}
