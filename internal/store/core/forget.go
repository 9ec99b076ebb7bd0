package core

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Forgettable is part of [store.Upkeep].
func (s *Store) Forgettable(ctx context.Context, before time.Time) (keys []callbackd.KeyID, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		keys = nil
		for _, sql := range []string{
			"SELECT key_no FROM callbacks WHERE deleted_at IS NOT NULL AND deleted_at < $1 AND session IS NULL",
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

// Forget is part of [store.Upkeep].
func (s *Store) Forget(ctx context.Context, f *store.Forget) (removed int, err error) {
	if !f.Read {
		return 0, s.readUsed(ctx, f)
	}
	removed, err = s.removeUnused(ctx, f)
	f.Done = err == nil && removed < f.Rows
	return removed, err
}

// readUsed reads the next events of the key and adds what they refer to.
func (s *Store) readUsed(ctx context.Context, f *store.Forget) error {
	if err := s.db.Flush(ctx); err != nil {
		return err
	}
	var evs []*callbackd.Event
	var used []store.Setting
	err := s.db.Read(ctx, func(tx Tx) (err error) {
		evs = nil
		err = tx.Query("SELECT "+eventColumns+" FROM "+s.d.KeyEvents+" WHERE key_no = $1 AND id > $2 ORDER BY key_no, id LIMIT $3", func(row Row) error {
			ev, err := s.scanEvent(row)
			evs = append(evs, ev)
			return err
		}, f.Key, f.After, f.Events)
		if err == nil {
			err = s.addLateTargets(tx, evs)
		}
		if err == nil {
			used, err = s.usedBy(tx, evs)
		}
		return err
	})
	if err != nil {
		return err
	}
	if f.Used == nil {
		f.Used = map[store.Setting]bool{}
	}
	for _, setting := range used {
		f.Used[setting] = true
	}
	if n := len(evs); n > 0 {
		f.After = evs[n-1].ID
	}
	f.Read = len(evs) < f.Events
	return nil
}

// usedBy returns what events and their attempts refer to. It returns versions only
// of callbacks that have had several.
func (s *Store) usedBy(tx Tx, evs []*callbackd.Event) (used []store.Setting, err error) {
	var callbacks []callbackd.CallbackID
	for _, ev := range evs {
		callbacks = append(callbacks, ev.Targets...)
	}
	slices.Sort(callbacks)
	callbacks = slices.Compact(callbacks)
	for _, cb := range callbacks {
		used = append(used, store.Setting{Callback: cb})
	}
	changed := map[callbackd.CallbackID]bool{}
	err = tx.Query("SELECT no FROM callbacks WHERE version > 1 AND no "+s.d.In("$1"), func(row Row) error {
		var cb callbackd.CallbackID
		err := row.Scan(&cb)
		changed[cb] = true
		return err
	}, callbacks)
	if err != nil || len(changed) == 0 {
		return used, err
	}
	deliveries := slices.DeleteFunc(deliveriesOf(evs), func(id callbackd.DeliveryID) bool { return !changed[id.Callback] })
	err = tx.Query("SELECT a.callback_no, a.version FROM "+s.d.Pairs("$1")+s.d.Lookup("attempts", "a", "a.event_id = o.event_id AND a.callback_no = o.callback_no")+" WHERE a.version > 0", func(row Row) error {
		p, err := scanSetting(row)
		used = append(used, p)
		return err
	}, pairs(deliveries))
	return used, err
}

func scanSetting(row Row) (v store.Setting, err error) {
	err = row.Scan(&v.Callback, &v.Version)
	return v, err
}

// removeUnused removes callbacks and settings to which no event refers.
func (s *Store) removeUnused(ctx context.Context, f *store.Forget) (removed int, err error) {
	var gone []callbackd.CallbackID
	err = s.db.Write(ctx, Repeatable|Settings, func(tx Tx) error {
		gone, err = unusedCallbacks(tx, f)
		if err != nil {
			return err
		}
		if err := s.removeCallbacks(tx, gone); err != nil {
			return err
		}
		old, err := unusedVersions(tx, f, f.Rows-len(gone))
		if err != nil {
			return err
		}
		removed = len(gone) + len(old)
		return removeVersions(tx, old)
	})
	s.DropCallbacks(gone...)
	return removed, err
}

// unusedCallbacks returns callbacks that were deleted before the time and to which
// no event, delivery or replay refers. Those for one session are SweepSessionCallbacks's.
func unusedCallbacks(tx Tx, f *store.Forget) (gone []callbackd.CallbackID, err error) {
	err = tx.Query(`SELECT no FROM callbacks c WHERE key_no = $1 AND deleted_at IS NOT NULL AND deleted_at < $2 AND session IS NULL
		AND (SELECT 1 FROM pending WHERE callback_no = c.no LIMIT 1) IS NULL
		AND (SELECT 1 FROM replays r JOIN replay_parts p ON p.replay_id = r.id AND p.callback_no = c.no WHERE r.key_no = $1 LIMIT 1) IS NULL`, func(row Row) error {
		var cb callbackd.CallbackID
		err := row.Scan(&cb)
		if len(gone) < f.Rows && !f.Used[store.Setting{Callback: cb}] {
			gone = append(gone, cb)
		}
		return err
	}, f.Key, f.Before)
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

// unusedVersions returns up to limit settings that were replaced before the time
// and to which no attempt refers.
func unusedVersions(tx Tx, f *store.Forget, limit int) (old []store.Setting, err error) {
	err = tx.Query(`SELECT c.no, v.version FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version < c.version
		WHERE c.key_no = $1 AND c.version > 1
		AND (SELECT at FROM callback_versions WHERE callback_no = c.no AND version > v.version ORDER BY version LIMIT 1) < $2`, func(row Row) error {
		p, err := scanSetting(row)
		if len(old) < limit && !f.Used[p] {
			old = append(old, p)
		}
		return err
	}, f.Key, f.Before)
	return old, err
}

func removeVersions(tx Tx, old []store.Setting) error {
	for _, p := range old {
		if _, err := tx.Exec("DELETE FROM callback_versions WHERE callback_no = $1 AND version = $2", p.Callback, p.Version); err != nil {
			return err
		}
	}
	return nil
}
