package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// setChunk is how many events the choice of a set looks at in one statement.
const setChunk = 1000

// chooseReplaySet finds the set of a filter in one snapshot. One set is chosen at
// a time, because it may read a million events. It resolves the filter.
func (s *Store) chooseReplaySet(ctx context.Context, key callbackd.KeyID, f *callbackd.ReplayFilter) (*codec.Set, error) {
	select {
	case s.choosing <- struct{}{}:
		defer func() { <-s.choosing }()
	case <-ctx.Done():
		return nil, callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "another replay is being chosen; try again")
	}
	if err := s.db.Flush(ctx); err != nil {
		return nil, err
	}
	c := &setChooser{s: s, key: key, now: time.Now()}
	err := s.db.Snapshot(ctx, func(tx Tx) error {
		c.tx, c.filter, c.set = tx, *f, codec.Set{}
		return c.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &c.set, nil
}

// inForce is the condition on a key's callbacks that are not deleted.
const inForce = "c.key_no = $1 AND c.deleted_at IS NULL AND k.revoked_at IS NULL"

// setChooser chooses the set of a replay.
type setChooser struct {
	s         *Store
	tx        Tx
	key       callbackd.KeyID
	now       time.Time
	filter    callbackd.ReplayFilter
	set       codec.Set
	callbacks *listedCallbacks // to which the filter may choose deliveries
	target    *callbackd.Callback
	bySession map[string][]*callbackd.Callback // of callbacks, by the session they are for
}

func (c *setChooser) run(ctx context.Context) error {
	if err := c.resolve(); err != nil {
		return err
	}
	lo, hi, err := idRange(c.tx, c.filter.Since, c.filter.Until, 0)
	if err != nil {
		return err
	}
	if index := c.index(); index != nil {
		return c.addIndexed(ctx, index, lo, hi)
	}
	return c.addEvents(ctx, lo, hi)
}

// index returns the small index that has everything the filter chooses; nil: there is none.
// A session is short, so its events are read.
func (c *setChooser) index() *smallIndex {
	f := &c.filter
	if f.Target != 0 || f.Missing || f.Session != "" || len(f.States) != 1 {
		return nil
	}
	return map[callbackd.State]*smallIndex{callbackd.Pending: pendingIndex, callbackd.Failed: failedIndex, callbackd.Canceled: canceledIndex, callbackd.Expired: expiredIndex}[f.States[0]]
}

// resolve checks the filter against its target.
func (c *setChooser) resolve() error {
	var target *callbackd.Callback
	if id := c.filter.Target; id != 0 {
		targets := c.s.newListedCallbacks(store.DeliveryQuery{Key: store.AllKeys})
		if err := targets.need(c.tx, c.s.d, []callbackd.CallbackID{id}); err != nil {
			return err
		}
		if !targets.ended(id) {
			target = targets.known[id]
		}
	}
	if err := c.filter.Resolve(c.key, target); err != nil {
		return err
	}
	c.target = target
	c.callbacks = c.s.newListedCallbacks(store.DeliveryQuery{Key: c.key, Callback: c.filter.Callback, Type: c.filter.Type})
	if c.filter.Missing && c.filter.Target == 0 {
		err := c.callbacks.load(c.tx, inForce+" AND c.session IS NULL", c.key)
		switch {
		case err != nil:
			return err
		case c.filter.Session != "":
			return c.callbacks.load(c.tx, inForce+" AND c.session IS NOT NULL AND c.session = $2", c.key, c.filter.Session)
		}
		return c.callbacks.load(c.tx, inForce+" AND c.session IS NOT NULL", c.key)
	}
	return nil
}

// addEvents walks the key's events, or those of one session, oldest first, and
// adds what the filter chooses of them.
func (c *setChooser) addEvents(ctx context.Context, lo, hi int64) error {
	d := c.s.d
	sql := "SELECT " + eventColumns + " FROM " + d.KeyEvents + " WHERE key_no = $1 AND id >= $2 AND id < $3 ORDER BY key_no, id LIMIT $4"
	args := []any{c.key, lo, hi, setChunk}
	if c.filter.Session != "" {
		if !storable(c.filter.Session) {
			return nil
		}
		sql = "SELECT " + eventColumns + " FROM " + d.SessionEvents + " WHERE key_no = $1 AND session = $5 AND id >= $2 AND id < $3 ORDER BY " + d.SessionOrder + " LIMIT $4"
		args = append(args, c.filter.Session)
	}
	for {
		var evs []*callbackd.Event
		n := 0
		args[1] = lo
		err := c.tx.Query(sql, func(row Row) error {
			ev, err := c.s.scanEvent(row)
			n, lo = n+1, int64(ev.ID)+1
			if c.choosesEvent(ev) {
				evs = append(evs, ev)
			}
			return err
		}, args...)
		if err == nil {
			err = c.addOf(evs)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || n < setChunk {
			return err
		}
	}
}

// choosesEvent reports whether the filter chooses an event by what it is.
func (c *setChooser) choosesEvent(ev *callbackd.Event) bool {
	return !ev.Test && !c.filter.TooEarly(ev, c.now) && (c.target == nil || c.target.Takes(ev.Type, ev.Session)) && (c.filter.Type == "" || ev.Type == c.filter.Type) && store.AcceptedWithin(ev, c.filter.Since, c.filter.Until)
}

// addOf adds what the filter chooses of events.
func (c *setChooser) addOf(evs []*callbackd.Event) error {
	f := &c.filter
	switch {
	case f.Target != 0 && len(f.States) == 0 && f.Callback == 0:
		ids := make([]callbackd.DeliveryID, len(evs))
		for i, ev := range evs {
			ids[i] = callbackd.DeliveryID{Event: ev.ID, Callback: f.Target}
		}
		return c.add(ids)
	case f.Missing && f.Target == 0:
		return c.add(c.possible(evs))
	}
	if err := c.s.addLateTargets(c.tx, evs); err != nil {
		return err
	}
	return c.addMatching(deliveriesOf(evs))
}

// addMatching adds those of the deliveries whose state the filter chooses.
func (c *setChooser) addMatching(ids []callbackd.DeliveryID) error {
	callbacks := make([]callbackd.CallbackID, len(ids))
	for i, id := range ids {
		callbacks[i] = id.Callback
	}
	if err := c.callbacks.need(c.tx, c.s.d, callbacks); err != nil {
		return err
	}
	f := &c.filter
	ids = slices.DeleteFunc(ids, func(id callbackd.DeliveryID) bool {
		return c.callbacks.known[id.Callback] == nil || f.Target == 0 && c.callbacks.ended(id.Callback)
	})
	rows, err := c.s.deliveryRows(c.tx, ids)
	if err != nil {
		return err
	}
	var chosen []callbackd.DeliveryID
	last := callbackd.EventID(0)
	for _, id := range ids {
		ended := c.callbacks.ended(id.Callback)
		if !f.Matches(callbackd.StateOf(rows[id], ended).State, ended) {
			continue
		}
		if f.Target != 0 {
			if id.Event == last { // once, whatever else matches
				continue
			}
			id.Callback, last = f.Target, id.Event
		}
		chosen = append(chosen, id)
	}
	return c.add(chosen)
}

// possible returns a delivery of each event to each callback that takes it, whether there
// is such a delivery or not.
func (c *setChooser) possible(evs []*callbackd.Event) (ids []callbackd.DeliveryID) {
	if c.bySession == nil {
		c.bySession = map[string][]*callbackd.Callback{}
		for _, cb := range c.callbacks.known {
			c.bySession[cb.Session] = append(c.bySession[cb.Session], cb) // "": those for all sessions
		}
	}
	for _, ev := range evs {
		for _, cb := range slices.Concat(c.bySession[""], c.bySession[ev.Session]) {
			if cb.Takes(ev.Type, ev.Session) {
				ids = append(ids, callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID})
			}
		}
	}
	return ids
}

// add adds deliveries to the set. With Missing, it leaves out those that are not.
func (c *setChooser) add(ids []callbackd.DeliveryID) error {
	for part := range slices.Chunk(ids, setChunk) {
		if c.filter.Missing {
			rows, err := c.s.deliveryRows(c.tx, part)
			if err != nil {
				return err
			}
			part = slices.DeleteFunc(part, func(id callbackd.DeliveryID) bool {
				return !callbackd.Missing(callbackd.StateOf(rows[id], false).State)
			})
		}
		for _, id := range part {
			if err := c.set.Add(id.Event, id.Callback); err != nil {
				return err
			}
		}
	}
	return nil
}

// addIndexed adds the deliveries of a state that has a small index.
func (c *setChooser) addIndexed(ctx context.Context, index *smallIndex, lo, hi int64) error {
	if err := c.callbacks.load(c.tx, inForce+" AND c.session IS NULL", c.key); err != nil {
		return err
	}
	ofSessions := inForce + " AND c.session IS NOT NULL AND (SELECT 1 FROM " + index.of("c.no") + " LIMIT 1) IS NOT NULL"
	if err := c.callbacks.load(c.tx, ofSessions, c.key); err != nil {
		return err
	}
	for id := range c.callbacks.known {
		if err := c.addIndexedOf(ctx, index, id, lo, hi); err != nil {
			return err
		}
	}
	return nil
}

func (c *setChooser) addIndexedOf(ctx context.Context, index *smallIndex, cb callbackd.CallbackID, lo, hi int64) error {
	for {
		var ids []callbackd.EventID
		err := c.tx.Query("SELECT DISTINCT event_id FROM "+index.of("$1")+" AND event_id >= $2 AND event_id < $3 ORDER BY event_id LIMIT $4", func(row Row) error {
			var id callbackd.EventID
			err := row.Scan(&id)
			ids, lo = append(ids, id), int64(id)+1
			return err
		}, cb, lo, hi, setChunk)
		if err != nil {
			return err
		}
		var chosen []callbackd.DeliveryID
		err = c.tx.Query("SELECT "+eventColumns+" FROM events WHERE id "+c.s.d.In("$1"), func(row Row) error {
			ev, err := c.s.scanEvent(row)
			if err == nil && c.choosesEvent(ev) {
				chosen = append(chosen, callbackd.DeliveryID{Event: ev.ID, Callback: cb})
			}
			return err
		}, ids)
		slices.SortFunc(chosen, func(a, b callbackd.DeliveryID) int { return cmp.Compare(a.Event, b.Event) })
		if err == nil {
			err = c.addMatching(chosen)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || len(ids) < setChunk {
			return err
		}
	}
}

// writeReplaySet stores the set of a replay.
func writeReplaySet(tx Tx, id callbackd.ReplayID, set *codec.Set) error {
	var parts, chunks [][]any
	for _, p := range set.Parts() {
		parts = append(parts, []any{id, p.Callback, p.Total})
		for i, ids := range p.Chunks {
			chunks = append(chunks, []any{id, p.Callback, i, ids})
		}
	}
	if err := tx.Batch("INSERT INTO replay_parts (replay_id, callback_no, total) VALUES ($1, $2, $3)", nil, parts); err != nil {
		return err
	}
	return tx.Batch("INSERT INTO replay_events (replay_id, callback_no, chunk, ids) VALUES ($1, $2, $3, $4)", nil, chunks)
}
