package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// StepReplay is part of [store.Replays]. The replay's row is locked, so that of
// several nodes one makes a step at a time.
func (s *Store) StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error) {
	var step *replayStep
	err := s.db.Write(ctx, Deliveries, func(tx Tx) error {
		r, err := readReplay(tx, store.AllKeys, id, s.d.Lock)
		if err != nil {
			return err
		}
		step = &replayStep{s: s, tx: tx, at: at, replay: r}
		return step.run()
	})
	if err != nil {
		return store.ReplayStep{}, err
	}
	return store.ReplayStep{Due: step.due, Canceled: step.canceled, State: step.replay.State, Next: step.next}, nil
}

// replayStep is one step of a replay.
type replayStep struct {
	s        *Store
	tx       Tx
	at       time.Time
	replay   *callbackd.Replay
	progress callbackd.ReplayProgress
	due      []callbackd.Delivery // that the step made due
	canceled []callbackd.Delivery // that the step canceled
	next     time.Time            // the earliest time of the next step; zero: any
}

func (r *replayStep) run() error {
	ok, next := r.replay.CanStep(r.at)
	if !ok {
		r.next = next
		return nil
	}
	if err := r.takeParts(); err != nil {
		return err
	}
	if !r.replay.Advance(r.progress, r.at) {
		return nil
	}
	r.next = r.replay.NextDue
	return writeReplay(r.tx, r.replay)
}

// slice is what a step takes of a part.
type slice struct {
	callbackd.ReplayPart
	n int64
}

// takeParts takes from each part what the step may take.
func (r *replayStep) takeParts() error {
	parts, err := r.openParts()
	if err != nil {
		return err
	}
	var slices []slice
	var done [][]any
	for i, n := range r.replay.Divide(parts) {
		p := parts[i]
		if n == 0 {
			continue
		}
		r.progress.Taken += n
		if p.Ended {
			r.progress.Skipped += n
		} else {
			slices = append(slices, slice{p, n})
		}
		done = append(done, []any{r.replay.ID, p.Callback, n})
	}
	act := r.makeDue
	if r.replay.Cancels() {
		act = r.cancel
	}
	if err := act(slices); err != nil {
		return err
	}
	return r.tx.Batch("UPDATE replay_parts SET done = done + $3 WHERE replay_id = $1 AND callback_no = $2", nil, done)
}

// openParts returns the parts of which something is left.
func (r *replayStep) openParts() (parts []callbackd.ReplayPart, err error) {
	err = r.tx.Query(`SELECT p.callback_no, p.total, p.done,
			(SELECT count(*) FROM (SELECT 1 FROM pending WHERE replay = $1 AND replay <> 0 AND callback_no = p.callback_no AND first_failed_at IS NULL LIMIT $2) AS untried),
			c.deleted_at IS NOT NULL OR k.revoked_at IS NOT NULL
		FROM replay_parts p JOIN callbacks c ON c.no = p.callback_no JOIN keys k ON k.no = c.key_no
		WHERE p.replay_id = $1 AND p.done < p.total ORDER BY p.callback_no`, func(row Row) error {
		var p callbackd.ReplayPart
		err := row.Scan(&p.Callback, &p.Total, &p.Done, &p.Untried, &p.Ended)
		parts = append(parts, p)
		return err
	}, r.replay.ID, callbackd.ReplayWindow)
	return parts, err
}

// deliveries reads the deliveries of slices, in their order.
func (r *replayStep) deliveries(slices []slice) (ids []callbackd.DeliveryID, err error) {
	type place struct {
		callback callbackd.CallbackID
		chunk    int64
	}
	var needed [][2]int64
	for _, p := range slices {
		first, last := codec.ChunksOf(p.Done, p.n)
		for chunk := first; chunk <= last; chunk++ {
			needed = append(needed, [2]int64{int64(p.Callback), chunk})
		}
	}
	chunks := map[place][]byte{}
	d := r.s.d
	err = r.tx.Query("SELECT e.callback_no, e.chunk, e.ids FROM "+d.PairsAs("$2", "callback_no", "chunk")+
		d.Lookup("replay_events", "e", "e.replay_id = $1 AND e.callback_no = o.callback_no AND e.chunk = o.chunk"), func(row Row) error {
		var at place
		var raw []byte
		err := row.Scan(&at.callback, &at.chunk, &raw)
		chunks[at] = raw
		return err
	}, r.replay.ID, pairList(needed))
	if err != nil {
		return nil, err
	}
	for _, p := range slices {
		var events []callbackd.EventID
		first, last := codec.ChunksOf(p.Done, p.n)
		for chunk := first; chunk <= last; chunk++ {
			events = codec.AppendSlice(events, chunk, chunks[place{p.Callback, chunk}], p.Done, p.n)
		}
		if int64(len(events)) != p.n {
			return nil, codec.ErrSet
		}
		for _, ev := range events {
			ids = append(ids, callbackd.DeliveryID{Event: ev, Callback: p.Callback})
		}
	}
	return ids, nil
}

// makeDue makes the deliveries of slices due, and creates those that do not
// exist. It skips a delivery whose event is gone, and one that the filter skips.
func (r *replayStep) makeDue(slices []slice) error {
	if len(slices) == 0 {
		return nil
	}
	ids, err := r.deliveries(slices)
	if err != nil {
		return err
	}
	events, err := r.lockEvents(ids)
	if err != nil {
		return err
	}
	chosen := len(ids)
	ids = withoutErased(ids, events)
	rows, err := r.s.deliveryRows(r.tx, ids)
	if err != nil {
		return err
	}
	raced, err := removeUnsent(r.tx, ids, rows)
	if err != nil {
		return err
	}
	var resend, waiting []callbackd.Delivery
	for _, id := range ids {
		ev, pending := events[id.Event], rows[id].Pending != nil
		if ev == nil || raced[id] || r.replay.Filter.Skips(callbackd.StateOf(rows[id], false).State) {
			continue
		}
		d := callbackd.Delivery{
			ID: id, Key: ev.Key, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test,
			Attempts: callbackd.StateOf(rows[id], false).Attempts, Manual: true, Replay: r.replay.ID,
		}
		d.Due = r.replay.DueAt(r.at, int64(len(resend)+len(waiting))).UTC().Truncate(time.Millisecond)
		if pending {
			waiting = append(waiting, d)
		} else {
			resend = append(resend, d)
		}
	}
	if err := r.addTargets(resend, events); err != nil {
		return err
	}
	if err := r.enqueue(resend); err != nil {
		return err
	}
	if err := r.hasten(waiting); err != nil {
		return err
	}
	r.progress.Skipped += int64(chosen - len(r.due))
	return nil
}

// withoutErased returns the deliveries of which something is left to send.
func withoutErased(ids []callbackd.DeliveryID, events map[callbackd.EventID]*callbackd.Event) []callbackd.DeliveryID {
	return slices.DeleteFunc(ids, func(id callbackd.DeliveryID) bool {
		ev := events[id.Event]
		return ev != nil && ev.IsErased()
	})
}

// cancel ends the deliveries of slices that are still pending. Whatever is recorded at the
// same time comes before it or after it, because both change the pending row.
func (r *replayStep) cancel(slices []slice) error {
	ids, err := r.deliveries(slices)
	if err != nil || len(ids) == 0 {
		return err
	}
	events, err := r.s.eventHeaders(r.tx, eventsOfDeliveries(ids), "")
	if err != nil {
		return err
	}
	c := unsent{at: r.at, byReplay: map[callbackd.ReplayID]int{}, sums: Sums{}}
	if r.canceled, err = r.s.cancelDeliveries(r.tx, &c, r.replay.Cancel.Why(), r.replay.Key, events, ids); err != nil {
		return err
	}
	n := len(r.canceled)
	c.byReplay[r.replay.ID] += n
	r.progress.Canceled += int64(n)
	r.progress.Skipped += int64(len(ids) - n)
	return r.s.countUnsent(r.tx, &c)
}

// lockEvents reads the events of deliveries, and locks them so that they are not
// removed meanwhile.
func (r *replayStep) lockEvents(ids []callbackd.DeliveryID) (map[callbackd.EventID]*callbackd.Event, error) {
	wanted := make([]callbackd.EventID, len(ids))
	for i, id := range ids {
		wanted[i] = id.Event
	}
	events := make(map[callbackd.EventID]*callbackd.Event, len(ids))
	d := r.s.d
	err := r.tx.Query("SELECT "+eventColumns+" FROM events WHERE id "+d.In("$1")+d.LockShared, func(row Row) error {
		ev, err := r.s.scanEvent(row)
		events[ev.ID] = ev
		return err
	}, wanted)
	return events, err
}

// addTargets adds the callbacks of deliveries as late targets to the events that did not
// have them as targets.
func (r *replayStep) addTargets(ds []callbackd.Delivery, events map[callbackd.EventID]*callbackd.Event) error {
	var late [][]any
	for _, d := range ds {
		if !slices.Contains(events[d.ID.Event].Targets, d.ID.Callback) {
			late = append(late, []any{d.ID.Event, d.ID.Callback})
		}
	}
	return r.tx.Batch("INSERT INTO owed_later (event_id, callback_no) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING event_id", func(Row) error {
		r.progress.Created++
		return nil
	}, late)
}

// enqueue gives deliveries a pending row. One that has a row by now is skipped.
func (r *replayStep) enqueue(ds []callbackd.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	added, err := r.s.db.Enqueue(r.tx, ds)
	r.due = append(r.due, added...)
	if err != nil {
		return err
	}
	late := int(r.progress.Created)
	return errors.Join(r.s.Count(r.tx, string(callbackd.AcceptedLate), late), r.s.Count(r.tx, string(callbackd.AcceptedAgain), len(added)-late))
}

// hasten makes pending deliveries due that wait for a later time, of no other
// replay.
func (r *replayStep) hasten(ds []callbackd.Delivery) error {
	waiting := make(map[callbackd.DeliveryID]callbackd.Delivery, len(ds))
	var args [][]any
	for _, d := range ds {
		waiting[d.ID] = d
		args = append(args, []any{d.ID.Callback, d.ID.Event, d.Due, r.replay.ID})
	}
	return r.tx.Batch(`UPDATE pending SET step = 0, manual = true, due = $3, first_failed_at = NULL, holds_until = NULL, expires_at = NULL, replay = $4
		WHERE callback_no = $1 AND event_id = $2 AND due > $3 AND replay = 0 RETURNING callback_no, event_id, attempts`, func(row Row) error {
		var id callbackd.DeliveryID
		var attempts int
		err := row.Scan(&id.Callback, &id.Event, &attempts)
		d := waiting[id]
		d.Attempts = attempts
		r.due = append(r.due, d)
		return err
	}, args)
}
