package core

import (
	"context"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// recount is the name of a row of delivery_counts that counts nothing: while it is there,
// the other rows do not have everything, and Recount must correct them.
const recount = "recount"

// Count adds to the counts of deliveries: what became pending for a reason, or ended in a
// state. It is part of the transaction that makes the change.
func (s *Store) Count(tx Tx, name string, n int) error {
	if n == 0 {
		return nil
	}
	_, err := tx.Exec(s.d.Count, name, n)
	return err
}

// readCounts reads the counts of deliveries. complete is false while they do not have
// everything.
func readCounts(tx Tx) (counts callbackd.DeliveryCounts, complete bool, err error) {
	counts, complete = callbackd.NewDeliveryCounts(), true
	err = tx.Query("SELECT what, CAST(sum(n) AS bigint) FROM delivery_counts GROUP BY what", func(row Row) error {
		var what string
		var n int64
		err := row.Scan(&what, &n)
		counts.Add(what, n)
		complete = complete && what != recount
		return err
	})
	return counts, complete, err
}

// Recount corrects the counts of deliveries when they do not have everything: after the
// upgrade that began to count, after nodes of an older version changed deliveries, and when
// there are none at all, because a store that counts has some. It
// counts what is pending and is in no count as found. unflushed is how many pending
// deliveries have no row. The statement sees one moment, in which every transaction has
// changed both the deliveries and the counts, or neither.
func Recount(tx Tx, d *Dialect, unflushed int) error {
	needed := false
	err := tx.Query("SELECT 1 WHERE EXISTS (SELECT 1 FROM delivery_counts WHERE what = $1) OR NOT EXISTS (SELECT 1 FROM delivery_counts)", func(Row) error { needed = true; return nil }, recount)
	if err != nil || !needed {
		return err
	}
	var found int64
	err = tx.Query(`SELECT $2 + (SELECT count(*) FROM pending) - (SELECT coalesce(sum(CASE WHEN what `+d.In("$1")+` THEN n ELSE -n END), 0) FROM delivery_counts)`, func(row Row) error {
		return row.Scan(&found)
	}, callbackd.AcceptReasons, unflushed)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(d.Count, string(callbackd.AcceptedFound), found); err != nil {
		return err
	}
	_, err = tx.Exec("DELETE FROM delivery_counts WHERE what = $1", recount)
	return err
}

// Figures is part of [store.Stats].
func (s *Store) Figures(ctx context.Context) (f callbackd.Figures, err error) {
	err = s.db.Snapshot(ctx, func(tx Tx) (err error) {
		if f, err = s.db.Figures(tx); err != nil {
			return err
		}
		if f.Counts, _, err = readCounts(tx); err != nil {
			return err
		}
		if f.Callbacks, err = countCallbacks(tx); err != nil {
			return err
		}
		f.Incidents, err = countIncidents(tx)
		return err
	})
	return f, err
}

// liveCallback is the condition on callbacks c that are in force, of keys that are not revoked.
const liveCallback = "c.deleted_at IS NULL AND c.key_no NOT IN (SELECT no FROM keys WHERE revoked_at IS NOT NULL)"

// countCallbacks counts the callbacks in force by their condition. The few that fail or are
// paused have indexes; of the others only the number is needed.
func countCallbacks(tx Tx) ([]callbackd.CallbackCount, error) {
	var rest int64
	err := tx.Query("SELECT count(*) FROM callbacks c WHERE "+liveCallback, func(row Row) error { return row.Scan(&rest) })
	if err != nil {
		return nil, err
	}
	counts := make(map[callbackd.CallbackCount]int64)
	err = eachUnwell(tx, func(u store.Unwell) {
		counts[callbackd.CallbackCount{Failing: !u.FailingSince.IsZero(), Paused: u.Pause.Reason}]++
		rest--
	})
	out := []callbackd.CallbackCount{{N: rest}}
	for c, n := range counts {
		c.N = n
		out = append(out, c)
	}
	return out, err
}

// eachUnwell calls f once for each callback that fails or is paused.
func eachUnwell(tx Tx, f func(store.Unwell)) error {
	for _, condition := range []string{"failing_since IS NOT NULL", "pause_reason <> '' AND failing_since IS NULL"} {
		err := tx.Query("SELECT no, failing_since, pause_reason, paused_at FROM callbacks c WHERE "+condition+" AND "+liveCallback, func(row Row) error {
			var u store.Unwell
			err := row.Scan(&u.ID, &u.FailingSince, &u.Pause.Reason, &u.Pause.At)
			f(u)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countBacklogs counts the pending deliveries of all callbacks. A delivery before its first
// attempt is due since its DeliverAt, or since the time in its id.
const countBacklogs = `SELECT callback_no, count(*), min(CASE WHEN due IS NULL THEN coalesce(deliver_at, event_id >> 21) WHEN due <= $1 THEN due END)
	FROM pending GROUP BY callback_no`

// Backlogs is part of [store.Stats].
func (s *Store) Backlogs(ctx context.Context, at time.Time) (out callbackd.Backlogs, err error) {
	unflushed := s.db.Unflushed() // first: what is flushed in between is counted twice, and never missed
	var all []callbackd.Trouble
	var ended []endedCallback
	err = s.db.Snapshot(ctx, func(tx Tx) (err error) {
		if all, err = readBacklogs(tx, unflushed, at); err != nil {
			return err
		}
		if ended, err = s.endedCallbacks(tx); err != nil {
			return err
		}
		ids := make([]callbackd.CallbackID, len(unflushed))
		for i, b := range unflushed {
			ids[i] = b.ID
		}
		return tx.Query("SELECT no, key_no FROM callbacks c WHERE no "+s.d.In("$1")+" AND NOT ("+liveCallback+")", func(row Row) error {
			var cb endedCallback
			err := row.Scan(&cb.id, &cb.key)
			ended = append(ended, cb)
			return err
		}, ids)
	})
	if err != nil {
		return out, err
	}
	for _, cb := range ended { // its deliveries will be canceled and are not late
		if i := slices.IndexFunc(all, func(t callbackd.Trouble) bool { return t.ID == cb.id }); i >= 0 {
			out.Pending += all[i].Pending
			all = slices.Delete(all, i, i+1)
		}
	}
	out.Sum(all)
	out.Troubled, err = s.describeTroubled(ctx, callbackd.MostTroubled(all, at))
	return out, err
}

// sumKeyUse looks up the data of one event after the other, which databases plan as a
// search by the primary key, however many events there are.
const sumKeyUse = `SELECT CAST(coalesce(sum(n), 0) AS bigint), CAST(coalesce(sum(bytes), 0) AS bigint) FROM (
	SELECT (SELECT count(*) FROM pending p WHERE p.callback_no = c.no) AS n,
		(SELECT sum((SELECT octet_length(e.data) FROM events e WHERE e.id = p.event_id)) FROM pending p WHERE p.callback_no = c.no) AS bytes
	FROM callbacks c WHERE c.key_no = $1) u`

// KeyUse is part of [store.Stats].
func (s *Store) KeyUse(ctx context.Context, key callbackd.KeyID) (use callbackd.KeyUse, err error) {
	unflushed := s.db.UnflushedOf(key) // first: see Backlogs
	err = s.db.Read(ctx, func(tx Tx) error {
		if err := tx.Query(sumKeyUse, func(row Row) error { return row.Scan(&use.Deliveries, &use.Bytes) }, key); err != nil {
			return err
		}
		if len(unflushed) == 0 {
			return nil
		}
		return tx.Query("SELECT id, octet_length(data) FROM events WHERE id "+s.d.In("$1"), func(row Row) error {
			var id callbackd.EventID
			var size int64
			err := row.Scan(&id, &size)
			n := unflushed[id]
			use = use.Add(callbackd.KeyUse{Deliveries: n, Bytes: n * size})
			return err
		}, slices.Collect(maps.Keys(unflushed)))
	})
	return use, err
}

// readBacklogs returns the callbacks that have pending deliveries, fail or are paused.
func readBacklogs(tx Tx, unflushed []callbackd.CallbackBacklog, at time.Time) ([]callbackd.Trouble, error) {
	all := make(map[callbackd.CallbackID]*callbackd.Trouble)
	of := func(id callbackd.CallbackID) *callbackd.Trouble {
		t := all[id]
		if t == nil {
			t = &callbackd.Trouble{CallbackBacklog: callbackd.CallbackBacklog{ID: id}}
			all[id] = t
		}
		return t
	}
	add := func(b callbackd.CallbackBacklog) {
		t := of(b.ID)
		t.CallbackBacklog = t.CallbackBacklog.Add(b.Pending, b.OldestDue)
	}
	for _, b := range unflushed {
		add(b)
	}
	err := tx.Query(countBacklogs, func(row Row) error {
		var b callbackd.CallbackBacklog
		err := row.Scan(&b.ID, &b.Pending, &b.OldestDue)
		add(b)
		return err
	}, at)
	if err != nil {
		return nil, err
	}
	err = eachUnwell(tx, func(u store.Unwell) {
		t := of(u.ID)
		t.FailingSince, t.Paused = u.FailingSince, u.Pause.Reason
	})
	out := make([]callbackd.Trouble, 0, len(all))
	for _, t := range all {
		out = append(out, *t)
	}
	return out, err
}

// describeTroubled returns the first [callbackd.MaxTroubled] that are in force, with their
// settings.
func (s *Store) describeTroubled(ctx context.Context, worst []callbackd.Trouble) (out []callbackd.Trouble, err error) {
	for _, t := range worst {
		if len(out) == callbackd.MaxTroubled {
			break
		}
		if t.Callback, err = s.CallbackByID(ctx, t.ID); err != nil {
			return nil, err
		}
		if t.Callback.Deleted() {
			continue
		}
		key, err := s.KeyByID(ctx, t.Callback.Key)
		if err != nil {
			return nil, err
		}
		t.KeyName = key.Name
		out = append(out, t)
	}
	return out, nil
}
