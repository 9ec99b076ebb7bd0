package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// keptSession is a session and its place in the table; session is nil for
// one that was removed.
type keptSession struct {
	no      int64
	session *callbackd.Session
}

// publishSessions makes the sessions of a durable group known in memory.
func (t *tx) publishSessions() {
	for id, k := range t.kept {
		if k.session == nil {
			t.s.kept.Drop(id)
		} else {
			t.s.kept.Put(id, k)
		}
	}
}

const sessionColumns = "no, key_no, session, status, created_at, ended_at, reference, results, document"

func scanSession(st *sqlite3.Stmt) (k keptSession, err error) {
	s := &callbackd.Session{
		Key: callbackd.KeyID(st.ColumnInt64(1)), SessionKey: st.ColumnText(2), Status: callbackd.SessionStatus(st.ColumnText(3)),
		CreatedAt: columnTime(st, 4), EndedAt: columnTime(st, 5), Reference: columnBytes(st, 6), Results: columnBytes(st, 7),
	}
	if err = store.DecodeSession(st.ColumnRawBlob(8), s); err != nil {
		err = fmt.Errorf("the document of session %s: %w", s.SessionKey, err)
	}
	return keptSession{st.ColumnInt64(0), s}, err
}

// columnBytes tells null, which is nil, from empty.
func columnBytes(st *sqlite3.Stmt, col int) []byte {
	if st.ColumnType(col) == sqlite3.NULL {
		return nil
	}
	return st.ColumnBlob(col, []byte{})
}

func bytesOrNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func noSession(sessionKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "Session %s cannot be found.", sessionKey)
}

// session reads one session.
func (d *db) session(id sessionID) (k keptSession, err error) {
	err = d.query("SELECT "+sessionColumns+" FROM sessions WHERE key_no = ? AND session = ?", func(st *sqlite3.Stmt) (err error) {
		k, err = scanSession(st)
		return err
	}, int64(id.key), id.session)
	if err == nil && k.session == nil {
		err = noSession(id.session)
	}
	return k, err
}

// kept is the session as the group has left it so far.
func (t *tx) keptSession(id sessionID) (keptSession, error) {
	k, ok := t.kept[id]
	if !ok {
		k, ok = t.s.kept.Get(id)
	}
	if !ok {
		return t.session(id)
	}
	if k.session == nil {
		return k, noSession(id.session)
	}
	return k, nil
}

// CreateSession is part of [store.Sessions].
func (s *Store) CreateSession(ctx context.Context, session *callbackd.Session, fired ...store.NewEvent) error {
	stored := *session
	document := store.EncodeSession(&stored)
	store.Made(ctx, store.Changed{Session: session})
	return s.write(ctx, func(t *tx) error {
		if err := t.hasRoom(); err != nil {
			return err
		}
		err := t.query("INSERT INTO sessions ("+sessionColumns+", due, search) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
			int64(stored.Key), stored.SessionKey, string(stored.Status), stored.CreatedAt, stored.EndedAt, bytesOrNull(stored.Reference), bytesOrNull(stored.Results),
			document, stored.Due(), store.SessionText(&stored))
		if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			return callbackd.Errorf(callbackd.KindConflict, "there is a session %s already", stored.SessionKey)
		}
		if err != nil {
			return err
		}
		id := sessionID{stored.Key, stored.SessionKey}
		t.kept[id] = keptSession{t.conn.LastInsertRowID(), &stored}
		_, err = s.acceptOf(t, id, stored.CreatedAt, fired)
		return err
	})
}

// Session is part of [store.Sessions].
func (s *Store) Session(ctx context.Context, key callbackd.KeyID, sessionKey string) (*callbackd.Session, error) {
	var k keptSession
	err := s.read(ctx, func(d *db) (err error) {
		k, err = d.session(sessionID{key, sessionKey})
		return err
	})
	return k.session, err
}

// ChangeSession is part of [store.Sessions].
func (s *Store) ChangeSession(ctx context.Context, key callbackd.KeyID, sessionKey string, at time.Time, change func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	id := sessionID{key, sessionKey}
	var next *callbackd.Session
	var events []*callbackd.Event
	err := s.write(ctx, func(t *tx) error {
		before, err := t.keptSession(id)
		if err != nil {
			return err
		}
		after := *before.session
		c, err := change(&after)
		if err != nil {
			return err
		}
		next, events = &after, nil
		switch {
		case c.Unchanged:
			store.Made(ctx, store.Changed{Session: next})
			return nil
		case c.Remove:
			if err := t.removeSession(before.no); err != nil {
				return err
			}
			t.kept[id] = keptSession{}
		default:
			if err := t.updateSession(before, &after, c.Notes); err != nil {
				return err
			}
			t.kept[id] = keptSession{before.no, &after}
		}
		events, err = s.acceptOf(t, id, at, c.Events)
		store.Made(ctx, store.Changed{Session: next, Events: events})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return next, events, nil
}

// acceptOf accepts what a change of a session fires.
func (s *Store) acceptOf(t *tx, id sessionID, at time.Time, fired []store.NewEvent) (events []*callbackd.Event, err error) {
	b := store.Batch{Key: id.key, At: at}
	for i := range fired {
		ev := fired[i]
		ev.Session = id.session
		accepted, err := s.acceptOne(t, &b, &ev)
		if err != nil {
			return nil, err
		}
		events = append(events, accepted)
	}
	return events, nil
}

// updateSession writes what changed. Most changes are of the document alone,
// and then no index is touched.
func (t *tx) updateSession(before keptSession, after *callbackd.Session, notes []callbackd.Note) error {
	document, err := store.EncodeSession(after), error(nil)
	old := before.session
	if old.Status == after.Status && old.Due().Equal(after.Due()) && old.Vehicle.VIN == after.Vehicle.VIN &&
		bytes.Equal(old.Reference, after.Reference) && bytes.Equal(old.Results, after.Results) {
		err = t.query("UPDATE sessions SET document = ? WHERE no = ?", nil, document, before.no)
	} else {
		err = t.query("UPDATE sessions SET status = ?, ended_at = ?, due = ?, search = ?, reference = ?, results = ?, document = ? WHERE no = ?", nil,
			string(after.Status), after.EndedAt, after.Due(), store.SessionText(after), bytesOrNull(after.Reference), bytesOrNull(after.Results), document, before.no)
	}
	for i, n := range notes {
		if err != nil {
			return err
		}
		err = t.query("INSERT INTO session_notes (session_no, n, title, description, inserted_by, inserted_at) VALUES (?, ?, ?, ?, ?, ?)", nil,
			before.no, after.Notes-len(notes)+i+1, n.Title, n.Description, n.InsertedBy, n.InsertedAt)
	}
	return err
}

func (t *tx) removeSession(no int64) error {
	if err := t.query("DELETE FROM session_notes WHERE session_no = ?", nil, no); err != nil {
		return err
	}
	return t.query("DELETE FROM sessions WHERE no = ?", nil, no)
}

// SessionNotes is part of [store.Sessions].
func (s *Store) SessionNotes(ctx context.Context, key callbackd.KeyID, sessionKey string) (notes []callbackd.Note, err error) {
	err = s.read(ctx, func(d *db) error {
		k, err := d.session(sessionID{key, sessionKey})
		if err != nil {
			return err
		}
		return d.query("SELECT title, description, inserted_by, inserted_at FROM session_notes WHERE session_no = ? ORDER BY n", func(st *sqlite3.Stmt) error {
			notes = append(notes, callbackd.Note{Title: st.ColumnText(0), Description: st.ColumnText(1), InsertedBy: st.ColumnText(2), InsertedAt: columnTime(st, 3)})
			return nil
		}, k.no)
	})
	return notes, err
}

// DueSessions is part of [store.Sessions].
func (s *Store) DueSessions(ctx context.Context, now time.Time, limit int) (due []store.SessionID, next time.Time, err error) {
	err = s.read(ctx, func(d *db) error {
		err := d.query("SELECT key_no, session, due FROM sessions WHERE due IS NOT NULL ORDER BY due LIMIT ?", func(st *sqlite3.Stmt) error {
			if at := columnTime(st, 2); next.IsZero() && (at.After(now) || len(due) == limit) {
				next = at
			} else if next.IsZero() {
				due = append(due, store.SessionID{Key: callbackd.KeyID(st.ColumnInt64(0)), SessionKey: st.ColumnText(1)})
			}
			return nil
		}, limit+1)
		return err
	})
	return due, next, err
}

// SweepSessions is part of [store.Sessions].
func (s *Store) SweepSessions(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.write(ctx, func(t *tx) error {
		removed = 0
		gone := map[int64]sessionID{}
		err := t.query("SELECT no, key_no, session FROM sessions WHERE ended_at < ? ORDER BY ended_at LIMIT ?", func(st *sqlite3.Stmt) error {
			gone[st.ColumnInt64(0)] = sessionID{callbackd.KeyID(st.ColumnInt64(1)), st.ColumnText(2)}
			return nil
		}, before, limit)
		for no, id := range gone {
			if err != nil {
				return err
			}
			err = t.removeSession(no)
			t.kept[id] = keptSession{}
			removed++
		}
		return err
	})
	return removed, err
}
