package postgres

import (
	"context"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// A reader that goes from cursor to cursor is promised that no event comes
// later with an id up to its cursor. Commits of several nodes end in another
// order than that of their ids, and clocks differ, so the promise is kept by
// agreement: the intake holds a shared lock of the key's stripe until its
// commit and gives out ids above the stripe's horizon only; a reader takes
// the lock alone, for as long as it needs to raise the horizon to the newest
// event. Whoever finds the newest event below the horizon needs no lock.
const stripes = 16

// stripeLocks is the first half of the numbers of these advisory locks.
const stripeLocks = 0x63616c6c

func stripeOf(key callbackd.KeyID) int { return int(uint64(key) % stripes) }

const (
	lockStripes = "SELECT count(pg_advisory_xact_lock_shared($1::integer, s)) FROM unnest($2::integer[]) AS s"
	// While a reader waits for one intake, all others of the stripe wait for
	// the reader: it gives up soon and comes again.
	lockStripe   = "SELECT set_config('lock_timeout', '1000', true), pg_advisory_xact_lock($1::integer, $2::integer)"
	selectNewest = "SELECT coalesce((SELECT id FROM events WHERE key_no = $1 ORDER BY key_no DESC, id DESC LIMIT 1), 0), (SELECT id FROM horizons WHERE stripe = $2)"
	raiseHorizon = "UPDATE horizons SET id = greatest(id, $2) WHERE stripe = $1"
)

// stripes are those of the group's keys.
func (g *acceptance) stripes() (nos []int32) {
	var has [stripes]bool
	for id := range g.sessions {
		has[stripeOf(id.key)] = true
	}
	for stripe, mine := range has {
		if mine {
			nos = append(nos, int32(stripe))
		}
	}
	return nos
}

// settled returns the newest event of a key, below which nothing comes any
// more. Of the readers of a stripe one at a time raises the horizon.
func (s *Store) settled(ctx context.Context, key callbackd.KeyID) (callbackd.EventID, error) {
	newest, horizon, err := s.newest(ctx, key)
	if err != nil || newest <= horizon {
		return callbackd.EventID(newest), err
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	claim := s.claims[stripeOf(key)]
	select {
	case claim <- struct{}{}:
		defer func() { <-claim }()
	case <-ctx.Done():
		return 0, answer(ctx.Err(), again)
	}
	err = s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockStripe, stripeLocks, stripeOf(key)); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectNewest, int64(key), stripeOf(key)).Scan(&newest, &horizon); err != nil || newest <= horizon {
			return err
		}
		_, err := tx.Exec(ctx, raiseHorizon, stripeOf(key), newest)
		return err
	})
	return callbackd.EventID(newest), err
}

func (s *Store) newest(ctx context.Context, key callbackd.KeyID) (newest, horizon int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, selectNewest, int64(key), stripeOf(key)).Scan(&newest, &horizon)
	})
	return newest, horizon, err
}

// Watch is part of [store.Events].
func (s *Store) Watch(key callbackd.KeyID) (<-chan struct{}, func()) { return s.hub.Watch(key) }

// The events of a key, or of one of its sessions, oldest first.
const (
	selectKeyEventsUp     = "SELECT " + eventColumns + ", e.data FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 ORDER BY e.key_no, e.id LIMIT $4"
	selectSessionEventsUp = "SELECT " + eventColumns + ", e.data FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 AND e.session = $5 ORDER BY e.key_no, e.session, e.id LIMIT $4"
	selectRemoved         = "SELECT newest, removals FROM removed_events WHERE key_no = $1"
	// A page ends by the size of its data, so little is read at a time.
	upChunk = 64
)

// EventsAfter is part of [store.Events].
func (s *Store) EventsAfter(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	last, err := s.settled(ctx, q.Key)
	if err != nil {
		return page, err
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		page, err = eventsAfter(ctx, conn, q, last)
		return err
	})
	return page, err
}

// eventsAfter reads a page of the events up to last.
func eventsAfter(ctx context.Context, conn *pgx.Conn, q store.EventQuery, last callbackd.EventID) (page store.EventPage, err error) {
	page.Next = max(q.After, last)
	lo, hi, err := idRange(ctx, conn, q.Since, q.Until, 0)
	if err != nil {
		return page, err
	}
	lo, hi = max(lo, int64(q.After)+1), min(hi, int64(last)+1)
	limit := min(max(q.Limit, 1), store.MaxPage)
	for seen, size, cut := 0, 0, false; !cut; {
		sql, args := selectKeyEventsUp, []any{int64(q.Key), lo, hi, upChunk}
		if q.Session != "" {
			sql, args = selectSessionEventsUp, append(args, q.Session)
		}
		n := 0
		err := each(ctx, conn, sql, func(row pgx.CollectableRow) error {
			var r eventRow
			var data []byte
			err := row.Scan(r.into(&data)...)
			if cut = cut || seen == store.MaxScan || len(page.Events) == limit || size >= store.MaxPageData; cut || err != nil {
				return err
			}
			n, seen, lo = n+1, seen+1, r.id+1
			if ev := r.event(data); (q.Type == "" || ev.Type == q.Type) && store.AcceptedWithin(ev, q.Since, q.Until) {
				size += len(data)
				page.Events = append(page.Events, ev)
			}
			return nil
		}, args...)
		if err != nil {
			return store.EventPage{}, err
		}
		if cut {
			page.Next = callbackd.EventID(lo - 1)
		}
		if n < upChunk {
			break
		}
	}
	if err := addLater(ctx, conn, byID(page.Events)); err != nil {
		return store.EventPage{}, err
	}
	// Read last: what is removed meanwhile was read, or is told.
	page.Removed, err = removed(ctx, conn, q.Key)
	return page, err
}

// removed is what retention took of a key's events.
func removed(ctx context.Context, conn *pgx.Conn, key callbackd.KeyID) (store.Removed, error) {
	var newest, times int64
	err := conn.QueryRow(ctx, selectRemoved, int64(key)).Scan(&newest, &times)
	if err == pgx.ErrNoRows {
		err = nil
	}
	return store.Removed{Newest: callbackd.EventID(newest), Times: times}, err
}
