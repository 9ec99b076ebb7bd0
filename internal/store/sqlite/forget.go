package sqlite

import (
	"context"
	"math"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// Forgettable is part of [store.Forgetting].
func (s *Store) Forgettable(ctx context.Context, before time.Time) (keys []callbackd.KeyID, err error) {
	err = s.read(ctx, func(d *db) error {
		return d.query(`SELECT key_no FROM callbacks INDEXED BY callbacks_deleted_by_key WHERE deleted_at IS NOT NULL AND deleted_at < ?1
			UNION SELECT c.key_no FROM callbacks c INDEXED BY callbacks_changed_by_key WHERE c.version > 1 AND c.updated_at < ?1
				AND EXISTS (SELECT 1 FROM callback_versions WHERE callback_no = c.no AND version < c.version)`,
			func(st *sqlite3.Stmt) error {
				keys = append(keys, callbackd.KeyID(st.ColumnInt64(0)))
				return nil
			}, before)
	})
	return keys, err
}

// Pointed is part of [store.Forgetting].
func (s *Store) Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []store.Pointer, next callbackd.EventID, done bool, err error) {
	lo := int64(after) + 1
	young, floor, _ := s.tail.above(key, "", lo, math.MaxInt64)
	changed, seen, next := map[callbackd.CallbackID]bool{}, 0, after
	err = s.read(ctx, func(d *db) error {
		var inner error
		err := d.ascend(young, key, "", lo, floor, "", func(st *sqlite3.Stmt) bool {
			if seen == limit {
				return false
			}
			ev := scanEvent(st)
			seen, next = seen+1, ev.ID
			if inner = d.addLater(ev); inner != nil {
				return false
			}
			for _, no := range ev.Targets {
				to = append(to, store.Pointer{Callback: no})
				if inner = d.pointedVersions(ev.ID, no, changed, &to); inner != nil {
					return false
				}
			}
			return true
		})
		if inner != nil {
			return inner
		}
		return err
	})
	return to, next, seen < limit, err
}

// pointedVersions adds the settings that the attempts of a delivery were made
// with, when the callback had more than one. changed remembers which had.
func (d *db) pointedVersions(id callbackd.EventID, no callbackd.CallbackID, changed map[callbackd.CallbackID]bool, to *[]store.Pointer) error {
	more, known := changed[no]
	if !known {
		err := d.query("SELECT version > 1 FROM callbacks WHERE no = ?", func(st *sqlite3.Stmt) error { more = st.ColumnBool(0); return nil }, int64(no))
		if err != nil {
			return err
		}
		changed[no] = more
	}
	if !more {
		return nil
	}
	return d.query("SELECT version FROM attempts WHERE event_id = ? AND callback_no = ? AND version > 0", func(st *sqlite3.Stmt) error {
		*to = append(*to, store.Pointer{Callback: no, Version: st.ColumnInt64(0)})
		return nil
	}, int64(id), int64(no))
}

// Forget is part of [store.Forgetting].
func (s *Store) Forget(ctx context.Context, key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (n int, err error) {
	err = s.write(ctx, func(t *tx) error {
		n = 0
		gone, err := t.forgottenCallbacks(key, pointed, before, limit)
		for _, no := range gone {
			for _, sql := range []string{"DELETE FROM callback_versions WHERE callback_no = ?", "DELETE FROM receivers WHERE callback_no = ?",
				"DELETE FROM slots WHERE subject = 2 AND no = ?", "DELETE FROM callbacks WHERE no = ?"} {
				if err == nil {
					err = t.query(sql, nil, int64(no))
				}
			}
			t.after = append(t.after, func() { s.forget(&callbackd.Callback{ID: no, Key: key}) })
		}
		if err != nil {
			return err
		}
		old, err := t.forgottenVersions(key, pointed, before, limit-len(gone))
		for _, p := range old {
			if err == nil {
				err = t.query("DELETE FROM callback_versions WHERE callback_no = ? AND version = ?", nil, int64(p.Callback), p.Version)
			}
		}
		n = len(gone) + len(old)
		return err
	})
	return n, err
}

// forgottenCallbacks are those that can go.
func (t *tx) forgottenCallbacks(key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (gone []callbackd.CallbackID, err error) {
	err = t.query(`SELECT c.no FROM callbacks c WHERE c.key_no = ?1 AND c.deleted_at IS NOT NULL AND c.deleted_at < ?2
		AND NOT EXISTS (SELECT 1 FROM pending WHERE callback_no = c.no)
		AND NOT EXISTS (SELECT 1 FROM replays r CROSS JOIN replay_parts p ON p.replay_id = r.id AND p.callback_no = c.no WHERE r.key_no = ?1)`,
		func(st *sqlite3.Stmt) error {
			if no := callbackd.CallbackID(st.ColumnInt64(0)); len(gone) < limit && !pointed[store.Pointer{Callback: no}] {
				gone = append(gone, no)
			}
			return nil
		}, int64(key), before)
	return gone, err
}

func (t *tx) forgottenVersions(key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (old []store.Pointer, err error) {
	err = t.query(`SELECT c.no, v.version FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version < c.version WHERE c.key_no = ?1 AND c.version > 1
		AND (SELECT at FROM callback_versions WHERE callback_no = c.no AND version > v.version ORDER BY version LIMIT 1) < ?2`,
		func(st *sqlite3.Stmt) error {
			p := store.Pointer{Callback: callbackd.CallbackID(st.ColumnInt64(0)), Version: st.ColumnInt64(1)}
			if len(old) < limit && !pointed[p] {
				old = append(old, p)
			}
			return nil
		}, int64(key), before)
	return old, err
}
