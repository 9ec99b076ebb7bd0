package postgres

import (
	"context"

	"callbackd"

	"github.com/jackc/pgx/v5"
)

// stripes is the number of locks that the keys share. A cursor promises its reader that
// no event with an id up to the cursor appears later. But nodes do not commit in the order
// of ids, and their clocks differ. So a node that accepts an event holds a shared lock of
// the key's stripe until its commit, and assigns ids above the stripe's horizon only. A
// reader takes the lock exclusively while it raises the horizon to the newest event. It
// needs no lock when the newest event is not above the horizon.
const stripes = 16

// stripeLocks is the class of these advisory locks.
const stripeLocks = 0x63616c6c

func stripeOf(key callbackd.KeyID) int { return int(uint64(key) % stripes) }

const (
	lockStripes = "SELECT count(pg_advisory_xact_lock_shared($1::integer, s)) FROM unnest($2::integer[]) AS s"
	// While a reader waits for one node to commit, all others that accept events of
	// the stripe wait for the reader. So the reader gives up after a second and tries
	// again.
	lockStripe        = "SELECT set_config('lock_timeout', '1000', true), pg_advisory_xact_lock($1::integer, $2::integer)"
	selectNewest      = "SELECT coalesce((SELECT id FROM events WHERE key_no = $1 ORDER BY key_no DESC, id DESC LIMIT 1), 0), (SELECT id FROM horizons WHERE stripe = $2)"
	selectNewestOfAll = "SELECT coalesce((SELECT max(id) FROM events), 0), (SELECT min(id) FROM horizons)"
	raiseHorizon      = "UPDATE horizons SET id = greatest(id, $2) WHERE stripe = $1"
)

// stripes returns the stripes of the group's keys.
func (g *acceptGroup) stripes() (found []int32) {
	var has [stripes]bool
	for id := range g.sessions {
		has[stripeOf(id.Key)] = true
	}
	for stripe, mine := range has {
		if mine {
			found = append(found, int32(stripe))
		}
	}
	return found
}

// settled returns the newest event of a key. No event with a smaller id appears later.
// One reader of a stripe at a time raises the horizon.
func (s *Store) settled(ctx context.Context, key callbackd.KeyID) (callbackd.EventID, error) {
	newest, horizon, err := s.newest(ctx, key)
	if err != nil || newest <= horizon {
		return callbackd.EventID(newest), err
	}
	err = s.withStripe(ctx, stripeOf(key), func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, selectNewest, int64(key), stripeOf(key)).Scan(&newest, &horizon); err != nil || newest <= horizon {
			return err
		}
		_, err := tx.Exec(ctx, raiseHorizon, stripeOf(key), newest)
		return err
	})
	return callbackd.EventID(newest), err
}

// settledOfAll is settled for all keys. While the lowest horizon is beyond the cursor of
// the reader it is enough: raising the horizons makes those who accept events wait.
func (s *Store) settledOfAll(ctx context.Context, after callbackd.EventID) (callbackd.EventID, error) {
	var newest, lowest int64
	err := s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, selectNewestOfAll).Scan(&newest, &lowest)
	})
	if err != nil || newest <= lowest || int64(after) < lowest {
		return callbackd.EventID(min(newest, max(lowest, 0))), err
	}
	for stripe := range stripes {
		err := s.withStripe(ctx, stripe, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, raiseHorizon, stripe, newest)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return callbackd.EventID(newest), nil
}

// withStripe runs f while no event of a stripe is being accepted, here or on another node.
func (s *Store) withStripe(ctx context.Context, stripe int, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	claim := s.claims[stripe]
	select {
	case claim <- struct{}{}:
		defer func() { <-claim }()
	case <-ctx.Done():
		return answer(ctx.Err(), again)
	}
	return s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockStripe, stripeLocks, stripe); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

func (s *Store) newest(ctx context.Context, key callbackd.KeyID) (newest, horizon int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, selectNewest, int64(key), stripeOf(key)).Scan(&newest, &horizon)
	})
	return newest, horizon, err
}

// Watch is part of [store.Events].
func (s *Store) Watch(key callbackd.KeyID) (<-chan struct{}, func()) { return s.hub.Watch(key) }
