package postgres

import (
	"context"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// snapshot runs f in a transaction that reads one state of the database.
func (s *Store) snapshot(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	return s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}

// readLong lets a snapshot take its time, also between its statements: it
// holds no row that others wait for.
func readLong(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)")
	return err
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
	var view *store.DeliveryView
	err = s.snapshot(ctx, func(ctx context.Context, tx pgx.Tx) error {
		places, err := stands(ctx, tx, []callbackd.DeliveryID{id}, func(callbackd.CallbackID) bool { return cb.Deleted() })
		if err != nil {
			return err
		}
		p := places[0]
		events, err := loadEvents(ctx, tx, []callbackd.EventID{id.Event}, true)
		if err == nil {
			err = addLater(ctx, tx, events)
		}
		if err == nil && (p.State == "" || events[id.Event] == nil || !slices.Contains(events[id.Event].Targets, id.Callback)) {
			err = none
		}
		if err != nil {
			return err
		}
		view = &store.DeliveryView{ID: id, Event: events[id.Event], Callback: cb, DeliveryState: p}
		view.Since = store.WaitingSince(p.Since, view.Event)
		view.History, err = history(ctx, tx, id, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	return view, nil
}

// history is the newest attempts of a delivery before one of them, oldest
// first.
func history(ctx context.Context, q querier, id callbackd.DeliveryID, before int) ([]callbackd.Attempt, error) {
	rows, err := q.Query(ctx, "SELECT n, version, state, detail FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version > 0 AND n < $3 ORDER BY event_id DESC, callback_no DESC, n DESC LIMIT $4", int64(id.Event), int64(id.Callback), before, store.MaxHistory)
	if err != nil {
		return nil, err
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a callbackd.Attempt, err error) {
		var n int32
		var state string
		var detail []byte
		if err = row.Scan(&n, &a.Version, &state, &detail); err == nil {
			err = damaged(codec.ReadAttempt(detail, &a))
			a.Number, a.State = int(n), callbackd.State(state)
		}
		return a, err
	})
	slices.Reverse(out)
	return out, err
}

// The statements of a manual retry. What is locked first waits for an outcome
// or a removal that is under way; only then are the attempts counted.
const (
	lockPending  = "SELECT 1 FROM pending WHERE callback_no = $1 AND event_id = $2 FOR UPDATE"
	lockEvent    = "SELECT 1 FROM events WHERE id = $1 FOR SHARE"
	insertManual = `INSERT INTO pending AS p (callback_no, event_id, attempts, step, manual, due)
		SELECT $1, e.id, (SELECT coalesce(max(n), 0) FROM attempts WHERE event_id = $2 AND callback_no = $1), 0, true, $3 FROM events e WHERE e.id = $2
		ON CONFLICT (callback_no, event_id) DO UPDATE SET step = 0, first_failed_at = NULL, holds_until = NULL,
			manual = p.manual OR p.Attempts > 0 OR p.due IS NOT NULL, due = CASE WHEN p.Attempts > 0 OR p.due IS NOT NULL THEN excluded.due END
		RETURNING attempts, manual, due, replay`
)

// RetryDelivery is part of [store.Events].
func (s *Store) RetryDelivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error) {
	view, err := s.Delivery(ctx, key, id)
	if err != nil {
		return nil, err
	}
	if view.State == callbackd.Canceled || view.Callback.Deleted() {
		return nil, callbackd.Errorf(callbackd.KindConflict, "delivery %s was canceled with its callback and cannot be retried", id)
	}
	var attempts int32
	var replay int64
	var manual bool
	var due *int64
	err = s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockEvent, int64(id.Event)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockPending, int64(id.Callback), int64(id.Event)); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, insertManual, int64(id.Callback), int64(id.Event), millis(at)).Scan(&attempts, &manual, &due, &replay)
		if err == pgx.ErrNoRows {
			return noEvent(id.Event)
		}
		store.Made(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &callbackd.Delivery{ID: id, Session: view.Event.Session, Sequence: view.Event.Sequence, Test: view.Event.Test,
		Attempts: int(attempts), Due: fromNullMillis(due), Manual: manual, Replay: callbackd.ReplayID(replay)}, nil
}
