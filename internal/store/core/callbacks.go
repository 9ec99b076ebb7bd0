package core

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// find reads the callback in force for a key, event and name. One that is for a session has
// no event, and its ID as its name.
func (s *Store) find(tx Tx, key callbackd.KeyID, ev callbackd.EventType, name string) (*callbackd.Callback, error) {
	where, args := "c.key_no = $1 AND c.type = $2 AND c.name = $3 AND c.deleted_at IS NULL AND c.session IS NULL", []any{key, s.EventTypes.Number(ev), name}
	if ev == "" {
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return nil, store.NoCallback(ev)
		}
		where, args = "c.no = $1 AND c.key_no = $2 AND c.deleted_at IS NULL AND c.session IS NOT NULL", []any{id, key}
	}
	found, err := s.callbacksWhere(tx, where, args...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, store.NoCallback(ev)
	}
	return found[0], nil
}

// CreateCallback is part of [store.Callbacks].
func (s *Store) CreateCallback(ctx context.Context, c callbackd.Callback, at time.Time) (stored *callbackd.Callback, created bool, err error) {
	// An earlier try whose commit was not answered may have created the callback.
	var tried callbackd.CallbackID
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, false, err
	}
	err = s.changeSettings(ctx, Repeatable, func(tx Tx) error {
		created = false
		if stored, err = s.find(tx, c.Key, c.Event, c.Name); callbackd.KindOf(err) != callbackd.KindNotFound {
			created = err == nil && stored.ID == tried
			store.Made(ctx, stored)
			return err
		}
		if err := s.checkCallbackLimit(tx, &c); err != nil {
			return err
		}
		cb := c
		cb.Version, cb.CreatedAt, cb.UpdatedAt = 1, at, at
		stored, created = &cb, true
		store.Made(ctx, stored)
		if err := s.insertCallback(tx, &cb); err != nil {
			return err
		}
		tried = cb.ID
		if err := s.checkFilters(tx, &cb); err != nil {
			return err
		}
		return audit.Write(tx, callbackEntry(callbackd.AuditCallbackCreated, &cb), nil, cb.AuditState(audit.Digest(cb.Key)))
	}, func() { s.DropCallbacks() })
	if err != nil {
		return nil, false, err
	}
	return stored, created, nil
}

// checkCallbackLimit refuses another callback of a key that has as many as it may have for
// the event.
func (s *Store) checkCallbackLimit(tx Tx, c *callbackd.Callback) error {
	n := 0
	err := tx.Query("SELECT count(*) FROM callbacks WHERE key_no = $1 AND type = $2 AND deleted_at IS NULL AND session IS NULL",
		func(row Row) error { return row.Scan(&n) }, c.Key, s.EventTypes.Number(c.Event))
	if err != nil {
		return err
	}
	var text *string
	if err := tx.Query("SELECT limits FROM keys WHERE no = $1", func(row Row) error { return row.Scan(&text) }, c.Key); err != nil {
		return err
	}
	limits, err := readLimits(text)
	if err != nil {
		return damaged(err)
	}
	return limits.CheckCallbacks(n, c.Event)
}

// insertCallback stores a new callback. Its ID comes first, because its secrets are
// sealed for that ID.
func (s *Store) insertCallback(tx Tx, cb *callbackd.Callback) error {
	if err := tx.Query(s.d.NextCallback, func(row Row) error { return row.Scan(&cb.ID) }); err != nil {
		return err
	}
	return s.insertNumbered(tx, cb)
}

// insertNumbered stores a new callback that has its ID.
func (s *Store) insertNumbered(tx Execer, cb *callbackd.Callback) error {
	typ, err := s.typeNumber(cb.Event)
	if err != nil {
		return err
	}
	policy, secrets, err := s.setting(cb)
	if err != nil {
		return err
	}
	types, own, err := s.typesOrNull(cb.Types)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO callbacks (no, key_no, type, name, version, policy, secrets, created_at, updated_at, filter, ttl, session, types, own_types"+s.d.RevisionColumn+
		") "+s.d.InsertNumbered+" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14"+s.d.RevisionValue+")",
		cb.ID, cb.Key, typ, cb.Name, cb.Version, policy, secrets, cb.CreatedAt, cb.UpdatedAt, textOrNull(cb.Policy.Filter.String()), ttlOrNull(cb.Policy.TTL), textOrNull(cb.Session), types, own)
	if err != nil {
		return err
	}
	return s.insertVersion(tx, cb)
}

// setting returns the columns of a callback that are encoded.
func (s *Store) setting(cb *callbackd.Callback) (policy string, secrets []byte, err error) {
	encoded, err := json.Marshal(cb.Policy)
	if err != nil {
		return "", nil, err
	}
	secrets, err = s.sealer.Secrets(cb)
	return string(encoded), secrets, err
}

func (s *Store) insertVersion(tx Execer, cb *callbackd.Callback) error {
	headers, err := s.sealer.Headers(cb)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO callback_versions (callback_no, version, url, method, headers, payload, at, fields, format) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		cb.ID, cb.Version, cb.URL, cb.Method, headers, cb.Payload, cb.UpdatedAt, textOrNull(cb.Policy.Fields.String()), textOrNull(string(cb.Policy.Format)))
	return err
}

// ChangeCallback is part of [store.Callbacks].
func (s *Store) ChangeCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, change func(*callbackd.Callback) error) (*callbackd.Callback, error) {
	var cb *callbackd.Callback
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.changeSettings(ctx, 0, func(tx Tx) (err error) {
		if cb, err = s.find(tx, key, ev, name); err != nil {
			return err
		}
		before, stateBefore := *cb, cb.AuditState(audit.Digest(cb.Key))
		cb.Releasing = false // so that a new release shows
		if err := change(cb); err != nil {
			return err
		}
		released := cb.Releasing
		cb.Releasing = released || before.Releasing
		store.Made(ctx, cb)
		if err := s.updateCallback(tx, &before, cb, released); err != nil {
			return err
		}
		if !cb.Policy.Filter.Equal(before.Policy.Filter) {
			if err := s.checkFilters(tx, cb); err != nil {
				return err
			}
		}
		if !cb.TwinOf(&before) {
			if err := s.checkTwins(tx, cb); err != nil {
				return err
			}
		}
		return audit.changedCallback(tx, &before, cb, stateBefore, released)
	}, func() {
		if cb != nil {
			s.DropCallbacks(cb.ID)
		}
	})
	if err != nil {
		return nil, err
	}
	return cb, nil
}

// callbackEntry returns an entry about a callback.
func callbackEntry(action callbackd.AuditAction, cb *callbackd.Callback) callbackd.AuditEntry {
	return callbackd.AuditEntry{Key: cb.Key, Action: action, Target: cb.ID, Subject: cb.AuditSubject()}
}

// changedCallback writes the entry of a changed callback. A change without an effect has
// none. released says that waiting retries were made due, which shows in no member.
func (a *Auditor) changedCallback(tx Tx, before, cb *callbackd.Callback, stateBefore callbackd.AuditState, released bool) error {
	state := cb.AuditState(a.Digest(cb.Key))
	_, _, changed := callbackd.AuditChange(stateBefore, state, a.Digest(cb.Key))
	if cb.Deleted() {
		state, changed = nil, true
	}
	if !changed && !released {
		return nil
	}
	return a.Write(tx, callbackEntry(callbackd.AuditActionOf(before, cb), cb), stateBefore, state)
}

// updateCallback stores a changed callback. It writes the health only when the change
// concerns it, because attempts change the health at the same time.
func (s *Store) updateCallback(tx Execer, before, cb *callbackd.Callback, released bool) error {
	if reflect.DeepEqual(before, cb) && !released {
		return nil
	}
	policy, secrets, err := s.setting(cb)
	if err != nil {
		return err
	}
	types, own, err := s.typesOrNull(cb.Types)
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE callbacks SET version = $2, policy = $3, secrets = $4, updated_at = $5, deleted_at = $6, filter = $7, ttl = $8, types = $9, own_types = $10"+s.d.SetRevision+" WHERE no = $1",
		cb.ID, cb.Version, policy, secrets, cb.UpdatedAt, cb.DeletedAt, textOrNull(cb.Policy.Filter.String()), ttlOrNull(cb.Policy.TTL), types, own)
	if err != nil {
		return err
	}
	sameHealth := cb.Pause == before.Pause && cb.FailingSince.Equal(before.FailingSince) && cb.ClosedUntil.Equal(before.ClosedUntil) && cb.Proven == before.Proven
	if !sameHealth {
		_, err = tx.Exec("UPDATE callbacks SET pause_reason = $2, paused_at = $3, failing_since = $4, closed_until = $5, proven = $6 WHERE no = $1",
			cb.ID, cb.Pause.Reason, cb.Pause.At, cb.FailingSince, cb.ClosedUntil, cb.Proven)
		if err != nil {
			return err
		}
	}
	if released { // from the first event on
		_, err = tx.Exec("UPDATE callbacks SET released_at = $2, release_after = 0 WHERE no = $1", cb.ID, cb.ReleasedAt)
		if err != nil {
			return err
		}
	}
	if cb.Version == before.Version {
		return nil
	}
	return s.insertVersion(tx, cb)
}

// callbackRows returns the condition, and its arguments from $2 on, under which a query
// chooses callbacks.
func (s *Store) callbackRows(q *store.CallbackQuery) (where string, args []any) {
	where = "c.deleted_at IS NULL AND c.session IS NULL"
	if q.Session != "" {
		where = "c.deleted_at IS NULL AND c.session IS NOT NULL"
	}
	if q.Key == store.AllKeys {
		where += " AND (SELECT revoked_at FROM keys WHERE no = c.key_no) IS NULL"
	}
	add := func(condition string, arg any) {
		args = append(args, arg)
		where += fmt.Sprintf(" AND "+condition, len(args)+1)
	}
	if q.Key != store.AllKeys {
		add("c.key_no = $%d", q.Key)
	}
	if q.Session != "" {
		add("c.session = $%d", q.Session)
	}
	if q.Event != "" {
		add("c.type = $%d", s.EventTypes.Number(q.Event))
	}
	if q.Name != "" {
		add("c.name = $%d", q.Name)
	}
	if q.After != 0 {
		add("(c.key_no, c.type, c.name) > (SELECT key_no, type, name FROM callbacks WHERE no = $%d)", q.After)
	}
	return where, args
}

// ListCallbacks is part of [store.Callbacks].
func (s *Store) ListCallbacks(ctx context.Context, q store.CallbackQuery) (page store.CallbackPage, err error) {
	if q.Session != "" && (q.Key == store.AllKeys || !storable(q.Session)) {
		return page, nil
	}
	limit := q.PageLimit()
	where, args := s.callbackRows(&q)
	order := "c.key_no, c.type, c.name"
	if q.Session != "" {
		order = "c.key_no, c.session, c.no"
	}
	args = append([]any{limit + 1}, args...)
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		page.Callbacks, err = s.callbacksWhere(tx, where+" ORDER BY "+order+" LIMIT $1", args...)
		return err
	})
	for i := range page.Callbacks {
		if err == nil {
			page.Callbacks[i], err = s.withKey(ctx, page.Callbacks[i])
		}
	}
	return page.Cut(limit), err
}

// CallbackByID is part of [store.Callbacks].
func (s *Store) CallbackByID(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error) {
	if err := s.db.Refresh(ctx); err != nil {
		return nil, err
	}
	cb, drops, ok := s.cache.callback(id)
	if !ok {
		err := s.db.ReadSettings(ctx, func(tx Tx) error {
			found, err := s.callbacksWhere(tx, "c.no = $1", id)
			if err == nil && len(found) == 0 {
				err = callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d", id)
			}
			if err == nil {
				cb = found[0]
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		s.cache.putCallback(cb, drops)
	}
	return s.withKey(ctx, cb)
}

// withKey returns a callback as the state of its key makes it: that of a revoked key is
// deleted.
func (s *Store) withKey(ctx context.Context, cb *callbackd.Callback) (*callbackd.Callback, error) {
	k, err := s.KeyByID(ctx, cb.Key)
	if err != nil {
		return nil, fmt.Errorf("key of callback %d: %w", cb.ID, err)
	}
	return cb.OfKey(k), nil
}

// Ended reports whether a callback was deleted or its key revoked. Then it gets no more
// deliveries.
func (s *Store) Ended(ctx context.Context, id callbackd.CallbackID) (bool, error) {
	cb, err := s.CallbackByID(ctx, id)
	return err != nil || cb.Deleted(), err
}

// CallbackVersion is part of [store.Callbacks].
func (s *Store) CallbackVersion(ctx context.Context, id callbackd.CallbackID, version int64) (cb *callbackd.Callback, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		cb = nil
		err := tx.Query("SELECT "+callbackColumns+callbackFrom+"$2 WHERE c.no = $1", func(row Row) (err error) {
			cb, err = s.scanCallback(row)
			return err
		}, id, version)
		if err == nil && cb == nil {
			err = callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d with version %d", id, version)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	cb.Version = version
	return s.withKey(ctx, cb)
}
