package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// selectLastSaid finds the last of the events that know what the clock said.
const selectLastSaid = "SELECT id FROM events WHERE accepted_at < $1 ORDER BY accepted_at DESC, id DESC LIMIT 1"

// lastSaid is the last event that was accepted before a time by its ClockTime; 0
// when there is none.
func lastSaid(ctx context.Context, q querier, before time.Time) (callbackd.EventID, error) {
	rows, err := q.Query(ctx, selectLastSaid, before.UnixMilli())
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return callbackd.EventID(ids[0]), nil
}

// idRange is store.IDRange, widened where the clock ran ahead once.
func idRange(ctx context.Context, q querier, since, until time.Time, after callbackd.EventID) (lo, hi int64, err error) {
	lo, hi = store.IDRange(since, until, 0)
	var last callbackd.EventID
	if !until.IsZero() {
		last, err = lastSaid(ctx, q, until)
	}
	return lo, store.WidenedTo(hi, last, after), err
}
