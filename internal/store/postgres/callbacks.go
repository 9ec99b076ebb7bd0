package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// callbackFrom joins a setting with what it sends in the version that
// follows. A callback whose key was revoked is read as deleted: it is owed
// nothing.
const (
	callbackColumns = `c.no, c.key_no, c.type, c.name, c.version, c.policy, c.secrets, c.created_at, c.updated_at,
 least(c.deleted_at, k.revoked_at), c.pause_reason, c.paused_at, c.failing_since, c.closed_until, c.proven, c.released_at, c.release_after IS NOT NULL, v.version, v.url, v.method, v.headers, v.payload`
	callbackFrom = " FROM callbacks c JOIN keys k ON k.no = c.key_no JOIN callback_versions v ON v.callback_no = c.no AND v.version = "
)

func (s *Store) scanCallback(row pgx.CollectableRow) (*callbackd.Callback, error) {
	var c callbackd.Callback
	var no, key, created, updated, version int64
	var typ int16
	var reason, policy string
	var secrets, headers []byte
	var deleted, paused, failing, closed, released *int64
	err := row.Scan(&no, &key, &typ, &c.Name, &c.Version, &policy, &secrets, &created, &updated,
		&deleted, &reason, &paused, &failing, &closed, &c.Proven, &released, &c.Releasing, &version, &c.URL, &c.Method, &headers, &c.Payload)
	if err != nil {
		return nil, err
	}
	c.ID, c.Key, c.Event = callbackd.CallbackID(no), callbackd.KeyID(key), codec.Type(int64(typ))
	c.CreatedAt, c.UpdatedAt, c.DeletedAt = fromMillis(created), fromMillis(updated), fromNullMillis(deleted)
	c.Pause, c.FailingSince = callbackd.Pause{Reason: callbackd.PauseReason(reason), At: fromNullMillis(paused)}, fromNullMillis(failing)
	c.ClosedUntil, c.ReleasedAt = fromNullMillis(closed), fromNullMillis(released)
	if err := json.Unmarshal([]byte(policy), &c.Policy); err != nil {
		return nil, damaged(fmt.Errorf("policy of callback %d: %w", c.ID, err))
	}
	if c.Secrets, err = s.sealer.OpenSecrets(secrets, c.ID); err != nil {
		return nil, damaged(err)
	}
	c.Headers, err = s.sealer.OpenHeaders(headers, c.ID, version)
	return &c, damaged(err)
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// callbackWhere reads callbacks with what they send in their present version.
func (s *Store) callbacksWhere(ctx context.Context, q querier, where string, args ...any) ([]*callbackd.Callback, error) {
	rows, err := q.Query(ctx, "SELECT "+callbackColumns+callbackFrom+"c.version WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.scanCallback)
}

func noCallback(ev callbackd.EventType) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no callback for the event %s", ev)
}

const inForce = "c.key_no = $1 AND c.type = $2 AND c.name = $3 AND c.deleted_at IS NULL"

// find reads the callback in force for a key, type and name.
func (s *Store) find(ctx context.Context, q querier, key callbackd.KeyID, ev callbackd.EventType, name string) (*callbackd.Callback, error) {
	found, err := s.callbacksWhere(ctx, q, inForce, int64(key), codec.TypeNo(ev), name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, noCallback(ev)
	}
	return found[0], nil
}

// alter runs f on the callback in force, which no other node changes
// meanwhile. f makes of it the setting as it is from then on.
func (s *Store) alter(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, f func(context.Context, pgx.Tx, *callbackd.Callback) error) (*callbackd.Callback, error) {
	var cb *callbackd.Callback
	err := s.changeSettings(ctx, false, func(ctx context.Context, tx pgx.Tx) (err error) {
		if cb, err = s.find(ctx, tx, key, ev, name); err != nil {
			return err
		}
		store.Made(ctx, cb)
		return f(ctx, tx, cb)
	}, func() {
		if cb != nil {
			s.callbacks.Drop(cb.ID)
		}
	})
	if err != nil {
		return nil, err
	}
	return cb, nil
}

func (s *Store) insertVersion(ctx context.Context, tx pgx.Tx, c *callbackd.Callback, at time.Time) error {
	sealed, err := s.sealer.Headers(c)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO callback_versions (callback_no, version, url, method, headers, payload, at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		int64(c.ID), c.Version, c.URL, c.Method, sealed, notNil(c.Payload), millis(at))
	return err
}

// CreateCallback is part of [store.Callbacks].
func (s *Store) CreateCallback(ctx context.Context, c callbackd.Callback, at time.Time) (*callbackd.Callback, bool, error) {
	var out *callbackd.Callback
	var created bool
	var tried callbackd.CallbackID // by a try whose commit may not have been answered
	err := s.changeSettings(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		created = false
		var err error
		if out, err = s.find(ctx, tx, c.Key, c.Event, c.Name); callbackd.KindOf(err) != callbackd.KindNotFound {
			created = err == nil && out.ID == tried
			store.Made(ctx, out)
			return err
		}
		var n int
		err = tx.QueryRow(ctx, "SELECT count(*) FROM callbacks WHERE key_no = $1 AND type = $2 AND deleted_at IS NULL", int64(c.Key), codec.TypeNo(c.Event)).Scan(&n)
		if err != nil {
			return err
		}
		if n >= callbackd.MaxCallbacks {
			return callbackd.Errorf(callbackd.KindInvalid, "An API key has at most %d callbacks for one event; delete one first", callbackd.MaxCallbacks)
		}
		cb := c
		cb.Version, cb.CreatedAt, cb.UpdatedAt = 1, at, at
		out, created = &cb, true
		store.Made(ctx, out)
		err = s.insertCallback(ctx, tx, &cb, at)
		tried = cb.ID
		return err
	}, func() {})
	if err != nil {
		return nil, false, err
	}
	return out, created, nil
}

func (s *Store) insertCallback(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback, at time.Time) error {
	// Its secrets are sealed with its number, which is therefore drawn first.
	var no int64
	if err := tx.QueryRow(ctx, "SELECT nextval(pg_get_serial_sequence('callbacks', 'no'))").Scan(&no); err != nil {
		return err
	}
	cb.ID = callbackd.CallbackID(no)
	policy, err := json.Marshal(cb.Policy)
	if err != nil {
		return err
	}
	secrets, err := s.sealer.Secrets(cb)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO callbacks (no, key_no, type, name, version, policy, secrets, created_at, updated_at, revision) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, "+thisRevision+")",
		no, int64(cb.Key), codec.TypeNo(cb.Event), cb.Name, cb.Version, string(policy), secrets, millis(at))
	if err != nil {
		return err
	}
	return s.insertVersion(ctx, tx, cb, at)
}

// ReplaceCallback is part of [store.Callbacks].
func (s *Store) ReplaceCallback(ctx context.Context, c callbackd.Callback, at time.Time) (*callbackd.Callback, error) {
	return s.alter(ctx, c.Key, c.Event, c.Name, func(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback) error {
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
		_, err = tx.Exec(ctx, "UPDATE callbacks SET version = $2, policy = $3, secrets = $4, updated_at = $5, revision = "+thisRevision+" WHERE no = $1",
			int64(cb.ID), cb.Version, string(policy), secrets, millis(at))
		if err == nil {
			err = keep(ctx, tx, cb, released)
		}
		if err != nil || cb.Version == version {
			return err
		}
		return s.insertVersion(ctx, tx, cb, at)
	})
}

// keep writes what is kept of a callback beside its setting. A release begins
// with the first event.
func keep(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback, released bool) error {
	_, err := tx.Exec(ctx, "UPDATE callbacks SET pause_reason = $2, paused_at = $3, failing_since = $4, closed_until = $5, proven = $6, revision = "+thisRevision+" WHERE no = $1",
		int64(cb.ID), string(cb.Pause.Reason), nullMillis(cb.Pause.At), nullMillis(cb.FailingSince), nullMillis(cb.ClosedUntil), cb.Proven)
	if err == nil && released {
		_, err = tx.Exec(ctx, "UPDATE callbacks SET released_at = $2, release_after = 0 WHERE no = $1", int64(cb.ID), nullMillis(cb.ReleasedAt))
	}
	return err
}

// DeleteCallback is part of [store.Callbacks].
func (s *Store) DeleteCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, at time.Time) (*callbackd.Callback, error) {
	return s.alter(ctx, key, ev, name, func(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback) error {
		cb.DeletedAt = at
		_, err := tx.Exec(ctx, "UPDATE callbacks SET deleted_at = $2, revision = "+thisRevision+" WHERE no = $1", int64(cb.ID), millis(at))
		return err
	})
}

// PauseCallback is part of [store.Callbacks].
func (s *Store) PauseCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, p callbackd.Pause) (*callbackd.Callback, error) {
	return s.alter(ctx, key, ev, name, func(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback) error {
		if cb.Paused() && cb.Pause.Reason == p.Reason {
			return nil // it has waited since then, not since this call
		}
		cb.Pause = p
		resumed := !cb.Paused()
		if resumed {
			cb.Resume(p.At)
		}
		return keep(ctx, tx, cb, resumed)
	})
}

// RotateSecret is part of [store.Callbacks].
func (s *Store) RotateSecret(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, next callbackd.Secret, keep, at time.Time) (*callbackd.Callback, error) {
	return s.alter(ctx, key, ev, name, func(ctx context.Context, tx pgx.Tx, cb *callbackd.Callback) error {
		if err := cb.RotateSecret(next, keep, at); err != nil {
			return err
		}
		sealed, err := s.sealer.Secrets(cb)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE callbacks SET secrets = $2, revision = "+thisRevision+" WHERE no = $1", int64(cb.ID), sealed)
		return err
	})
}

// Callback is part of [store.Callbacks].
func (s *Store) Callback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string) (cb *callbackd.Callback, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		cb, err = s.find(ctx, conn, key, ev, name)
		return err
	})
	return cb, err
}

// ListCallbacks is part of [store.Callbacks].
func (s *Store) ListCallbacks(ctx context.Context, q store.CallbackQuery) (page store.CallbackPage, err error) {
	limit := q.PageLimit()
	where, args := "c.deleted_at IS NULL AND k.revoked_at IS NULL", []any{limit + 1}
	if q.Key != store.AllKeys {
		where, args = "c.deleted_at IS NULL AND c.key_no = $2", append(args, int64(q.Key))
	}
	if q.After != 0 {
		args = append(args, int64(q.After))
		where += fmt.Sprintf(" AND (c.key_no, c.type, c.name) > (SELECT key_no, type, name FROM callbacks WHERE no = $%d)", len(args))
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		page.Callbacks, err = s.callbacksWhere(ctx, conn, where+" ORDER BY c.key_no, c.type, c.name LIMIT $1", args...)
		return err
	})
	return page.Cut(limit), err
}

// CallbackByID is part of [store.Callbacks].
func (s *Store) CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	cb, ok := s.callbacks.Get(no)
	changes := s.changes
	s.mu.Unlock()
	if ok {
		return cb, nil
	}
	err := s.readOn(ctx, s.settings, func(ctx context.Context, conn *pgx.Conn) error {
		found, err := s.callbacksWhere(ctx, conn, "c.no = $1", int64(no))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d", no)
		}
		cb = found[0]
		return nil
	})
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

// ended tells whether nothing is owed to the callback any more: it was
// deleted, or its key revoked.
func (s *Store) ended(ctx context.Context, no callbackd.CallbackID) (bool, error) {
	cb, err := s.CallbackByID(ctx, no)
	if err != nil {
		return true, err
	}
	return cb.Deleted(), nil
}

// CallbackVersion is part of [store.Callbacks].
func (s *Store) CallbackVersion(ctx context.Context, no callbackd.CallbackID, version int64) (cb *callbackd.Callback, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT "+callbackColumns+callbackFrom+"$2 WHERE c.no = $1", int64(no), version)
		if err != nil {
			return err
		}
		cb, err = pgx.CollectExactlyOneRow(rows, s.scanCallback)
		if err == pgx.ErrNoRows {
			return callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d with version %d", no, version)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	cb.Version = version
	return cb, nil
}
