package sqlite

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

const pendingColumns = "callback_no, event_id, session, sequence, test, attempts, step, manual, first_failed_at, due, holds_until, replay"

func scanPending(st *sqlite3.Stmt) callbackd.Delivery {
	return callbackd.Delivery{
		ID:      callbackd.DeliveryID{Callback: callbackd.CallbackNo(st.ColumnInt64(0)), Event: callbackd.EventID(st.ColumnInt64(1))},
		Session: st.ColumnText(2), Sequence: st.ColumnInt64(3), Test: st.ColumnBool(4),
		Attempts: st.ColumnInt(5), Step: st.ColumnInt(6), Manual: st.ColumnBool(7),
		FirstFailedAt: columnTime(st, 8), Due: columnTime(st, 9), HoldsUntil: columnTime(st, 10),
		Replay: callbackd.ReplayID(st.ColumnInt64(11)),
	}
}

// pendings runs a query for pending deliveries of a callback to which
// something may still be owed.
func (s *Store) pendings(ctx context.Context, cb callbackd.CallbackNo, sql string, args ...any) (ds []callbackd.Delivery, err error) {
	if ended, err := s.ended(ctx, cb); err != nil || ended {
		return nil, err
	}
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+pendingColumns+" FROM pending WHERE callback_no = ? AND "+sql, func(st *sqlite3.Stmt) error {
			ds = append(ds, scanPending(st))
			return nil
		}, append([]any{int64(cb)}, args...)...)
	})
	return ds, err
}

// notEarlier is t in the milliseconds that are kept, rounded up: what waits
// must not be due before its time.
func notEarlier(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Millisecond - 1).Truncate(time.Millisecond)
}

// Backlogs is part of [store.Queue]. It steps from callback to callback
// through the primary key, whatever the length of their backlogs.
func (s *Store) Backlogs(ctx context.Context) ([]callbackd.CallbackNo, error) {
	all := s.tail.callbacks()
	err := s.read(ctx, func(d *db) error {
		return d.backlogs(math.MaxInt, func(no callbackd.CallbackNo) { all = append(all, no) })
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	all = slices.Compact(all)
	owed := all[:0]
	for _, no := range all {
		ended, err := s.ended(ctx, no)
		if err != nil {
			return nil, err
		}
		if !ended {
			owed = append(owed, no)
		}
	}
	return owed, nil
}

// backlogs calls f with up to limit callbacks that have pending rows.
func (d *db) backlogs(limit int, f func(callbackd.CallbackNo)) error {
	for last, n := int64(0), 0; n < limit; n++ {
		found := false
		err := d.query("SELECT callback_no FROM pending WHERE callback_no > ? ORDER BY callback_no LIMIT 1", func(st *sqlite3.Stmt) error {
			last, found = st.ColumnInt64(0), true
			return nil
		}, last)
		if err != nil || !found {
			return err
		}
		f(callbackd.CallbackNo(last))
	}
	return nil
}

// Fresh is part of [store.Queue].
func (s *Store) Fresh(ctx context.Context, cb callbackd.CallbackNo, after callbackd.EventID, limit int) (ds []callbackd.Delivery, err error) {
	if ds, err = s.freshOnes(ctx, cb, "", after, limit); err == nil {
		err = s.addEvents(ctx, ds)
	}
	return ds, err
}

// addEvents gives the first of ds their events.
func (s *Store) addEvents(ctx context.Context, ds []callbackd.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	room := store.MaxFreshData
	return s.read(ctx, func(d *db) (err error) {
		for i := 0; err == nil && i < len(ds) && room > 0; i++ {
			if ds[i].Event, err = d.event(ds[i].ID.Event); err == nil {
				room -= len(ds[i].Event.Data)
			}
		}
		return err
	})
}

// freshOnes merges the fresh deliveries that have a row with the young ones.
// Both are in order, and most of the time all rows are older.
func (s *Store) freshOnes(ctx context.Context, cb callbackd.CallbackNo, session string, after callbackd.EventID, limit int) ([]callbackd.Delivery, error) {
	young := s.tail.of(cb, session, after, limit)
	sql, args := "event_id > ? AND due IS NULL ORDER BY event_id LIMIT ?", []any{int64(after), limit}
	if session != "" {
		sql, args = "session = ? AND "+sql, append([]any{session}, args...)
	}
	ds, err := s.pendings(ctx, cb, sql, args...)
	if err != nil {
		return nil, err
	}
	if ended, err := s.ended(ctx, cb); err != nil || ended {
		return nil, err
	}
	ds = append(ds, young...)
	slices.SortFunc(ds, func(a, b callbackd.Delivery) int { return cmp.Compare(a.ID.Event, b.ID.Event) })
	ds = slices.CompactFunc(ds, func(a, b callbackd.Delivery) bool { return a.ID == b.ID })
	return ds[:min(len(ds), limit)], nil
}

// Scheduled is part of [store.Queue].
func (s *Store) Scheduled(ctx context.Context, cb callbackd.CallbackNo, until time.Time, limit int) ([]callbackd.Delivery, time.Time, error) {
	return s.dueOnes(ctx, cb, "due IS NOT NULL AND replay = 0 ORDER BY due LIMIT ?", until, limit)
}

// Replayed is part of [store.Queue].
func (s *Store) Replayed(ctx context.Context, cb callbackd.CallbackNo, until time.Time, limit int) ([]callbackd.Delivery, time.Time, error) {
	return s.dueOnes(ctx, cb, "replay != 0 ORDER BY due, event_id LIMIT ?", until, limit)
}

func (s *Store) dueOnes(ctx context.Context, cb callbackd.CallbackNo, sql string, until time.Time, limit int) ([]callbackd.Delivery, time.Time, error) {
	ds, err := s.pendings(ctx, cb, sql, limit+1)
	for i, d := range ds {
		if i == limit || d.Due.After(until) {
			return ds[:i], d.Due, err
		}
	}
	return ds, time.Time{}, err
}

// Holding is part of [store.Queue].
func (s *Store) Holding(ctx context.Context, cb callbackd.CallbackNo, now time.Time, limit int) ([]callbackd.Delivery, error) {
	return s.pendings(ctx, cb, "holds_until > ? ORDER BY holds_until LIMIT ?", now, limit)
}

// Lanes is part of [store.Queue].
func (s *Store) Lanes(ctx context.Context, cb callbackd.CallbackNo, from []callbackd.LaneCursor, limit int) (ds []callbackd.Delivery, err error) {
	for _, f := range from {
		lane, err := s.freshOnes(ctx, cb, f.Session, f.After, limit)
		if err != nil {
			return nil, err
		}
		ds = append(ds, lane...)
	}
	return ds, s.addEvents(ctx, ds)
}

// Picked is part of [store.Queue].
func (s *Store) Picked(ctx context.Context, ids []callbackd.DeliveryID) (ds []callbackd.Delivery, err error) {
	for _, id := range ids {
		one, err := s.freshOnes(ctx, id.Callback, "", id.Event-1, 1)
		if err != nil {
			return nil, err
		}
		if len(one) == 1 && one[0].ID == id {
			ds = append(ds, one...)
		}
	}
	return ds, s.addEvents(ctx, ds)
}

// Load is part of [store.Queue].
func (s *Store) Load(ctx context.Context, id callbackd.EventID) (ev *callbackd.Event, err error) {
	err = s.read(ctx, func(d *db) (err error) { ev, err = d.event(id); return err })
	return ev, err
}

// Record is part of [store.Queue].
func (s *Store) Record(ctx context.Context, o callbackd.Outcome) (callbackd.State, error) {
	// Looked up before the writer is entered: it reads through the pool, and
	// a state that is up to MaxKeyAge old is allowed.
	ended, err := s.ended(ctx, o.Delivery.ID.Callback)
	if err != nil {
		return "", err
	}
	state := o.Attempt.State
	if ended {
		state = callbackd.Canceled
	}
	err = s.deliver(ctx, func(t *tx) error { return s.record(t, &o, state) })
	if err != nil {
		return "", err
	}
	return state, nil
}

func (s *Store) record(t *tx, o *callbackd.Outcome, state callbackd.State) error {
	id, a := o.Delivery.ID, o.Attempt
	n, err := t.move(o, state)
	if err != nil {
		return err
	}
	if err := t.insertAttempt(id, n, &a, state); err != nil {
		return err
	}
	if err := t.keepLastError(id, n, &a, state); err != nil {
		return err
	}
	if o.PauseCallback == callbackd.NotPaused && !o.HealthTurned {
		return nil
	}
	return s.recordHealth(t, o)
}

// move gives a delivery the state it has after an attempt and returns the
// attempt's number.
func (t *tx) move(o *callbackd.Outcome, state callbackd.State) (int64, error) {
	id, a := o.Delivery.ID, &o.Attempt
	first := o.Delivery.FirstFailedAt
	if first.IsZero() {
		first = a.StartedAt.Add(a.Timings.Total)
	}
	if t.isYoung(id) {
		if state.Terminal() {
			t.left[id] = true
			return 1, nil
		}
		d := o.Delivery
		d.Attempts, d.Step, d.FirstFailedAt, d.Due, d.HoldsUntil = 1, a.Step, first, a.Due, a.HoldsUntil
		return 1, t.insertPending(d)
	}
	n, replay := int64(-1), callbackd.ReplayID(0)
	row := func(st *sqlite3.Stmt) error {
		n, replay = st.ColumnInt64(0)+1, callbackd.ReplayID(st.ColumnInt64(1))
		return nil
	}
	var err error
	if state.Terminal() {
		err = t.query("DELETE FROM pending WHERE callback_no = ? AND event_id = ? RETURNING attempts, replay", row, int64(id.Callback), int64(id.Event))
	} else {
		err = t.query(`UPDATE pending SET attempts = attempts + 1, step = ?, first_failed_at = ?, due = ?, holds_until = ?
			WHERE callback_no = ? AND event_id = ? RETURNING attempts - 1, replay`, row,
			a.Step, notEarlier(first), notEarlier(a.Due), notEarlier(a.HoldsUntil), int64(id.Callback), int64(id.Event))
	}
	if err == nil && n < 0 {
		err = callbackd.Errorf(callbackd.KindConflict, "delivery %s is not pending", id)
	}
	if err == nil && state.Terminal() {
		err = t.replayEnded(replay, state)
	}
	return n, err
}

func (s *Store) recordHealth(t *tx, o *callbackd.Outcome) error {
	no := int64(o.Delivery.ID.Callback)
	if o.HealthTurned {
		if err := t.query("UPDATE callbacks SET failing_since = ? WHERE no = ?", nil, o.FailingSince, no); err != nil {
			return err
		}
	}
	if o.PauseCallback != callbackd.NotPaused {
		err := t.query("UPDATE callbacks SET pause_reason = ?, paused_at = ? WHERE no = ? AND pause_reason = ''", nil,
			string(o.PauseCallback), o.Attempt.StartedAt.Add(o.Attempt.Timings.Total), no)
		if err != nil {
			return err
		}
	}
	t.after = append(t.after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changes++
		s.callbacks.Drop(o.Delivery.ID.Callback)
	})
	return nil
}
