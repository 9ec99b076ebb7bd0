package core

import (
	"context"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// Sweep is part of [store.Upkeep].
func (s *Store) Sweep(ctx context.Context, q store.Sweep) (out store.Swept, err error) {
	if err := s.db.Flush(ctx); err != nil {
		return out, err
	}
	sweep := func(tx Tx) (err error) {
		out, err = s.sweep(tx, q)
		return err
	}
	if q.Look {
		err = s.db.Read(ctx, sweep)
	} else {
		err = s.db.Write(ctx, Repeatable|Deliveries, sweep)
	}
	if err != nil {
		return store.Swept{Next: q.After}, err
	}
	return out, nil
}

func (s *Store) sweep(tx Tx, q store.Sweep) (out store.Swept, err error) {
	old, err := s.oldEvents(tx, q)
	out.Next, out.Done = q.After, len(old) == 0
	if err != nil || out.Done {
		return out, err
	}
	out.Next = old[len(old)-1].ID
	if q.Key != 0 {
		old = slices.DeleteFunc(old, func(ev *callbackd.Event) bool { return !q.Chooses(ev) })
	}
	if q.Only != nil {
		old = slices.DeleteFunc(old, func(ev *callbackd.Event) bool { _, chosen := q.Only[ev.ID]; return !chosen })
	}
	for _, leaveOut := range []func(Tx, []*callbackd.Event) ([]*callbackd.Event, error){s.withoutPending, s.withoutNewest} {
		if old, err = leaveOut(tx, old); err != nil || len(old) == 0 {
			return out, err
		}
	}
	if q.Look || q.Only != nil {
		if out.Events, err = s.attemptRows(tx, old); err != nil || q.Look {
			return out, err
		}
		old = slices.DeleteFunc(old, func(ev *callbackd.Event) bool { return out.Events[ev.ID] != q.Only[ev.ID] })
		out.Events = nil
	}
	out.Removed = len(old)
	return out, s.removeEvents(tx, old)
}

// attemptRows counts the rows of attempts of each event.
func (s *Store) attemptRows(tx Tx, evs []*callbackd.Event) (map[callbackd.EventID]int, error) {
	rows := map[callbackd.EventID]int{}
	for _, ev := range evs {
		rows[ev.ID] = 0
	}
	err := tx.Query("SELECT event_id, count(*) FROM attempts WHERE event_id "+s.d.In("$1")+" GROUP BY event_id", func(row Row) error {
		var id callbackd.EventID
		var n int
		err := row.Scan(&id, &n)
		rows[id] = n
		return err
	}, eventIDs(evs))
	return rows, err
}

// withoutNewest leaves out the newest event of each session of which an event stays that is
// not among evs. From the newest event the store knows the next number of the session.
func (s *Store) withoutNewest(tx Tx, evs []*callbackd.Event) ([]*callbackd.Event, error) {
	of := map[store.SessionID]int{}
	for _, ev := range evs {
		of[store.SessionID{Key: ev.Key, SessionKey: ev.Session}]++
	}
	var args [][]any
	for id, n := range of {
		args = append(args, []any{id.Key, id.SessionKey, n + 1})
	}
	newest, stored := map[store.SessionID]callbackd.EventID{}, map[store.SessionID]int{}
	err := tx.Batch("SELECT key_no, session, id FROM "+s.d.SessionIndex+" WHERE key_no = $1 AND session = $2 ORDER BY "+newestOrder(s.d.SessionOrder)+" LIMIT $3", func(row Row) error {
		var id store.SessionID
		var ev callbackd.EventID
		err := row.Scan(&id.Key, &id.SessionKey, &ev)
		stored[id]++
		newest[id] = max(newest[id], ev)
		return err
	}, args)
	return slices.DeleteFunc(evs, func(ev *callbackd.Event) bool {
		id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
		return newest[id] == ev.ID && stored[id] > of[id]
	}), err
}

// oldEvents returns the events that a step looks at. It locks them, unless it only looks: a
// resend locks its event too, so that no delivery becomes pending until they are removed.
func (s *Store) oldEvents(tx Tx, q store.Sweep) ([]*callbackd.Event, error) {
	lock := s.d.SkipLocked
	if q.Look {
		lock = ""
	}
	if q.Key != 0 {
		return s.keyEventsBetween(tx, q.Key, q.After, callbackd.FirstEventID(q.Latest()), q.Limit, lock)
	}
	old, err := s.eventsBetween(tx, q.After, callbackd.FirstEventID(q.Before), q.Limit, lock)
	if err != nil || len(old) > 0 {
		return old, err
	}
	last, err := lastByClock(tx, q.Before)
	if err != nil {
		return nil, err
	}
	from, to := store.SweepFuture(last, q.After, time.Now())
	if from >= to {
		return nil, nil
	}
	return s.eventsBetween(tx, from, to+1, q.Limit, lock)
}

// eventsBetween returns up to limit events with ids above after and before an id. lock is a
// lock of the dialect, or empty.
func (s *Store) eventsBetween(tx Tx, after, before callbackd.EventID, limit int, lock string) ([]*callbackd.Event, error) {
	return s.sweptEvents(tx, "events WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3"+lock, after, before, limit)
}

// keyEventsBetween is eventsBetween for the events of one key.
func (s *Store) keyEventsBetween(tx Tx, key callbackd.KeyID, after, before callbackd.EventID, limit int, lock string) ([]*callbackd.Event, error) {
	return s.sweptEvents(tx, s.d.KeyEvents+" WHERE key_no = $4 AND id > $1 AND id < $2 ORDER BY key_no, id LIMIT $3"+lock, after, before, limit, key)
}

// sweptEvents reads events with all their targets.
func (s *Store) sweptEvents(tx Tx, from string, args ...any) (evs []*callbackd.Event, err error) {
	err = tx.Query("SELECT "+eventColumns+" FROM "+from, func(row Row) error {
		ev, err := s.scanEvent(row)
		evs = append(evs, ev)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	return evs, s.addLateTargets(tx, evs)
}

// withoutPending returns the events of which no delivery is pending.
func (s *Store) withoutPending(tx Tx, evs []*callbackd.Event) ([]*callbackd.Event, error) {
	pending := map[callbackd.EventID]bool{}
	err := tx.Query("SELECT o.event_id FROM "+s.d.Pairs("$1")+" WHERE (SELECT 1 FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id) IS NOT NULL", func(row Row) error {
		var id callbackd.EventID
		err := row.Scan(&id)
		pending[id] = true
		return err
	}, pairs(deliveriesOf(evs)))
	return slices.DeleteFunc(evs, func(ev *callbackd.Event) bool { return pending[ev.ID] }), err
}

// removeEvents removes events with everything that belongs to them.
func (s *Store) removeEvents(tx Tx, evs []*callbackd.Event) error {
	ids := make([]callbackd.EventID, len(evs))
	newest := map[callbackd.KeyID]callbackd.EventID{}
	for i, ev := range evs {
		ids[i] = ev.ID
		newest[ev.Key] = max(newest[ev.Key], ev.ID)
	}
	for _, sql := range []string{
		"DELETE FROM attempts WHERE event_id ",
		"DELETE FROM last_errors WHERE event_id ",
		"DELETE FROM owed_later WHERE event_id ",
		"DELETE FROM idempotency WHERE first ",
		"DELETE FROM events WHERE id ",
	} {
		if _, err := tx.Exec(sql+s.d.In("$1"), ids); err != nil {
			return err
		}
	}
	if err := s.db.RemoveIndexes(tx, evs); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		_, err := tx.Exec(`INSERT INTO removed_events AS r (key_no, newest, removals) VALUES ($1, $2, 1)
			ON CONFLICT (key_no) DO UPDATE SET removals = r.removals + 1,
				newest = CASE WHEN excluded.newest > r.newest THEN excluded.newest ELSE r.newest END`, key, newest[key])
		if err != nil {
			return err
		}
	}
	return nil
}

// maxEnded bounds the callbacks that one call of FinalizeCanceled looks at.
const maxEnded = 100

// FinalizeCanceled is part of [store.Upkeep].
func (s *Store) FinalizeCanceled(ctx context.Context, at time.Time, limit int) (total int, err error) {
	if err := s.db.FlushOfEnded(ctx); err != nil {
		return 0, err
	}
	var ended []endedCallback
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		ended, err = s.endedCallbacks(tx)
		return err
	})
	if err != nil || len(ended) == 0 {
		return 0, err
	}
	err = s.db.Write(ctx, Repeatable|Deliveries, func(tx Tx) error {
		c := unsent{at: at, left: limit, byReplay: map[callbackd.ReplayID]int{}, sums: Sums{}}
		for _, cb := range ended {
			if c.left == 0 {
				break
			}
			if err := s.cancelPending(tx, cb, &c); err != nil {
				return err
			}
		}
		total = limit - c.left
		return s.countUnsent(tx, &c)
	})
	return total, err
}

// unsent is what one transaction ends without an attempt.
type unsent struct {
	at       time.Time
	left     int // how many deliveries FinalizeCanceled may still cancel
	byReplay map[callbackd.ReplayID]int
	sums     Sums
}

// detail returns the stored form of the row that ends a delivery for a reason.
func (c *unsent) detail(why string) []byte {
	return codec.AppendAttempt(nil, &callbackd.Attempt{
		Result:   callbackd.Result{StartedAt: c.at},
		Decision: callbackd.Decision{Why: why},
	})
}

// endedCallback is a deleted callback, or one of a revoked key.
type endedCallback struct {
	id  callbackd.CallbackID
	key callbackd.KeyID
}

// endedCallbacks returns ended callbacks that have pending deliveries.
func (s *Store) endedCallbacks(tx Tx) (ended []endedCallback, err error) {
	for _, from := range []string{
		"callbacks c WHERE c.deleted_at IS NOT NULL",
		"keys k" + s.d.Lookup("callbacks", "c", "c.key_no = k.no AND c.deleted_at IS NULL") + " WHERE k.revoked_at IS NOT NULL",
	} {
		err := tx.Query("SELECT c.no, c.key_no FROM "+from+" AND (SELECT 1 FROM pending WHERE callback_no = c.no LIMIT 1) IS NOT NULL LIMIT $1", func(row Row) error {
			var cb endedCallback
			err := row.Scan(&cb.id, &cb.key)
			ended = append(ended, cb)
			return err
		}, maxEnded)
		if err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// cancelPending gives pending deliveries of a callback the state canceled. One
// that is being recorded is left alone.
func (s *Store) cancelPending(tx Tx, cb endedCallback, c *unsent) error {
	var events []callbackd.EventID
	err := tx.Query("SELECT event_id, replay FROM pending WHERE callback_no = $1 ORDER BY event_id LIMIT $2"+s.d.SkipLocked, func(row Row) error {
		var id callbackd.EventID
		var replay callbackd.ReplayID
		err := row.Scan(&id, &replay)
		events = append(events, id)
		c.byReplay[replay]++
		return err
	}, cb.id, c.left)
	if err != nil || len(events) == 0 {
		return err
	}
	_, err = tx.Exec(`INSERT INTO attempts (event_id, callback_no, n, version, state, detail)
		SELECT event_id, callback_no, attempts + 1, 0, 'canceled', $3 FROM pending WHERE callback_no = $1 AND event_id `+s.d.In("$2"), cb.id, events, c.detail(callbackd.WhyEnded))
	if err != nil {
		return err
	}
	c.left -= len(events)
	c.sums.Add(cb.key, cb.id, c.at, store.Unsent(callbackd.Canceled, int64(len(events))))
	if _, err = tx.Exec("DELETE FROM pending WHERE callback_no = $1 AND event_id "+s.d.In("$2"), cb.id, events); err != nil {
		return err
	}
	return s.Count(tx, string(callbackd.Canceled), len(events))
}

// cancelDeliveries ends those of the deliveries that are pending, and returns them. events
// has their events. The caller calls countUnsent.
func (s *Store) cancelDeliveries(tx Tx, c *unsent, why string, key callbackd.KeyID, events map[callbackd.EventID]*callbackd.Event, ids []callbackd.DeliveryID) (canceled []callbackd.Delivery, err error) {
	args := make([][]any, len(ids))
	for i, id := range ids {
		args[i] = []any{id.Callback, id.Event}
	}
	var rows [][]any
	err = tx.Batch("DELETE FROM pending WHERE callback_no = $1 AND event_id = $2 RETURNING callback_no, event_id, attempts, replay", func(row Row) error {
		var d callbackd.Delivery
		err := row.Scan(&d.ID.Callback, &d.ID.Event, &d.Attempts, &d.Replay)
		if ev := events[d.ID.Event]; ev != nil {
			d.Session = ev.Session
		}
		d.Key = key
		c.byReplay[d.Replay]++
		c.sums.Add(d.Key, d.ID.Callback, c.at, store.Unsent(callbackd.Canceled, 1))
		rows = append(rows, []any{d.ID.Event, d.ID.Callback, d.Attempts + 1, c.detail(why)})
		canceled = append(canceled, d)
		return err
	}, args)
	if err != nil {
		return nil, err
	}
	if err := tx.Batch("INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES ($1, $2, $3, 0, 'canceled', $4)", nil, rows); err != nil {
		return nil, err
	}
	return canceled, s.Count(tx, string(callbackd.Canceled), len(rows))
}

// countUnsent counts what a transaction ended without an attempt, in the order in which all nodes
// lock: replays, then buckets, each kind by its primary key.
func (s *Store) countUnsent(tx Tx, c *unsent) error {
	delete(c.byReplay, 0)
	for _, id := range slices.Sorted(maps.Keys(c.byReplay)) {
		if _, err := tx.Exec("UPDATE replays SET canceled = canceled + $2 WHERE id = $1", id, c.byReplay[id]); err != nil {
			return err
		}
	}
	return s.AddSums(tx, c.sums)
}
