package postgres

import (
	"context"

	"callbackd"

	"github.com/jackc/pgx/v5"
)

const selectEventTypes = "SELECT no, name FROM event_types"

// readEventTypes reads the types of the platform's events on a connection.
func readEventTypes(ctx context.Context, conn *pgx.Conn) (map[int64]callbackd.EventType, error) {
	names := map[int64]callbackd.EventType{}
	err := each(ctx, conn, selectEventTypes, func(row pgx.CollectableRow) error {
		var n int64
		var name string
		err := row.Scan(&n, &name)
		names[n] = callbackd.EventType(name)
		return err
	})
	return names, err
}

// loadEventTypes reads the types that other nodes may have added. It is called while a row
// of another query is read, so it uses the connections of leases, which nothing holds for
// long.
func (s *Store) loadEventTypes() (names map[int64]callbackd.EventType, err error) {
	err = s.readOn(s.life, s.lease, func(ctx context.Context, conn *pgx.Conn) error {
		names, err = readEventTypes(ctx, conn)
		return err
	})
	return names, err
}
