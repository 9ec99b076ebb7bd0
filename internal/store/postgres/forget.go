package postgres

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

const (
	selectForgettable = `SELECT key_no FROM callbacks WHERE deleted_at IS NOT NULL AND deleted_at < $1
		UNION SELECT c.key_no FROM callbacks c WHERE c.version > 1 AND c.updated_at < $1 AND (SELECT 1 FROM callback_versions WHERE callback_no = c.no AND version < c.version LIMIT 1) IS NOT NULL`
	selectOwing    = "SELECT " + eventColumns + " FROM events e WHERE e.key_no = $1 AND e.id > $2 ORDER BY e.key_no, e.id LIMIT $3"
	selectVersions = `SELECT o.no, a.version FROM unnest($1::bigint[], $2::bigint[]) AS o (no, event_id)
		CROSS JOIN LATERAL (SELECT version FROM attempts WHERE event_id = o.event_id AND callback_no = o.no AND version > 0 ORDER BY n OFFSET 0) a`
	selectChanged = "SELECT no FROM callbacks WHERE no = ANY ($1::bigint[]) AND version > 1"
	selectEnded   = `SELECT c.no FROM callbacks c WHERE c.key_no = $1 AND c.deleted_at IS NOT NULL AND c.deleted_at < $2
		AND (SELECT 1 FROM pending WHERE callback_no = c.no LIMIT 1) IS NULL
		AND (SELECT 1 FROM replays r JOIN replay_parts p ON p.replay_id = r.id AND p.callback_no = c.no WHERE r.key_no = $1 LIMIT 1) IS NULL`
	selectReplaced = `SELECT c.no, v.version FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version < c.version WHERE c.key_no = $1 AND c.version > 1
		AND (SELECT at FROM callback_versions WHERE callback_no = c.no AND version > v.version ORDER BY version LIMIT 1) < $2`
)

// dropCallbacks removes all that is a callback's own.
var dropCallbacks = []string{
	"DELETE FROM callback_versions WHERE callback_no = ANY ($1::bigint[])", "DELETE FROM receivers WHERE callback_no = ANY ($1::bigint[])",
	"DELETE FROM slots WHERE subject = 2 AND no = ANY ($1::bigint[])", "DELETE FROM callbacks WHERE no = ANY ($1::bigint[])",
}

const dropVersions = "DELETE FROM callback_versions v USING unnest($1::bigint[], $2::bigint[]) AS o (no, version) WHERE v.callback_no = o.no AND v.version = o.version"

// Forgettable is part of [store.Forgetting].
func (s *Store) Forgettable(ctx context.Context, before time.Time) (keys []callbackd.KeyID, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		keys = nil
		return each(ctx, conn, selectForgettable, func(row pgx.CollectableRow) error {
			var no int64
			err := row.Scan(&no)
			keys = append(keys, callbackd.KeyID(no))
			return err
		}, millis(before))
	})
	return keys, err
}

// Pointed is part of [store.Forgetting].
func (s *Store) Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []store.Pointer, next callbackd.EventID, done bool, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		to, next = nil, after
		var evs []*callbackd.Event
		err := each(ctx, conn, selectOwing, func(row pgx.CollectableRow) error {
			var r eventRow
			err := row.Scan(r.into()...)
			ev := r.event(nil)
			evs, next = append(evs, ev), ev.ID
			return err
		}, int64(key), int64(after), limit)
		if err == nil {
			err = addLater(ctx, conn, byID(evs))
		}
		if err != nil {
			return err
		}
		done = len(evs) < limit
		to, err = pointedBy(ctx, conn, evs)
		return err
	})
	return to, next, done, err
}

// pointedBy is what the events and their attempts point at.
func pointedBy(ctx context.Context, q querier, evs []*callbackd.Event) (to []store.Pointer, err error) {
	nos := map[callbackd.CallbackID]bool{}
	var all []int64
	for _, no := range owedBy(evs) {
		if !nos[no] {
			nos[no] = true
			all, to = append(all, int64(no)), append(to, store.Pointer{Callback: no})
		}
	}
	changed := map[callbackd.CallbackID]bool{}
	err = each(ctx, q, selectChanged, func(row pgx.CollectableRow) error {
		var no int64
		err := row.Scan(&no)
		changed[callbackd.CallbackID(no)] = true
		return err
	}, all)
	if err != nil || len(changed) == 0 {
		return to, err
	}
	var callbacks, events []int64
	for _, ev := range evs {
		for _, no := range ev.Targets {
			if changed[no] {
				callbacks, events = append(callbacks, int64(no)), append(events, int64(ev.ID))
			}
		}
	}
	err = each(ctx, q, selectVersions, func(row pgx.CollectableRow) error {
		p, err := scanPointer(row)
		to = append(to, p)
		return err
	}, callbacks, events)
	return to, err
}

func scanPointer(row pgx.CollectableRow) (p store.Pointer, err error) {
	var no int64
	err = row.Scan(&no, &p.Version)
	p.Callback = callbackd.CallbackID(no)
	return p, err
}

// Forget is part of [store.Forgetting].
func (s *Store) Forget(ctx context.Context, key callbackd.KeyID, pointed map[store.Pointer]bool, before time.Time, limit int) (n int, err error) {
	var gone []int64
	err = s.changeSettings(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		gone = nil
		var callbacks, versions []int64
		err := each(ctx, tx, selectEnded, func(row pgx.CollectableRow) error {
			var no int64
			err := row.Scan(&no)
			if len(gone) < limit && !pointed[store.Pointer{Callback: callbackd.CallbackID(no)}] {
				gone = append(gone, no)
			}
			return err
		}, int64(key), millis(before))
		if err != nil {
			return err
		}
		err = each(ctx, tx, selectReplaced, func(row pgx.CollectableRow) error {
			p, err := scanPointer(row)
			if len(gone)+len(callbacks) < limit && !pointed[p] && !slices.Contains(gone, int64(p.Callback)) {
				callbacks, versions = append(callbacks, int64(p.Callback)), append(versions, p.Version)
			}
			return err
		}, int64(key), millis(before))
		if n = len(gone) + len(callbacks); err != nil || n == 0 {
			return err
		}
		var b pgx.Batch
		for _, sql := range dropCallbacks {
			b.Queue(sql, gone)
		}
		b.Queue(dropVersions, callbacks, versions)
		return tx.SendBatch(ctx, &b).Close()
	}, func() {
		for _, no := range gone {
			s.callbacks.Drop(callbackd.CallbackID(no))
		}
	})
	return n, err
}
