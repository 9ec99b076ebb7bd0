package core

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// deferred is the condition of the index of deferred deliveries: see
// [callbackd.Delivery.Deferred].
const deferred = "deliver_at IS NOT NULL AND due IS NOT NULL AND attempts = 0 AND NOT manual AND replay = 0"

// TakeTurns is part of [store.Queue]. It reads first, because most callbacks have no
// deferred delivery.
func (s *Store) TakeTurns(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (ds []callbackd.Delivery, next time.Time, err error) {
	if ended, err := s.Ended(ctx, cb); err != nil || ended {
		return nil, next, err
	}
	var waiting []callbackd.Delivery
	err = s.db.Read(ctx, func(tx Tx) error {
		waiting = nil
		return tx.Query("SELECT event_id, due FROM "+s.d.By("pending", "pending_deferred")+" WHERE callback_no = $1 AND "+deferred+" ORDER BY due, event_id LIMIT $2", func(row Row) error {
			d := callbackd.Delivery{ID: callbackd.DeliveryID{Callback: cb}}
			err := row.Scan(&d.ID.Event, &d.Due)
			waiting = append(waiting, d)
			return err
		}, cb, limit+1)
	})
	if err != nil {
		return nil, next, err
	}
	waiting, next = DueBy(waiting, at, limit)
	if len(waiting) == 0 {
		return nil, next, nil
	}
	events := make([]callbackd.EventID, len(waiting))
	for i, d := range waiting {
		events[i] = d.ID.Event
	}
	err = s.db.Write(ctx, Deliveries|Repeatable, func(tx Tx) error {
		ds = nil
		return s.takeTurns(tx, cb, events, &ds)
	})
	return ds, next, err
}

// takeTurns makes deferred deliveries first attempts. Those that were canceled, resent or
// expired since they were read are left out.
func (s *Store) takeTurns(tx Tx, cb callbackd.CallbackID, events []callbackd.EventID, ds *[]callbackd.Delivery) error {
	evs, err := s.eventHeaders(tx, events, "")
	if err != nil {
		return err
	}
	taken := map[callbackd.EventID]bool{}
	args := make([][]any, len(events))
	for i, id := range events {
		args[i] = []any{cb, id}
	}
	err = tx.Batch("UPDATE pending SET due = NULL WHERE callback_no = $1 AND event_id = $2 AND "+deferred+" RETURNING event_id", func(row Row) error {
		var id callbackd.EventID
		err := row.Scan(&id)
		taken[id] = true
		return err
	}, args)
	for _, id := range events {
		if ev := evs[id]; ev != nil && taken[id] {
			*ds = append(*ds, callbackd.Delivery{ID: callbackd.DeliveryID{Event: id, Callback: cb}, Key: ev.Key, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test})
		}
	}
	return err
}

// overdue is a pending delivery whose expiry has come.
type overdue struct {
	callbackd.Delivery
	key   callbackd.KeyID
	ended bool // its callback was deleted or its key revoked
}

// Expire is part of [store.Upkeep]. Deliveries that may expire have rows of their own from
// the beginning, so nothing needs to be flushed.
func (s *Store) Expire(ctx context.Context, at time.Time, limit int) (expired int, more bool, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		more = false
		return tx.Query("SELECT 1 FROM "+s.d.By("pending", "pending_expiry")+" WHERE expires_at <= $1 LIMIT 1", func(Row) error {
			more = true
			return nil
		}, at)
	})
	if err != nil || !more {
		return 0, false, err
	}
	err = s.db.Write(ctx, Repeatable|Deliveries, func(tx Tx) error {
		ds, err := s.overdue(tx, at, limit)
		expired, more = 0, len(ds) == limit
		if err != nil || len(ds) == 0 {
			return err
		}
		c := unsent{at: at, byReplay: map[callbackd.ReplayID]int{}, sums: Sums{}}
		var rows, ids [][]any
		for _, d := range ds {
			state, why := callbackd.Expired, callbackd.WhyExpired(d.ExpiresAt)
			if d.ended {
				state, why = callbackd.Canceled, callbackd.WhyEnded
			} else {
				expired++
			}
			c.sums.Add(d.key, d.ID.Callback, at, store.Unsent(state, 1))
			rows = append(rows, []any{d.ID.Event, d.ID.Callback, d.Attempts + 1, state, c.detail(why)})
			ids = append(ids, []any{d.ID.Callback, d.ID.Event})
		}
		if err := tx.Batch("DELETE FROM pending WHERE callback_no = $1 AND event_id = $2", nil, ids); err != nil {
			return err
		}
		if err := tx.Batch("INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES ($1, $2, $3, 0, $4, $5)", nil, rows); err != nil {
			return err
		}
		if err := s.Count(tx, string(callbackd.Expired), expired); err != nil {
			return err
		}
		if err := s.Count(tx, string(callbackd.Canceled), len(ds)-expired); err != nil {
			return err
		}
		return s.countUnsent(tx, &c)
	})
	return expired, more, err
}

// overdue locks up to limit pending deliveries whose expiry has come. One that is being
// recorded is left alone.
func (s *Store) overdue(tx Tx, at time.Time, limit int) (ds []overdue, err error) {
	err = tx.Query("SELECT callback_no, event_id, attempts, expires_at FROM "+s.d.By("pending", "pending_expiry")+" WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"+s.d.SkipLocked, func(row Row) error {
		var d overdue
		err := row.Scan(&d.ID.Callback, &d.ID.Event, &d.Attempts, &d.ExpiresAt)
		ds = append(ds, d)
		return err
	}, at, limit)
	if err != nil || len(ds) == 0 {
		return nil, err
	}
	byID := map[callbackd.CallbackID]overdue{}
	var ids []callbackd.CallbackID
	for _, d := range ds {
		if _, known := byID[d.ID.Callback]; !known {
			byID[d.ID.Callback] = overdue{}
			ids = append(ids, d.ID.Callback)
		}
	}
	err = tx.Query("SELECT c.no, c.key_no, c.deleted_at IS NOT NULL OR k.revoked_at IS NOT NULL FROM callbacks c JOIN keys k ON k.no = c.key_no WHERE c.no "+s.d.In("$1"), func(row Row) error {
		var id callbackd.CallbackID
		var of overdue
		err := row.Scan(&id, &of.key, &of.ended)
		byID[id] = of
		return err
	}, ids)
	for i := range ds {
		of := byID[ds[i].ID.Callback]
		ds[i].key, ds[i].ended = of.key, of.ended
	}
	return ds, err
}
