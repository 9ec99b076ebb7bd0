package sqlite

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/ncruces/go-sqlite3"
)

const pendingColumns = "callback_no, event_id, session, sequence, test, attempts, step, manual, first_failed_at, due, holds_until, replay, deliver_at, expires_at"

func scanPending(st *sqlite3.Stmt) callbackd.Delivery {
	return callbackd.Delivery{
		ID:      callbackd.DeliveryID{Callback: callbackd.CallbackID(st.ColumnInt64(0)), Event: callbackd.EventID(st.ColumnInt64(1))},
		Session: st.ColumnText(2), Sequence: st.ColumnInt64(3), Test: st.ColumnBool(4),
		Attempts: st.ColumnInt(5), Step: st.ColumnInt(6), Manual: st.ColumnBool(7),
		FirstFailedAt: columnTime(st, 8), Due: columnTime(st, 9), HoldsUntil: columnTime(st, 10),
		Replay: callbackd.ReplayID(st.ColumnInt64(11)), DeliverAt: columnTime(st, 12), ExpiresAt: columnTime(st, 13),
	}
}

// pendingDeliveries runs a query for pending deliveries of a callback. It returns none
// when the callback was deleted or its key revoked.
func (s *Store) pendingDeliveries(ctx context.Context, cb callbackd.CallbackID, sql string, args ...any) (ds []callbackd.Delivery, err error) {
	if ended, err := s.Ended(ctx, cb); err != nil || ended {
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

// roundUpMillis rounds t up to the milliseconds that are stored, so that nothing
// is due before its time.
func roundUpMillis(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Millisecond - 1).Truncate(time.Millisecond)
}

// Pending is part of [store.Queue].
func (s *Store) Pending(ctx context.Context, r callbackd.PendingRead) (ds []callbackd.Delivery, next time.Time, err error) {
	switch r.Source {
	case callbackd.Retries:
		ds, err = s.pendingDeliveries(ctx, r.Callback, "due IS NOT NULL AND replay = 0 ORDER BY due LIMIT ?", r.Limit+1)
	case callbackd.Replays:
		ds, err = s.pendingDeliveries(ctx, r.Callback, "replay != 0 ORDER BY due, event_id LIMIT ?", r.Limit+1)
	case callbackd.Heads:
		ds, err = s.pendingDeliveries(ctx, r.Callback, "holds_until > ? ORDER BY holds_until LIMIT ?", r.At, r.Limit)
		return ds, next, err
	default:
		ds, err = s.lanes(ctx, r)
		return ds, next, err
	}
	ds, next = core.DueBy(ds, r.At, r.Limit)
	return ds, next, err
}

// lanes returns first attempts with their events, of all sessions or lane by lane.
func (s *Store) lanes(ctx context.Context, r callbackd.PendingRead) (ds []callbackd.Delivery, err error) {
	cursors := r.Lanes
	if cursors == nil {
		cursors = []callbackd.LaneCursor{{After: r.After}}
	}
	for _, c := range cursors {
		lane, err := s.firstAttempts(ctx, r.Callback, c.Session, c.After, r.Limit)
		if err != nil {
			return nil, err
		}
		ds = append(ds, lane...)
	}
	return ds, s.addEvents(ctx, ds)
}

// addEvents gives the first of ds their events.
func (s *Store) addEvents(ctx context.Context, ds []callbackd.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	room := store.MaxEventDataPerRead
	return s.read(ctx, func(d *db) (err error) {
		for i := 0; err == nil && i < len(ds) && room > 0; i++ {
			if ds[i].Event, err = d.event(s.EventTypes, ds[i].ID.Event); err == nil {
				room -= len(ds[i].Event.Data)
			}
		}
		return err
	})
}

// firstAttempts merges the untried deliveries that have a row with those of the
// buffer, of one session or, when session is empty, of all. Both are in order, and
// most of the time all rows are older.
func (s *Store) firstAttempts(ctx context.Context, cb callbackd.CallbackID, session string, after callbackd.EventID, limit int) ([]callbackd.Delivery, error) {
	unflushed := s.buffer.deliveries(cb, session, after, limit)
	sql, args := "event_id > ? AND due IS NULL ORDER BY event_id LIMIT ?", []any{int64(after), limit}
	if session != "" {
		sql, args = "session = ? AND "+sql, append([]any{session}, args...)
	}
	ds, err := s.pendingDeliveries(ctx, cb, sql, args...)
	if err != nil {
		return nil, err
	}
	if ended, err := s.Ended(ctx, cb); err != nil || ended {
		return nil, err
	}
	ds = append(ds, unflushed...)
	slices.SortFunc(ds, func(a, b callbackd.Delivery) int { return cmp.Compare(a.ID.Event, b.ID.Event) })
	ds = slices.CompactFunc(ds, func(a, b callbackd.Delivery) bool { return a.ID == b.ID })
	return ds[:min(len(ds), limit)], nil
}

// Earlier is part of [store.Queue].
func (s *Store) Earlier(ctx context.Context, r callbackd.EarlierRead) ([][]callbackd.Delivery, error) {
	var callbacks []callbackd.CallbackID
	err := s.read(ctx, func(d *db) error {
		return d.query("SELECT no FROM callbacks WHERE key_no = ? AND deleted_at IS NULL AND session IS NULL", func(st *sqlite3.Stmt) error {
			callbacks = append(callbacks, callbackd.CallbackID(st.ColumnInt64(0)))
			return nil
		}, int64(r.Key))
	})
	if err != nil {
		return nil, err
	}
	all := make([][]callbackd.Delivery, len(r.Before))
	for i, before := range r.Before {
		if all[i], err = s.earlier(ctx, r.Key, callbacks, before, r.At); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// earlier returns the newest delivery of each callback that may have to go before an event:
// of the given ones, and of those that are for the session.
func (s *Store) earlier(ctx context.Context, key callbackd.KeyID, callbacks []callbackd.CallbackID, before callbackd.SessionEvent, at time.Time) (ds []callbackd.Delivery, err error) {
	callbacks = slices.Clone(callbacks)
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT no FROM callbacks WHERE key_no = ? AND session = ? AND session IS NOT NULL AND deleted_at IS NULL", func(st *sqlite3.Stmt) error {
			callbacks = append(callbacks, callbackd.CallbackID(st.ColumnInt64(0)))
			return nil
		}, int64(key), before.Session)
	})
	if err != nil {
		return nil, err
	}
	newest := make(map[callbackd.CallbackID]callbackd.Delivery)
	for _, cb := range callbacks { // the buffer first: what is flushed in between is seen twice
		if d, ok := s.buffer.newest(cb, before.Session, before.Event); ok {
			newest[cb] = d
		}
	}
	err = s.read(ctx, func(d *db) error {
		for _, cb := range callbacks {
			err := d.query("SELECT "+pendingColumns+` FROM pending WHERE callback_no = ? AND session = ? AND event_id < ?
				AND (due IS NULL OR holds_until > ?) AND (expires_at IS NULL OR expires_at > ?) ORDER BY event_id DESC LIMIT 1`, func(st *sqlite3.Stmt) error {
				if d := scanPending(st); d.ID.Event >= newest[cb].ID.Event {
					newest[cb] = d
				}
				return nil
			}, int64(cb), before.Session, int64(before.Event), at, at)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return slices.SortedFunc(maps.Values(newest), func(a, b callbackd.Delivery) int {
		return cmp.Or(cmp.Compare(a.ID.Event, b.ID.Event), cmp.Compare(a.ID.Callback, b.ID.Callback))
	}), err
}

// Record is part of [store.Queue].
func (s *Store) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	// This comes before the command goes to the writer, because it may read the callback.
	if err := s.DecideAfterEnd(ctx, o); err != nil {
		return callbackd.Recorded{}, err
	}
	pausing, err := s.Pausing(ctx, o)
	if err != nil {
		return callbackd.Recorded{}, err
	}
	var out callbackd.Recorded
	deferred := o.Change.None()
	err = s.recordOutcome(ctx, &job{
		run: func(t *tx) (err error) {
			if out, err = s.record(t, o); err == nil && out.Paused {
				err = pausing.Append(t, []callbackd.AuditEntry{pausing.Entry})
			}
			return err
		},
		outcome: true, deferred: deferred, canWait: deferred && o.CanWait, done: make(chan struct{}),
	})
	if err != nil {
		return callbackd.Recorded{}, err
	}
	return out, nil
}

func (s *Store) record(t *tx, o *callbackd.Outcome) (out callbackd.Recorded, err error) {
	id := o.Delivery.ID
	n, err := t.updatePending(o)
	o.Canceled = err == nil && n < 0
	if o.Canceled {
		if n, err = t.removeUnsent(o); err == nil && n < 0 {
			err = store.NotPending(id)
		}
	}
	if err == nil {
		err = t.insertAttempt(id, n, &o.Attempt, o.Attempt.State)
	}
	if err == nil {
		err = t.keepLastError(id, n, &o.Attempt, o.Attempt.State)
	}
	out.State = o.Attempt.State
	if err == nil && out.State.Terminal() {
		t.countDeliveries(string(out.State), 1)
	}
	if err != nil || o.Change.None() {
		return out, err
	}
	out.Paused, err = s.recordChange(t, o)
	return out, err
}

// updatePending writes the state of a delivery after an attempt. It returns the attempt's
// number, or a negative number when the delivery is not pending.
func (t *tx) updatePending(o *callbackd.Outcome) (int64, error) {
	id, a, first := o.Delivery.ID, &o.Attempt, o.FirstFailedAt()
	if t.isUnflushed(id) {
		if a.State.Terminal() {
			t.moved[id] = true
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
	if a.State.Terminal() {
		err = t.query("DELETE FROM pending WHERE callback_no = ? AND event_id = ? RETURNING attempts, replay", row, int64(id.Callback), int64(id.Event))
	} else {
		err = t.query(`UPDATE pending SET attempts = attempts + 1, step = ?, first_failed_at = ?, due = ?, holds_until = ?
			WHERE callback_no = ? AND event_id = ? RETURNING attempts - 1, replay`, row,
			a.Step, roundUpMillis(first), roundUpMillis(a.Due), roundUpMillis(a.HoldsUntil), int64(id.Callback), int64(id.Event))
	}
	if err == nil && a.State.Terminal() {
		err = t.replayEnded(replay, a.State, 1)
	}
	return n, err
}

// removeUnsent removes the row of a delivery that was canceled or expired while its
// attempt was in flight, and subtracts it from the counts. It returns the attempt's
// number, or a negative number when there is no such row.
func (t *tx) removeUnsent(o *callbackd.Outcome) (int64, error) {
	id, n := o.Delivery.ID, int64(-1)
	var unsent callbackd.Attempt
	err := t.query("DELETE FROM attempts WHERE event_id = ? AND callback_no = ? AND version = 0 RETURNING n, detail, state", func(st *sqlite3.Stmt) error {
		n = st.ColumnInt64(0)
		err := codec.ReadAttempt(st.ColumnRawBlob(1), &unsent)
		unsent.State = callbackd.State(st.ColumnText(2))
		return err
	}, int64(id.Event), int64(id.Callback))
	if err != nil || n < 0 {
		return n, err
	}
	o.Attempt.Decision = o.Attempt.AfterUnsent(unsent.State, unsent.Why)
	if err := t.eraseOutcome(o); err != nil {
		return n, err
	}
	if err := t.replayEnded(o.Delivery.Replay, unsent.State, -1); err != nil {
		return n, err
	}
	if err := t.replayEnded(o.Delivery.Replay, o.Attempt.State, 1); err != nil {
		return n, err
	}
	t.countDeliveries(string(callbackd.AcceptedAgain), 1)
	return n, t.countUnsent(id.Callback, unsent.StartedAt, unsent.State, -1)
}

// eraseOutcome removes what an attempt has captured when the data of its event was erased
// during the attempt. The erasure has canceled the delivery, so that no other outcome needs
// this look.
func (t *tx) eraseOutcome(o *callbackd.Outcome) error {
	return t.query("SELECT 1 FROM events WHERE id = ? AND erased_at IS NOT NULL", func(*sqlite3.Stmt) error {
		o.Attempt.Erase()
		return nil
	}, int64(o.Delivery.ID.Event))
}

// recordChange stores what an outcome changes of its callback, unless the callback has
// another version by now.
func (s *Store) recordChange(t *tx, o *callbackd.Outcome) (paused bool, err error) {
	c, cb := &o.Change, int64(o.Delivery.ID.Callback)
	change := func(set, where string, args ...any) (int64, error) {
		return t.exec("UPDATE callbacks SET "+set+" WHERE no = ?1 AND version = ?2"+where, append([]any{cb, c.Version}, args...)...)
	}
	if c.HealthTurned {
		_, err = change("failing_since = ?3", "", c.FailingSince)
	}
	if err == nil && !c.ClosedUntil.IsZero() {
		_, err = change("closed_until = max(coalesce(closed_until, 0), ?3)", "", roundUpMillis(c.ClosedUntil))
	}
	if err == nil && c.Proven {
		_, err = change("proven = 1", "")
	}
	if err == nil && c.Pause != callbackd.NotPaused {
		var n int64
		n, err = change("pause_reason = ?3, paused_at = ?4", " AND pause_reason = ''", string(c.Pause), o.Attempt.EndedAt())
		paused = n > 0
	}
	t.after = append(t.after, func() {
		if c.OnlyProven() {
			s.CallbackProven(o.Delivery.ID.Callback, c.Version)
		} else {
			s.DropCallbacks(o.Delivery.ID.Callback)
		}
	})
	return paused, err
}

// MakeDue is part of [store.Queue]. It searches for the deliveries to move outside the
// writer, because most of a backlog was never tried and stays as it is.
func (s *Store) MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error) {
	after, last, seen := int64(-1), int64(0), 0
	var waiting []int64
	err = s.read(ctx, func(d *db) error {
		err := d.query("SELECT release_after FROM callbacks WHERE no = ? AND release_after IS NOT NULL", func(st *sqlite3.Stmt) error { after = st.ColumnInt64(0); return nil }, int64(cb))
		if err != nil || after < 0 {
			return err
		}
		return d.query("SELECT event_id, due > ?3 AND (replay = 0 AND (attempts > 0 OR manual) OR first_failed_at IS NOT NULL) FROM pending WHERE callback_no = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?4", func(st *sqlite3.Stmt) error {
			last = st.ColumnInt64(0)
			if seen++; st.ColumnBool(1) {
				waiting = append(waiting, last)
			}
			return nil
		}, int64(cb), after, at, limit)
	})
	if done = seen < limit; err != nil || after < 0 {
		return 0, done, err
	}
	err = s.deliver(ctx, func(t *tx) error {
		moved = 0
		for _, ev := range waiting {
			n, err := t.exec("UPDATE pending SET due = ?3 WHERE callback_no = ?1 AND event_id = ?2 AND due > ?3", int64(cb), ev, at)
			if err != nil {
				return err
			}
			moved += int(n)
		}
		// A new release that was started meanwhile continues from its beginning.
		if !done {
			return t.query("UPDATE callbacks SET release_after = ? WHERE no = ? AND release_after = ?", nil, last, int64(cb), after)
		}
		t.after = append(t.after, func() { s.DropCallbacks(cb) })
		n, err := t.exec("UPDATE callbacks SET release_after = NULL WHERE no = ? AND release_after = ?", int64(cb), after)
		done = n > 0
		return err
	})
	return moved, done, err
}

// replayEnded counts n ends of deliveries that a replay made due.
func (t *tx) replayEnded(id callbackd.ReplayID, state callbackd.State, n int) error {
	if id == 0 {
		return nil
	}
	sql := map[callbackd.State]string{
		callbackd.Delivered: "UPDATE replays SET delivered = delivered + ? WHERE id = ?",
		callbackd.Failed:    "UPDATE replays SET failed = failed + ? WHERE id = ?",
		callbackd.Canceled:  "UPDATE replays SET canceled = canceled + ? WHERE id = ?",
		callbackd.Expired:   "UPDATE replays SET failed = failed + ? WHERE id = ?", // its attempt was in flight when the replay chose it
	}[state]
	return t.query(sql, nil, n, int64(id))
}
