package core

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

func noDelivery(id callbackd.DeliveryID) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no delivery %s; deliveries are removed some time after they ended", id)
}

// deliveryCallback returns the callback of a delivery of a key; AllKeys is
// possible.
func (s *Store) deliveryCallback(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID) (*callbackd.Callback, error) {
	cb, err := s.CallbackByID(ctx, id.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && key != store.AllKeys && cb.Key != key {
		return nil, noDelivery(id)
	}
	return cb, err
}

// Delivery is part of [store.Events].
func (s *Store) Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (view *store.DeliveryView, err error) {
	cb, err := s.deliveryCallback(ctx, key, id)
	if err != nil {
		return nil, err
	}
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		ev, err := s.readEvent(tx, id.Event)
		if err != nil {
			return err
		}
		of, ok, err := s.rowsOf(tx, id)
		if err != nil {
			return err
		}
		if ev == nil || !ok || !slices.Contains(ev.Targets, id.Callback) {
			return noDelivery(id)
		}
		view = &store.DeliveryView{ID: id, Event: ev, Callback: cb, DeliveryState: stateOf(of, ev, cb.Deleted())}
		// Attempts that were recorded after the rows were read are left out.
		if before == 0 || before > of.Last.Number {
			before = of.Last.Number + 1
		}
		if of.Pending == nil && of.Last.Unsent() {
			if view.Unsent, err = readUnsent(tx, id); err != nil {
				return err
			}
		}
		view.History, err = history(tx, id, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	return view, nil
}

// rowsOf returns the rows of a delivery, and whether there is such a delivery. One that was not
// flushed is pending without a row.
func (s *Store) rowsOf(tx Tx, id callbackd.DeliveryID) (of callbackd.DeliveryRows, ok bool, err error) {
	rows, err := s.deliveryRows(tx, []callbackd.DeliveryID{id})
	if err != nil {
		return of, false, err
	}
	if of, ok = rows[id]; ok {
		return of, true, nil
	}
	flushed, err := s.db.FlushedUpTo(tx)
	if err != nil || id.Event <= flushed {
		return of, false, err
	}
	of.Pending = &callbackd.Delivery{ID: id}
	return of, true, nil
}

// readUnsent reads the row that ended a delivery without an attempt.
func readUnsent(tx Tx, id callbackd.DeliveryID) (a *callbackd.Attempt, err error) {
	err = tx.Query("SELECT detail, state FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version = 0", func(row Row) error {
		var detail []byte
		var state callbackd.State
		if err := row.Scan(&detail, &state); err != nil {
			return err
		}
		a = &callbackd.Attempt{}
		err := damaged(codec.ReadAttempt(detail, a))
		a.State = state
		return err
	}, id.Event, id.Callback)
	return a, err
}

// history returns the newest attempts of a delivery before the attempt with a
// number, oldest first.
func history(tx Tx, id callbackd.DeliveryID, before int) (out []callbackd.Attempt, err error) {
	err = tx.Query(`SELECT n, version, state, detail FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version > 0 AND n < $3
		ORDER BY event_id DESC, callback_no DESC, n DESC LIMIT $4`, func(row Row) error {
		var a callbackd.Attempt
		var state callbackd.State
		var detail []byte
		if err := row.Scan(&a.Number, &a.Version, &state, &detail); err != nil {
			return err
		}
		err := damaged(codec.ReadAttempt(detail, &a))
		a.State = state
		out = append(out, a)
		return err
	}, id.Event, id.Callback, before, store.MaxHistory)
	slices.Reverse(out)
	return out, err
}

// Resend is part of [store.Events].
func (s *Store) Resend(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error) {
	cb, err := s.deliveryCallback(ctx, key, id)
	if err != nil {
		return nil, err
	}
	if err := s.db.Flush(ctx); err != nil {
		return nil, err
	}
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	at = at.UTC().Truncate(time.Millisecond)
	var out callbackd.Delivery
	err = s.db.Write(ctx, Repeatable|Deliveries, func(tx Tx) error {
		ev, rows, err := s.lockDelivery(tx, id)
		if err != nil {
			return err
		}
		if ev.IsErased() {
			return ev.ErrErased()
		}
		raced, err := removeUnsent(tx, []callbackd.DeliveryID{id}, map[callbackd.DeliveryID]callbackd.DeliveryRows{id: rows})
		if err != nil {
			return err
		}
		if raced[id] {
			return ErrRace
		}
		var changed bool
		if out, changed, err = rows.Resend(ev, id.Callback, cb.Deleted(), at); err != nil {
			return err
		}
		store.Made(ctx, id)
		if !changed {
			return nil
		}
		if err := s.makeDueAgain(tx, &out, rows.Pending != nil); err != nil {
			return err
		}
		return audit.Write(tx, resentEntry(cb.Key, id), nil, nil)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// makeDueAgain stores a delivery that a person resends, which is pending already or has ended.
func (s *Store) makeDueAgain(tx Tx, d *callbackd.Delivery, pending bool) error {
	if pending {
		_, err := tx.Exec("UPDATE pending SET step = 0, manual = true, due = $3, first_failed_at = NULL, holds_until = NULL, expires_at = NULL WHERE callback_no = $1 AND event_id = $2",
			d.ID.Callback, d.ID.Event, d.Due)
		return err
	}
	added, err := s.db.Enqueue(tx, []callbackd.Delivery{*d})
	if err != nil {
		return err
	}
	if len(added) == 0 {
		return ErrRace
	}
	return s.Count(tx, string(callbackd.AcceptedAgain), 1)
}

func resentEntry(key callbackd.KeyID, id callbackd.DeliveryID) callbackd.AuditEntry {
	return callbackd.AuditEntry{Key: key, Action: callbackd.AuditDeliveryResent, Target: id.Callback, Subject: id.String()}
}

// removeUnsent removes the rows that ended deliveries without an attempt, because they are
// sent again: they go on where they were. It returns those that another transaction changed since their rows were read.
func removeUnsent(tx Tx, ids []callbackd.DeliveryID, rows map[callbackd.DeliveryID]callbackd.DeliveryRows) (raced map[callbackd.DeliveryID]bool, err error) {
	raced = map[callbackd.DeliveryID]bool{}
	var args [][]any
	for _, id := range ids {
		if of := rows[id]; of.Pending == nil && of.Last.Unsent() {
			raced[id] = true
			args = append(args, []any{id.Event, id.Callback})
		}
	}
	err = tx.Batch("DELETE FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version = 0 RETURNING event_id, callback_no", func(row Row) error {
		var id callbackd.DeliveryID
		err := row.Scan(&id.Event, &id.Callback)
		delete(raced, id)
		return err
	}, args)
	return raced, err
}

// lockDelivery reads a delivery with its event and locks both. The locks wait for
// an outcome or a removal in progress, so its rows are read after that.
func (s *Store) lockDelivery(tx Tx, id callbackd.DeliveryID) (ev *callbackd.Event, rows callbackd.DeliveryRows, err error) {
	evs, err := s.eventHeaders(tx, []callbackd.EventID{id.Event}, s.d.LockShared)
	if err != nil {
		return nil, rows, err
	}
	err = tx.Query("SELECT attempts FROM pending WHERE callback_no = $1 AND event_id = $2"+s.d.Lock, func(Row) error { return nil }, id.Callback, id.Event)
	if err != nil {
		return nil, rows, err
	}
	all, err := s.deliveryRows(tx, []callbackd.DeliveryID{id})
	if err != nil {
		return nil, rows, err
	}
	rows, ok := all[id]
	if ev = evs[id.Event]; ev == nil || !ok || !slices.Contains(ev.Targets, id.Callback) {
		return nil, rows, noDelivery(id)
	}
	return ev, rows, nil
}
