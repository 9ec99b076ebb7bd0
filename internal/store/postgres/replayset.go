package postgres

import (
	"context"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// chosen is the set of a replay, and how it is chosen.
type chosen struct {
	codec.Set
	filter callbackd.ReplayFilter
	cbs    *keyCallbacks
	tx     pgx.Tx
}

func (c *chosen) write(ctx context.Context, tx pgx.Tx, id callbackd.ReplayID) error {
	var b pgx.Batch
	for _, p := range c.Parts() {
		b.Queue("INSERT INTO replay_parts (replay_id, callback_no, total) VALUES ($1, $2, $3)", int64(id), int64(p.Callback), p.Total)
		for i, ids := range p.Chunks {
			b.Queue("INSERT INTO replay_events (replay_id, callback_no, chunk, ids) VALUES ($1, $2, $3, $4)", int64(id), int64(p.Callback), i, ids)
		}
	}
	return tx.SendBatch(ctx, &b).Close()
}

// chooseSet finds the set of a filter in one snapshot. One is chosen at a
// time, with a connection of its own and for as long as it takes: it may read
// a million events.
func (s *Store) chooseSet(ctx context.Context, key callbackd.KeyID, f callbackd.ReplayFilter) (*chosen, error) {
	select {
	case s.choosing <- struct{}{}:
		defer func() { <-s.choosing }()
	case <-ctx.Done():
		return nil, callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "another replay is being chosen; try again")
	}
	if err := store.ResolveReplay(ctx, s, key, &f); err != nil {
		return nil, err
	}
	conn, err := s.shared.Acquire(ctx)
	if err != nil {
		return nil, answer(err, again)
	}
	defer giveBack(context.WithoutCancel(ctx), conn)
	c := &chosen{filter: f}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c.tx = tx
		if err := readLong(ctx, tx); err != nil {
			return err
		}
		c.cbs = callbacksOf(store.DeliveryQuery{Key: key, Callback: f.Callback, Type: f.Type})
		if f.Target == 0 && f.Session == "" && slices.Equal(f.States, []callbackd.State{callbackd.Failed}) {
			return c.failed(ctx)
		}
		return c.events(ctx, key)
	})
	if err != nil {
		return nil, answer(err, judge(err, false))
	}
	return c, nil
}

// setChunk is how many events are looked at in one round trip.
const setChunk = 1000

// The events of a key, or of one of its sessions, oldest first, without data.
const (
	selectSet        = "SELECT " + eventColumns + " FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 ORDER BY e.key_no, e.id LIMIT $4"
	selectSessionSet = "SELECT " + eventColumns + " FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 AND e.session = $5 ORDER BY e.key_no, e.session, e.id LIMIT $4"
)

// events walks the key's events and adds what the filter chooses of them.
func (c *chosen) events(ctx context.Context, key callbackd.KeyID) error {
	lo, hi, err := idRange(ctx, c.tx, c.filter.Since, c.filter.Until, 0)
	if err != nil {
		return err
	}
	for {
		sql, args := selectSet, []any{int64(key), lo, hi, setChunk}
		if c.filter.Session != "" {
			sql, args = selectSessionSet, append(args, c.filter.Session)
		}
		var evs []*callbackd.Event
		n := 0
		err := each(ctx, c.tx, sql, func(row pgx.CollectableRow) error {
			var r eventRow
			err := row.Scan(r.into()...)
			n, lo = n+1, r.id+1
			if ev := r.event(nil); !ev.Test && (c.filter.Type == "" || ev.Type == c.filter.Type) && store.AcceptedWithin(ev, c.filter.Since, c.filter.Until) {
				evs = append(evs, ev)
			}
			return err
		}, args...)
		if err == nil {
			err = c.add(ctx, evs)
		}
		if err != nil || n < setChunk {
			return err
		}
	}
}

// add adds what the filter chooses of some events.
func (c *chosen) add(ctx context.Context, evs []*callbackd.Event) error {
	f := &c.filter
	if f.Target != 0 && len(f.States) == 0 && f.Callback == 0 {
		for _, ev := range evs {
			if err := c.Add(ev.ID, f.Target); err != nil {
				return err
			}
		}
		return nil
	}
	if err := addLater(ctx, c.tx, byID(evs)); err != nil {
		return err
	}
	if err := c.cbs.need(ctx, c.tx, owedBy(evs)); err != nil {
		return err
	}
	var ids []callbackd.DeliveryID
	for _, ev := range evs {
		for _, no := range ev.Targets {
			if cb := c.cbs.known[no]; cb != nil && (f.Target != 0 || !cb.Deleted()) {
				ids = append(ids, callbackd.DeliveryID{Event: ev.ID, Callback: no})
			}
		}
	}
	return c.addFitting(ctx, ids)
}

// addFitting adds those of the deliveries that are in a state asked for.
func (c *chosen) addFitting(ctx context.Context, ids []callbackd.DeliveryID) error {
	f := &c.filter
	places, err := stands(ctx, c.tx, ids, c.cbs.ended)
	if err != nil {
		return err
	}
	last := callbackd.EventID(0)
	for i, id := range ids {
		state := places[i].state
		if !f.Matches(state, c.cbs.ended(id.Callback)) {
			continue
		}
		to := id.Callback
		if f.Target != 0 {
			if id.Event == last {
				continue // once, whatever else fits
			}
			to, last = f.Target, id.Event
		}
		if err := c.Add(id.Event, to); err != nil {
			return err
		}
	}
	return nil
}

const selectFailed = `SELECT DISTINCT event_id FROM attempts WHERE state = 'failed' AND state IN ('failed', 'canceled') AND callback_no = $1 AND event_id >= $2 AND event_id < $3 ORDER BY event_id LIMIT $4`

// failed adds what failed, through its own small index.
func (c *chosen) failed(ctx context.Context) error {
	if err := c.cbs.inForce(ctx, c.tx); err != nil {
		return err
	}
	for no, cb := range c.cbs.known {
		if cb == nil || cb.Deleted() {
			continue
		}
		if err := c.failedOf(ctx, no); err != nil {
			return err
		}
	}
	return nil
}

func (c *chosen) failedOf(ctx context.Context, no callbackd.CallbackID) error {
	lo, hi, err := idRange(ctx, c.tx, c.filter.Since, c.filter.Until, 0)
	if err != nil {
		return err
	}
	for {
		var ids []callbackd.DeliveryID
		err := each(ctx, c.tx, selectFailed, func(row pgx.CollectableRow) error {
			var id int64
			err := row.Scan(&id)
			lo = id + 1
			ids = append(ids, callbackd.DeliveryID{Event: callbackd.EventID(id), Callback: no})
			return err
		}, int64(no), lo, hi, setChunk)
		if err != nil {
			return err
		}
		n := len(ids)
		events, err := loadEvents(ctx, c.tx, eventsOf(ids), false)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, func(id callbackd.DeliveryID) bool {
			return events[id.Event] == nil || events[id.Event].Test || !store.AcceptedWithin(events[id.Event], c.filter.Since, c.filter.Until)
		})
		if err := c.addFitting(ctx, ids); err != nil || n < setChunk {
			return err
		}
	}
}
