package sqlite

import (
	"context"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// chosen is the set of a replay, and how it is chosen.
type chosen struct {
	codec.Set
	filter callbackd.ReplayFilter
	cbs    *keyCallbacks
}

func (c *chosen) write(t *tx, id callbackd.ReplayID) error {
	for _, p := range c.Parts() {
		if err := t.query("INSERT INTO replay_parts (replay_id, callback_no, total) VALUES (?, ?, ?)", nil, int64(id), int64(p.Callback), p.Total); err != nil {
			return err
		}
		for i, ids := range p.Chunks {
			if err := t.query("INSERT INTO replay_events (replay_id, callback_no, chunk, ids) VALUES (?, ?, ?, ?)", nil, int64(id), int64(p.Callback), i, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// setSlice reads n events of a part from a place on.
func (t *tx) setSlice(id callbackd.ReplayID, no callbackd.CallbackID, from, n int64) (ids []callbackd.EventID, err error) {
	first, last := codec.ChunksOf(from, n)
	err = t.query("SELECT chunk, ids FROM replay_events WHERE replay_id = ? AND callback_no = ? AND chunk BETWEEN ? AND ? ORDER BY chunk", func(st *sqlite3.Stmt) error {
		ids = codec.AppendSlice(ids, st.ColumnInt64(0), st.ColumnRawBlob(1), from, n)
		return nil
	}, int64(id), int64(no), first, last)
	if err == nil && int64(len(ids)) != n {
		err = codec.ErrSet
	}
	return ids, err
}

// chooseSet finds the set of a filter. One is chosen at a time: it may read for
// seconds, and the readers are few.
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
	c := &chosen{filter: f, cbs: callbacksOf(store.DeliveryQuery{Key: key, Callback: f.Callback, Type: f.Type})}
	lo, hi, err := s.idRange(ctx, f.Since, f.Until, 0)
	if err != nil {
		return nil, err
	}
	young, floor, _ := s.tail.above(key, f.Session, lo, hi)
	return c, s.read(ctx, func(d *db) error {
		if f.Target == 0 && f.Session == "" && slices.Equal(f.States, []callbackd.State{callbackd.Failed}) {
			return c.failed(ctx, d, lo, hi)
		}
		var stop error
		err := d.ascend(young, key, f.Session, lo, min(hi, floor), "", func(st *sqlite3.Stmt) bool {
			if stop = ctx.Err(); stop == nil {
				stop = c.event(d, scanEvent(st))
			}
			return stop == nil
		})
		if stop != nil {
			return stop
		}
		return err
	})
}

// fits tells whether a delivery of an event is one that the filter chooses.
func (c *chosen) fits(d *db, id callbackd.DeliveryID) (bool, error) {
	cb, ok, err := c.cbs.get(d, id.Callback)
	if err != nil || !ok {
		return false, err
	}
	p, err := d.stand(id, cb.ended)
	return c.filter.Matches(p.state, cb.ended), err
}

// event adds what the filter chooses of one event.
func (c *chosen) event(d *db, ev *callbackd.Event) error {
	f := &c.filter
	if ev.Test || f.Type != "" && ev.Type != f.Type || !store.AcceptedWithin(ev, f.Since, f.Until) {
		return nil
	}
	if f.Target != 0 && len(f.States) == 0 && f.Callback == 0 {
		return c.Add(ev.ID, f.Target)
	}
	if err := d.addLater(ev); err != nil {
		return err
	}
	for _, no := range ev.Targets {
		ok, err := c.fits(d, callbackd.DeliveryID{Event: ev.ID, Callback: no})
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if f.Target != 0 {
			return c.Add(ev.ID, f.Target) // once, whatever else fits
		}
		if err := c.Add(ev.ID, no); err != nil {
			return err
		}
	}
	return nil
}

// failed adds what failed, through its own small index.
func (c *chosen) failed(ctx context.Context, d *db, lo, hi int64) error {
	if err := c.cbs.inForce(d); err != nil {
		return err
	}
	return c.cbs.chosen(func(no callbackd.CallbackID, cb keyCallback) error {
		if cb.ended {
			return nil
		}
		return d.query("SELECT DISTINCT event_id FROM attempts WHERE state = 'failed' AND state IN ('failed', 'canceled') AND callback_no = ? AND event_id >= ? AND event_id < ? ORDER BY event_id", func(st *sqlite3.Stmt) error {
			id := callbackd.DeliveryID{Event: callbackd.EventID(st.ColumnInt64(0)), Callback: no}
			if err := ctx.Err(); err != nil {
				return err
			}
			ev := &callbackd.Event{ID: id.Event}
			err := d.query("SELECT test, accepted_at FROM events WHERE id = ?", func(st *sqlite3.Stmt) error {
				ev.Test, ev.ClockTime = st.ColumnBool(0), columnTime(st, 1)
				return nil
			}, int64(id.Event))
			if err != nil || ev.Test || !store.AcceptedWithin(ev, c.filter.Since, c.filter.Until) {
				return err
			}
			if ok, err := c.fits(d, id); err != nil || !ok {
				return err
			}
			return c.Add(id.Event, no)
		}, int64(no), lo, hi)
	})
}

// addLater adds to an event what it came to be owed after it was accepted.
func (d *db) addLater(ev *callbackd.Event) error {
	return d.query("SELECT callback_no FROM owed_later WHERE event_id = ? ORDER BY callback_no", func(st *sqlite3.Stmt) error {
		ev.Targets = append(ev.Targets, callbackd.CallbackID(st.ColumnInt64(0)))
		return nil
	}, int64(ev.ID))
}
