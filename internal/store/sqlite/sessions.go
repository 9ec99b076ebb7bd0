package sqlite

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
)

// publishSessions adds the sessions of a durable group to the cache.
func (t *tx) publishSessions() {
	for id, w := range t.sessions {
		if w.Current == nil {
			t.s.w.sessions.Drop(id)
		} else {
			t.s.w.sessions.Put(id, w)
		}
	}
}

// session returns a session with the changes that the group has made so far.
func (t *tx) session(id store.SessionID) (core.SessionWork, error) {
	w, ok := t.sessions[id]
	if !ok {
		w, ok = t.s.w.sessions.Get(id)
	}
	if !ok {
		read, err := core.ReadSession(t, id.Key, id.SessionKey)
		if err != nil {
			return core.SessionWork{}, err
		}
		w = *read
	}
	if w.Current == nil {
		return w, core.NoSession(id.SessionKey)
	}
	return w, nil
}

// writeSession writes a changed session and remembers it for the next change.
func (t *tx) writeSession(id store.SessionID, w core.SessionWork) error {
	if err := w.Write(t); err != nil {
		return err
	}
	if w.Stored == nil {
		w.RowID = t.conn.LastInsertRowID()
	}
	t.sessions[id] = core.SessionWork{RowID: w.RowID, Stored: w.Current, Current: w.Current}
	return nil
}

// CreateSession is part of [store.Sessions].
func (s *Store) CreateSession(ctx context.Context, session *callbackd.Session, given *callbackd.Callback, fired ...store.NewEvent) error {
	stored := *session
	id := store.SessionID{Key: stored.Key, SessionKey: stored.SessionKey}
	return s.write(ctx, func(t *tx) error {
		if err := t.checkSpace(); err != nil {
			return err
		}
		switch _, err := t.session(id); {
		case err == nil:
			return core.SessionExists(stored.SessionKey)
		case callbackd.KindOf(err) != callbackd.KindNotFound:
			return err
		}
		if err := t.writeSession(id, core.SessionWork{Current: &stored}); err != nil {
			return err
		}
		var cb *callbackd.Callback
		if given != nil {
			var err error
			if cb, err = s.give(t, id, given, stored.CreatedAt); err != nil {
				return err
			}
		}
		store.Made(ctx, store.Changed{Session: session, Callback: cb})
		_, err := s.acceptAll(t, &store.Batch{Key: id.Key, At: stored.CreatedAt, Events: core.EventsOfSession(id.SessionKey, fired), Trace: store.TraceOf(ctx)}, &stored)
		return err
	})
}

// ChangeSession is part of [store.Sessions].
func (s *Store) ChangeSession(ctx context.Context, key callbackd.KeyID, sessionKey string, at time.Time, change func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	id := store.SessionID{Key: key, SessionKey: sessionKey}
	var next *callbackd.Session
	var events []*callbackd.Event
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = s.write(ctx, func(t *tx) error {
		w, err := t.session(id)
		if err != nil {
			return err
		}
		next, events, err = w.Apply(change, func(after *callbackd.Session, fired []store.NewEvent) ([]*callbackd.Event, error) {
			return s.acceptAll(t, &store.Batch{Key: key, At: at, Events: fired, Trace: store.TraceOf(ctx)}, after)
		})
		if err != nil {
			return err
		}
		store.Made(ctx, store.Changed{Session: next, Events: events})
		if !w.Changed {
			return nil
		}
		if err := t.writeSession(id, w); err != nil {
			return err
		}
		return audit.Append(t, w.Audit(audit, next))
	})
	if err != nil {
		return nil, nil, err
	}
	return next, events, nil
}
