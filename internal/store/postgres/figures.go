package postgres

import (
	"context"

	"callbackd"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// Figures is part of [core.Driver].
func (d seam) Figures(tx core.Tx) (f callbackd.Figures, err error) {
	err = tx.Query("SELECT pg_database_size(current_database())", func(row core.Row) error { return row.Scan(&f.Database) })
	return f, err
}

// Unflushed is part of [core.Driver].
func (d seam) Unflushed() []callbackd.CallbackBacklog { return nil }

// UnflushedOf is part of [core.Driver].
func (d seam) UnflushedOf(callbackd.KeyID) map[callbackd.EventID]int64 { return nil }

const (
	// noteOlderNodes asks for a recount while there is a node of an older version, which
	// counts nothing. So the recount is made again after the last of them has ended.
	noteOlderNodes = "INSERT INTO delivery_counts (what, n) SELECT 'recount', 0 WHERE EXISTS (SELECT 1 FROM nodes WHERE NOT counts)"
	addUpCounts    = `WITH taken AS (DELETE FROM delivery_counts RETURNING what, n)
		INSERT INTO delivery_counts (what, n) SELECT what, sum(n) FROM taken GROUP BY what`
)

// fillCounts begins to count in the transaction that makes the table.
func fillCounts(tx core.Tx, d *core.Dialect) error {
	if err := core.Recount(tx, d, 0); err != nil {
		return err
	}
	_, err := tx.Exec(noteOlderNodes)
	return err
}

// AddUpCounts corrects the counts of deliveries if that is needed, and adds up the rows of
// each name. One node does so for all.
func (s *Store) AddUpCounts(ctx context.Context) error {
	return s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		if err := core.Recount(seamTx{ctx, tx}, &dialect, 0); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, noteOlderNodes); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, addUpCounts)
		return err
	})
}
