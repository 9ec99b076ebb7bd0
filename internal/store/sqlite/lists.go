package sqlite

import (
	"context"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// indexedColumns is eventColumns of an event that was found by an index.
const indexedColumns = "e.id, e.key_no, e.type, e.session, e.sequence, e.test, e.owed, e.accepted_at"

// ignoreStop returns err, or nil when it is the one that ends a query early.
func ignoreStop(err, enough error) error {
	if err == enough {
		return nil
	}
	return err
}

// stand reads where a delivery that is owed stands. Without any row it is
// unflushed: it has been pending since its event was accepted.
func (d *db) stand(id callbackd.DeliveryID, ended bool) (callbackd.DeliveryState, error) {
	var rows callbackd.DeliveryRows
	err := d.query("SELECT attempts, due, manual, replay, first_failed_at FROM pending WHERE callback_no = ? AND event_id = ?", func(st *sqlite3.Stmt) error {
		rows.Pending = &callbackd.Delivery{ID: id, Attempts: st.ColumnInt(0), Due: columnTime(st, 1), Manual: st.ColumnBool(2), Replay: callbackd.ReplayID(st.ColumnInt64(3)), FirstFailedAt: columnTime(st, 4)}
		return nil
	}, int64(id.Callback), int64(id.Event))
	if err != nil {
		return callbackd.DeliveryState{}, err
	}
	err = d.query("SELECT n, version, state FROM attempts WHERE event_id = ? AND callback_no = ? ORDER BY n DESC LIMIT 1", func(st *sqlite3.Stmt) error {
		rows.Last = callbackd.AttemptRow{Number: st.ColumnInt(0), Version: st.ColumnInt64(1), State: callbackd.State(st.ColumnText(2))}
		return nil
	}, int64(id.Event), int64(id.Callback))
	if rows.Pending == nil && rows.Last.Number == 0 {
		rows.Pending = &callbackd.Delivery{ID: id}
	}
	return callbackd.StateOf(rows, ended), err
}

// Delivery is part of [store.Events].
func (s *Store) Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID) (*store.DeliveryView, error) {
	return s.DeliveryBefore(ctx, key, id, math.MaxInt32)
}

// DeliveryBefore is part of [store.Events].
func (s *Store) DeliveryBefore(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*store.DeliveryView, error) {
	none := callbackd.Errorf(callbackd.KindNotFound, "there is no delivery %s; deliveries are removed some time after they ended", id)
	cb, err := s.CallbackByID(ctx, id.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && key != store.AllKeys && cb.Key != key {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	ended, err := s.Ended(ctx, id.Callback)
	if err != nil {
		return nil, err
	}
	view := &store.DeliveryView{ID: id, Callback: cb}
	err = s.read(ctx, func(d *db) error {
		if view.Event, err = d.event(id.Event); err == nil {
			err = d.addLater(view.Event)
		}
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !slices.Contains(view.Event.Targets, id.Callback) {
			return none
		} else if err != nil {
			return err
		}
		p, err := d.stand(id, ended)
		if err != nil {
			return err
		}
		view.DeliveryState = p
		view.Since = store.WaitingSince(p.Since, view.Event)
		view.History, err = d.history(id, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	return view, nil
}

// RetryDelivery is part of [store.Events].
func (s *Store) RetryDelivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error) {
	view, err := s.Delivery(ctx, key, id)
	if err != nil {
		return nil, err
	}
	if view.State == callbackd.Canceled {
		return nil, callbackd.Errorf(callbackd.KindConflict, "delivery %s was canceled with its callback and cannot be retried", id)
	}
	if ended, err := s.Ended(ctx, id.Callback); err != nil {
		return nil, err
	} else if ended {
		return nil, callbackd.Errorf(callbackd.KindConflict, "the callback of delivery %s was deleted; nothing is sent to it any more", id)
	}
	var out callbackd.Delivery
	err = s.deliver(ctx, func(t *tx) error {
		store.Made(ctx, id)
		if t.isUnflushed(id) { // never tried
			out = callbackd.Delivery{ID: id, Session: view.Event.Session, Sequence: view.Event.Sequence, Test: view.Event.Test}
			return nil
		}
		out = callbackd.Delivery{}
		t.moved[id] = true // the row is its own from now on
		err := t.query(`INSERT INTO pending (callback_no, event_id, session, sequence, test, attempts, step, manual, due)
			VALUES (?, ?, ?, ?, ?6, (SELECT coalesce(max(n), 0) FROM attempts WHERE event_id = ?2 AND callback_no = ?1), 0, 1, ?5)
			ON CONFLICT (callback_no, event_id) DO UPDATE SET step = 0, manual = iif(attempts = 0 AND due IS NULL, manual, 1), first_failed_at = NULL, holds_until = NULL,
				due = iif(attempts = 0 AND due IS NULL, NULL, ?5)
			RETURNING `+pendingColumns, func(st *sqlite3.Stmt) error { out = scanPending(st); return nil },
			int64(id.Callback), int64(id.Event), view.Event.Session, view.Event.Sequence, at, view.Event.Test)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// addLater adds to an event what it came to be owed after it was accepted.
func (d *db) addLater(ev *callbackd.Event) error {
	return d.query("SELECT callback_no FROM owed_later WHERE event_id = ? ORDER BY callback_no", func(st *sqlite3.Stmt) error {
		ev.Targets = append(ev.Targets, callbackd.CallbackID(st.ColumnInt64(0)))
		return nil
	}, int64(ev.ID))
}
