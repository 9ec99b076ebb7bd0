package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// typesOrNull returns a set of event types for the columns types and own_types, which are
// NULL without one.
func (s *Store) typesOrNull(types []callbackd.EventType) (ours, own any, err error) {
	if types == nil {
		return nil, nil, nil
	}
	text, err := s.EventTypes.OwnSet(types)
	return codec.TypeSet(types), textOrNull(text), err
}

// SessionCallbacks returns the callbacks in force that are for a session, oldest first.
func (s *Store) SessionCallbacks(tx Tx, id store.SessionID) ([]*callbackd.Callback, error) {
	return s.callbacksWhere(tx, "c.key_no = $1 AND c.session = $2 AND c.session IS NOT NULL AND c.deleted_at IS NULL ORDER BY c.no", id.Key, id.SessionKey)
}

// checkTwins returns an error when a callback that is for a session is the same as another one
// of the session.
func (s *Store) checkTwins(tx Tx, cb *callbackd.Callback) error {
	if !cb.OfSession() || cb.Deleted() {
		return nil
	}
	inForce, err := s.SessionCallbacks(tx, store.SessionID{Key: cb.Key, SessionKey: cb.Session})
	if err != nil {
		return err
	}
	return cb.RefuseTwin(inForce)
}

// ForSessions is what follows SELECT in a statement for [Store.ScanForSession], on callbacks c.
const ForSessions = "c.no, c.key_no, c.session, c.types, c.own_types, c.filter, c.ttl"

// ScanForSession reads of a callback for one session what [callbackd.Candidates.With] needs:
// each event of the session reads it, so it leaves out the setting and what is sealed.
func (s *Store) ScanForSession(row Row) (*callbackd.Callback, error) {
	var cb callbackd.Callback
	var own, filter *string
	var types int64
	var ttl *int64
	err := row.Scan(&cb.ID, &cb.Key, &cb.Session, &types, &own, &filter, &ttl)
	if err != nil {
		return nil, err
	}
	if cb.Types, err = s.EventTypes.Types(types, own); err != nil {
		return nil, err
	}
	cb.Policy.TTL = ReadTTL(ttl)
	cb.Policy.Filter, err = ReadFilter(cb.ID, filter)
	return &cb, err
}

// Give gives a session a callback, in memory: see [callbackd.GiveCallback]. newID returns the
// ID of one that the session does not have yet.
func (s *Store) Give(id store.SessionID, inForce []*callbackd.Callback, given *callbackd.Callback, at time.Time, newID func() (callbackd.CallbackID, error)) (callbackd.Given, error) {
	next := *given
	next.Key, next.Session, next.Event = id.Key, id.SessionKey, ""
	g, err := callbackd.GiveCallback(inForce, &next, at)
	if err != nil || g.Before != nil {
		return g, err
	}
	cb := g.Callback
	if cb.ID, err = newID(); err != nil {
		return g, err
	}
	cb.Name = fmt.Sprint(int64(cb.ID))
	secret, err := s.sessionSecret(cb)
	cb.Secrets = []callbackd.SigningSecret{{Value: secret}}
	return g, err
}

// sessionSecret derives the signing secret of a session's callback, so that its making needs
// no randomness. The secret is stored like others, because the keyset may be another one in
// a year.
func (s *Store) sessionSecret(cb *callbackd.Callback) (callbackd.Secret, error) {
	keys, err := s.sealer.Derive("secrets of callbacks for one session")
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, keys[0])
	fmt.Fprintf(mac, "%d\n%d\n%s", cb.Key, cb.ID, cb.Session)
	return callbackd.SigningSecretOf(mac.Sum(nil)), nil
}

// WriteGiven stores what Give has changed.
func (s *Store) WriteGiven(tx Execer, g callbackd.Given) error {
	switch {
	case g.Unchanged:
		return nil
	case g.Before == nil:
		return s.insertNumbered(tx, g.Callback)
	}
	return s.updateCallback(tx, g.Before, g.Callback, g.Callback.Releasing && !g.Before.Releasing)
}

// NextCallback returns the ID of a new callback.
func (s *Store) NextCallback(tx Tx) (id callbackd.CallbackID, err error) {
	err = tx.Query(s.d.NextCallback, func(row Row) error { return row.Scan(&id) })
	return id, err
}

// CountSessionCallbacks is part of [store.Callbacks].
func (s *Store) CountSessionCallbacks(ctx context.Context, key callbackd.KeyID, limit int) (n int, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		return tx.Query("SELECT count(*) FROM (SELECT 1 FROM callbacks WHERE key_no = $1 AND session IS NOT NULL AND deleted_at IS NULL LIMIT $2) AS o",
			func(row Row) error { return row.Scan(&n) }, key, limit)
	})
	return n, err
}

// endedSettingAge is how long a session's callback stays after it ended. An event that was
// being accepted at that moment may still refer to it.
const endedSettingAge = time.Hour

// sessionCallback is a callback that SweepSessionCallbacks looks at.
type sessionCallback struct {
	id        callbackd.CallbackID
	session   store.SessionID
	deletedAt time.Time
	used      bool // the session, or an event of it, is stored
}

// SweepSessionCallbacks is part of [store.Upkeep].
func (s *Store) SweepSessionCallbacks(ctx context.Context, before, at time.Time, after callbackd.CallbackID, limit int) (next callbackd.CallbackID, removed int, done bool, err error) {
	if err := s.db.Flush(ctx); err != nil {
		return after, 0, false, err
	}
	var ended, gone []callbackd.CallbackID
	var sessions []store.SessionID
	next, done = after, true
	err = s.db.Read(ctx, func(tx Tx) error {
		ended, gone, sessions, next, done = nil, nil, nil, after, true
		seen := 0
		err := tx.Query(`SELECT c.no, c.key_no, c.session, c.created_at, c.deleted_at,
				(SELECT 1 FROM sessions WHERE key_no = c.key_no AND session = c.session LIMIT 1) IS NOT NULL
				OR (SELECT 1 FROM `+s.d.SessionIndex+` WHERE key_no = c.key_no AND session = c.session LIMIT 1) IS NOT NULL
			FROM callbacks c WHERE c.no > $1 AND c.session IS NOT NULL ORDER BY c.no LIMIT $2`, func(row Row) error {
			var cb sessionCallback
			var created time.Time
			if err := row.Scan(&cb.id, &cb.session.Key, &cb.session.SessionKey, &created, &cb.deletedAt, &cb.used); err != nil {
				return err
			}
			seen, next = seen+1, cb.id
			switch {
			case cb.used || !created.Before(before):
			case cb.deletedAt.IsZero():
				ended = append(ended, cb.id)
			case cb.deletedAt.Before(at.Add(-endedSettingAge)):
				gone, sessions = append(gone, cb.id), append(sessions, cb.session)
			}
			return nil
		}, after, limit)
		done = seen < limit
		return err
	})
	if err != nil || len(ended)+len(gone) == 0 {
		return next, 0, done, err
	}
	err = s.db.Write(ctx, Repeatable|Settings, func(tx Tx) error {
		_, err := tx.Exec("UPDATE callbacks SET deleted_at = $2"+s.d.SetRevision+" WHERE deleted_at IS NULL AND no "+s.d.In("$1"), ended, at)
		if err == nil {
			err = s.removeCallbacks(tx, gone)
		}
		if err == nil {
			err = s.db.EndSessions(tx, sessions)
		}
		return err
	})
	s.DropCallbacks(append(ended, gone...)...)
	return next, len(gone), done, err
}
