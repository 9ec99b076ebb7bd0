package core

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Forgettable is part of [store.Forgetting].
func (s *Store) Forgettable(ctx context.Context, before time.Time) (keys []callbackd.KeyID, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		keys = nil
		for _, sql := range []string{
			"SELECT key_no FROM callbacks WHERE deleted_at IS NOT NULL AND deleted_at < $1",
			`SELECT key_no FROM callbacks c WHERE version > 1 AND updated_at < $1
				AND (SELECT 1 FROM callback_versions WHERE callback_no = c.no AND version < c.version LIMIT 1) IS NOT NULL`,
		} {
			err := tx.Query(sql, func(row Row) error {
				var key callbackd.KeyID
				err := row.Scan(&key)
				keys = append(keys, key)
				return err
			}, before)
			if err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// Pointed is part of [store.Forgetting].
func (s *Store) Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []store.Pointer, next callbackd.EventID, done bool, err error) {
	if err := s.db.Flush(ctx); err != nil {
		return nil, after, false, err
	}
	err = s.db.Read(ctx, func(tx Tx) error {
		next = after
		var evs []*callbackd.Event
		err := tx.Query("SELECT "+eventColumns+" FROM "+s.d.KeyEvents+" WHERE key_no = $1 AND id > $2 ORDER BY key_no, id LIMIT $3", func(row Row) error {
			ev, err := scanEvent(row)
			evs, next = append(evs, ev), ev.ID
			return err
		}, key, after, limit)
		if err == nil {
			err = s.addLateTargets(tx, evs)
		}
		if err != nil {
			return err
		}
		done = len(evs) < limit
		to, err = s.pointedBy(tx, evs)
		return err
	})
	return to, next, done, err
}

// pointedBy returns what events and their attempts point at.
func (s *Store) pointedBy(tx Tx, evs []*callbackd.Event) (to []store.Pointer, err error) {
	var callbacks []callbackd.CallbackID
	for _, ev := range evs {
		callbacks = append(callbacks, ev.Targets...)
	}
	slices.Sort(callbacks)
	callbacks = slices.Compact(callbacks)
	for _, cb := range callbacks {
		to = append(to, store.Pointer{Callback: cb})
	}
	changed := map[callbackd.CallbackID]bool{}
	err = tx.Query("SELECT no FROM callbacks WHERE version > 1 AND no "+s.d.In("$1"), func(row Row) error {
		var cb callbackd.CallbackID
		err := row.Scan(&cb)
		changed[cb] = true
		return err
	}, callbacks)
	if err != nil || len(changed) == 0 {
		return to, err
	}
	deliveries := slices.DeleteFunc(deliveriesOf(evs), func(id callbackd.DeliveryID) bool { return !changed[id.Callback] })
	err = tx.Query("SELECT a.callback_no, a.version FROM "+s.d.Pairs("$1")+s.d.Lookup("attempts", "a", "a.event_id = o.event_id AND a.callback_no = o.callback_no")+" WHERE a.version > 0", func(row Row) error {
		p, err := scanPointer(row)
		to = append(to, p)
		return err
	}, pairs(deliveries))
	return to, err
}

func scanPointer(row Row) (p store.Pointer, err error) {
	err = row.Scan(&p.Callback, &p.Version)
	return p, err
}

// Forget is part of [store.Forgetting].
func (s *Store) Forget(ctx context.Context, key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (n int, err error) {
	var gone []callbackd.CallbackID
	err = s.db.Write(ctx, Repeatable|Settings, func(tx Tx) error {
		gone, err = unusedCallbacks(tx, key, pointed, before, limit)
		if err != nil {
			return err
		}
		if err := s.removeCallbacks(tx, gone); err != nil {
			return err
		}
		old, err := unusedVersions(tx, key, pointed, before, limit-len(gone))
		if err != nil {
			return err
		}
		n = len(gone) + len(old)
		return removeVersions(tx, old)
	})
	s.DropCallbacks(gone...)
	return n, err
}

// unusedCallbacks returns up to limit callbacks that were deleted before a time
// and that no event, delivery or replay points at.
func unusedCallbacks(tx Tx, key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (gone []callbackd.CallbackID, err error) {
	err = tx.Query(`SELECT no FROM callbacks c WHERE key_no = $1 AND deleted_at IS NOT NULL AND deleted_at < $2
		AND (SELECT 1 FROM pending WHERE callback_no = c.no LIMIT 1) IS NULL
		AND (SELECT 1 FROM replays r JOIN replay_parts p ON p.replay_id = r.id AND p.callback_no = c.no WHERE r.key_no = $1 LIMIT 1) IS NULL`, func(row Row) error {
		var cb callbackd.CallbackID
		err := row.Scan(&cb)
		if len(gone) < limit && !pointed[store.Pointer{Callback: cb}] {
			gone = append(gone, cb)
		}
		return err
	}, key, before)
	return gone, err
}

// removeCallbacks removes callbacks with everything that belongs to them.
func (s *Store) removeCallbacks(tx Tx, ids []callbackd.CallbackID) error {
	if len(ids) == 0 {
		return nil
	}
	for _, sql := range []string{
		"DELETE FROM callback_versions WHERE callback_no ",
		"DELETE FROM receivers WHERE callback_no ",
		"DELETE FROM slots WHERE subject = 2 AND no ",
		"DELETE FROM callbacks WHERE no ",
	} {
		if _, err := tx.Exec(sql+s.d.In("$1"), ids); err != nil {
			return err
		}
	}
	return nil
}

// unusedVersions returns up to limit settings that were replaced before a time
// and that no attempt points at.
func unusedVersions(tx Tx, key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (old []store.Pointer, err error) {
	err = tx.Query(`SELECT c.no, v.version FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version < c.version
		WHERE c.key_no = $1 AND c.version > 1
		AND (SELECT at FROM callback_versions WHERE callback_no = c.no AND version > v.version ORDER BY version LIMIT 1) < $2`, func(row Row) error {
		p, err := scanPointer(row)
		if len(old) < limit && !pointed[p] {
			old = append(old, p)
		}
		return err
	}, key, before)
	return old, err
}

func removeVersions(tx Tx, old []store.Pointer) error {
	for _, p := range old {
		if _, err := tx.Exec("DELETE FROM callback_versions WHERE callback_no = $1 AND version = $2", p.Callback, p.Version); err != nil {
			return err
		}
	}
	return nil
}
