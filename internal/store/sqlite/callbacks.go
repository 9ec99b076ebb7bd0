package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/memo"

	"github.com/ncruces/go-sqlite3"
)

const callbackColumns = `c.no, c.key_no, c.type, c.name, c.version, c.policy, c.secrets, c.created_at, c.updated_at,
 c.deleted_at, c.pause_reason, c.paused_at, c.failing_since, c.closed_until, c.proven, c.released_at, c.release_after, v.version, v.url, v.method, v.headers, v.payload`

const callbackFrom = " FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version = "

func (s *Store) scanCallback(st *sqlite3.Stmt) (*callbackd.Callback, error) {
	c := &callbackd.Callback{
		ID: callbackd.CallbackID(st.ColumnInt64(0)), Key: callbackd.KeyID(st.ColumnInt64(1)),
		Event: codec.Type(st.ColumnInt64(2)), Name: st.ColumnText(3), Version: st.ColumnInt64(4),
		CreatedAt: columnTime(st, 7), UpdatedAt: columnTime(st, 8), DeletedAt: columnTime(st, 9),
		Pause:        callbackd.Pause{Reason: callbackd.PauseReason(st.ColumnText(10)), At: columnTime(st, 11)},
		FailingSince: columnTime(st, 12), ClosedUntil: columnTime(st, 13), Proven: st.ColumnBool(14),
		ReleasedAt: columnTime(st, 15), Releasing: st.ColumnType(16) != sqlite3.NULL,
		URL: st.ColumnText(18), Method: st.ColumnText(19), Payload: st.ColumnBlob(21, nil),
	}
	if c.Payload == nil {
		c.Payload = []byte{}
	}
	if err := json.Unmarshal(st.ColumnRawText(5), &c.Policy); err != nil {
		return nil, fmt.Errorf("policy of callback %d: %w", c.ID, err)
	}
	var err error
	if c.Secrets, err = s.sealer.OpenSecrets(st.ColumnRawBlob(6), c.ID); err != nil {
		return nil, err
	}
	c.Headers, err = s.sealer.OpenHeaders(st.ColumnRawBlob(20), c.ID, st.ColumnInt64(17))
	return c, err
}

// find reads the callback in force for a key, type and name; nil when there
// is none.
func (s *Store) find(d *db, key callbackd.KeyID, ev callbackd.EventType, name string) (cb *callbackd.Callback, err error) {
	err = d.query("SELECT "+callbackColumns+callbackFrom+"c.version WHERE c.key_no = ? AND c.type = ? AND c.name = ? AND c.deleted_at IS NULL",
		func(st *sqlite3.Stmt) (err error) { cb, err = s.scanCallback(st); return err }, int64(key), codec.TypeNo(ev), name)
	return cb, err
}

// change runs f on the callback in force, within the writer, and forgets
// what was cached of it once that is durable. f returns the setting as it is
// from then on.
func (s *Store) change(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, f func(*tx, *callbackd.Callback) error) (*callbackd.Callback, error) {
	var out *callbackd.Callback
	err := s.write(ctx, func(t *tx) error {
		cb, err := s.find(t.db, key, ev, name)
		if err != nil {
			return err
		}
		if cb == nil {
			return callbackd.Errorf(callbackd.KindNotFound, "there is no callback for the event %s", ev)
		}
		if err := f(t, cb); err != nil {
			return err
		}
		out = cb
		store.Made(ctx, cb)
		t.after = append(t.after, func() { s.forget(cb) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// forgetTargets drops the cache of the callbacks that events are owed to. It runs
// on the writer's goroutine.
func (s *Store) forgetTargets() { s.owed = memo.New[subject, []callbackd.CallbackID](maxOwedCached) }

func (s *Store) forget(cb *callbackd.Callback) {
	s.owed.Drop(subject{cb.Key, cb.Event})
	s.forgetCallback(cb.ID)
}

func (s *Store) insertVersion(t *tx, c *callbackd.Callback, at time.Time) error {
	sealed, err := s.sealer.Headers(c)
	if err != nil {
		return err
	}
	return t.query("INSERT INTO callback_versions (callback_no, version, url, method, headers, payload, at) VALUES (?, ?, ?, ?, ?, ?, ?)", nil,
		int64(c.ID), c.Version, c.URL, c.Method, sealed, c.Payload, at)
}

// CreateCallback is part of [store.Callbacks].
func (s *Store) CreateCallback(ctx context.Context, c callbackd.Callback, at time.Time) (*callbackd.Callback, bool, error) {
	var out *callbackd.Callback
	var created bool
	err := s.write(ctx, func(t *tx) error {
		created = false
		var err error
		if out, err = s.find(t.db, c.Key, c.Event, c.Name); err != nil || out != nil {
			store.Made(ctx, out)
			return err
		}
		var n int64
		err = t.query("SELECT count(*) FROM callbacks WHERE key_no = ? AND type = ? AND deleted_at IS NULL", func(st *sqlite3.Stmt) error { n = st.ColumnInt64(0); return nil }, int64(c.Key), codec.TypeNo(c.Event))
		if err != nil {
			return err
		}
		if n >= callbackd.MaxCallbacks {
			return callbackd.Errorf(callbackd.KindInvalid, "An API key has at most %d callbacks for one event; delete one first", callbackd.MaxCallbacks)
		}
		cb := c
		cb.Version, cb.CreatedAt, cb.UpdatedAt = 1, at, at
		err = t.query("UPDATE meta SET last_callback = last_callback + 1 RETURNING last_callback", func(st *sqlite3.Stmt) error {
			cb.ID = callbackd.CallbackID(st.ColumnInt64(0))
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.insertCallback(t, &cb, at); err != nil {
			return err
		}
		out, created = &cb, true
		store.Made(ctx, out)
		t.after = append(t.after, func() { s.forget(&cb) })
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return out, created, nil
}

func (s *Store) insertCallback(t *tx, cb *callbackd.Callback, at time.Time) error {
	policy, err := json.Marshal(cb.Policy)
	if err != nil {
		return err
	}
	secrets, err := s.sealer.Secrets(cb)
	if err != nil {
		return err
	}
	err = t.query("INSERT INTO callbacks (no, key_no, type, name, version, policy, secrets, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		int64(cb.ID), int64(cb.Key), codec.TypeNo(cb.Event), cb.Name, cb.Version, string(policy), secrets, at, at)
	if err != nil {
		return err
	}
	return s.insertVersion(t, cb, at)
}

// ReplaceCallback is part of [store.Callbacks].
func (s *Store) ReplaceCallback(ctx context.Context, c callbackd.Callback, at time.Time) (*callbackd.Callback, error) {
	return s.change(ctx, c.Key, c.Event, c.Name, func(t *tx, cb *callbackd.Callback) error {
		version := cb.Version
		changed, released := cb.Replace(&c, at)
		if !changed {
			return nil
		}
		policy, err := json.Marshal(cb.Policy)
		if err != nil {
			return err
		}
		secrets, err := s.sealer.Secrets(cb)
		if err != nil {
			return err
		}
		err = t.query("UPDATE callbacks SET version = ?, policy = ?, secrets = ?, updated_at = ? WHERE no = ?", nil, cb.Version, string(policy), secrets, at, int64(cb.ID))
		if err == nil {
			err = t.keep(cb, released)
		}
		if err != nil || cb.Version == version {
			return err
		}
		return s.insertVersion(t, cb, at)
	})
}

// keep writes what is kept of a callback beside its setting. A release begins
// with the first event.
func (t *tx) keep(cb *callbackd.Callback, released bool) error {
	err := t.query("UPDATE callbacks SET pause_reason = ?, paused_at = ?, failing_since = ?, closed_until = ?, proven = ? WHERE no = ?", nil,
		string(cb.Pause.Reason), cb.Pause.At, cb.FailingSince, cb.ClosedUntil, cb.Proven, int64(cb.ID))
	if err == nil && released {
		err = t.query("UPDATE callbacks SET released_at = ?, release_after = 0 WHERE no = ?", nil, cb.ReleasedAt, int64(cb.ID))
	}
	return err
}

// DeleteCallback is part of [store.Callbacks].
func (s *Store) DeleteCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, at time.Time) (*callbackd.Callback, error) {
	return s.change(ctx, key, ev, name, func(t *tx, cb *callbackd.Callback) error {
		cb.DeletedAt = at
		return t.query("UPDATE callbacks SET deleted_at = ? WHERE no = ?", nil, at, int64(cb.ID))
	})
}

// PauseCallback is part of [store.Callbacks].
func (s *Store) PauseCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, p callbackd.Pause) (*callbackd.Callback, error) {
	return s.change(ctx, key, ev, name, func(t *tx, cb *callbackd.Callback) error {
		if cb.Paused() && cb.Pause.Reason == p.Reason {
			return nil // it has waited since then, not since this call
		}
		cb.Pause = p
		resumed := !cb.Paused()
		if resumed {
			cb.Resume(p.At)
		}
		return t.keep(cb, resumed)
	})
}

// RotateSecret is part of [store.Callbacks].
func (s *Store) RotateSecret(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, next callbackd.Secret, keep, at time.Time) (*callbackd.Callback, error) {
	return s.change(ctx, key, ev, name, func(t *tx, cb *callbackd.Callback) error {
		if err := cb.RotateSecret(next, keep, at); err != nil {
			return err
		}
		sealed, err := s.sealer.Secrets(cb)
		if err != nil {
			return err
		}
		return t.query("UPDATE callbacks SET secrets = ? WHERE no = ?", nil, sealed, int64(cb.ID))
	})
}

// Callback is part of [store.Callbacks].
func (s *Store) Callback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string) (cb *callbackd.Callback, err error) {
	err = s.read(ctx, func(d *db) (err error) { cb, err = s.find(d, key, ev, name); return err })
	if err == nil && cb == nil {
		err = callbackd.Errorf(callbackd.KindNotFound, "there is no callback for the event %s", ev)
	}
	return cb, err
}

// ListCallbacks is part of [store.Callbacks].
func (s *Store) ListCallbacks(ctx context.Context, q store.CallbackQuery) (page store.CallbackPage, err error) {
	where, args := "c.deleted_at IS NULL AND (SELECT revoked_at FROM keys WHERE no = c.key_no) IS NULL", []any{}
	if q.Key != store.AllKeys {
		where, args = "c.deleted_at IS NULL AND c.key_no = ?", append(args, int64(q.Key))
	}
	if q.After != 0 {
		where += " AND (c.key_no, c.type, c.name) > (SELECT key_no, type, name FROM callbacks WHERE no = ?)"
		args = append(args, int64(q.After))
	}
	limit := q.PageLimit()
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+callbackColumns+" FROM callbacks c INDEXED BY callbacks_in_force CROSS JOIN callback_versions v ON v.callback_no = c.no AND v.version = c.version WHERE "+where+" ORDER BY c.key_no, c.type, c.name LIMIT ?",
			func(st *sqlite3.Stmt) error {
				cb, err := s.scanCallback(st)
				page.Callbacks = append(page.Callbacks, cb)
				return err
			}, append(args, limit+1)...)
	})
	return page.Cut(limit), err
}

// CallbackByID is part of [store.Callbacks].
func (s *Store) CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error) {
	cb, err := s.callback(ctx, no)
	if err != nil {
		return nil, err
	}
	return s.withKey(ctx, cb)
}

// withKey is a setting that ended with its key when that was revoked.
func (s *Store) withKey(ctx context.Context, cb *callbackd.Callback) (*callbackd.Callback, error) {
	if cb.Deleted() {
		return cb, nil
	}
	k, err := s.KeyByID(ctx, cb.Key)
	if err != nil {
		return nil, fmt.Errorf("key of callback %d: %w", cb.ID, err)
	}
	if k.Revoked() {
		ended := *cb
		ended.DeletedAt = k.RevokedAt
		return &ended, nil
	}
	return cb, nil
}

// callback reads a setting as it is stored, or remembers it.
func (s *Store) callback(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error) {
	s.mu.Lock()
	cb, ok := s.callbacks.Get(no)
	changes := s.changes
	s.mu.Unlock()
	if ok {
		return cb, nil
	}
	cb, err := s.callbackAt(ctx, no, 0)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes {
		s.callbacks.Put(no, cb)
	}
	return cb, nil
}

// CallbackVersion is part of [store.Callbacks].
func (s *Store) CallbackVersion(ctx context.Context, no callbackd.CallbackID, version int64) (*callbackd.Callback, error) {
	cb, err := s.callbackAt(ctx, no, version)
	if err != nil {
		return nil, err
	}
	return s.withKey(ctx, cb)
}

// callbackAt reads a setting with what it sends in that version; 0 is the
// present one.
func (s *Store) callbackAt(ctx context.Context, no callbackd.CallbackID, version int64) (cb *callbackd.Callback, err error) {
	sql := "SELECT " + callbackColumns + callbackFrom + "c.version WHERE c.no = ?"
	args := []any{int64(no)}
	if version != 0 {
		sql = "SELECT " + callbackColumns + callbackFrom + "? WHERE c.no = ?"
		args = []any{version, int64(no)}
	}
	err = s.read(ctx, func(d *db) error {
		return d.query(sql, func(st *sqlite3.Stmt) (err error) { cb, err = s.scanCallback(st); return err }, args...)
	})
	if err == nil && cb == nil {
		err = callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d with version %d", no, version)
	}
	if err == nil && version != 0 {
		cb.Version = version
	}
	return cb, err
}
