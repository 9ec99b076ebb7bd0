package engine

import (
	"container/heap"
	"context"
	"time"

	"callbackd"
)

// noteDue remembers that the store holds a delivery due then.
func (t *target) noteDue(due time.Time) {
	if t.nextDue.IsZero() || due.Before(t.nextDue) {
		t.nextDue = due
	}
}

// noteReplay is noteDue for what a replay made due.
func (t *target) noteReplay(due time.Time) {
	if t.nextReplay.IsZero() || due.Before(t.nextReplay) {
		t.nextReplay = due
	}
}

// note remembers that the store holds d, which waits.
func (t *target) note(d *callbackd.Delivery) {
	if d.Replay != 0 {
		t.noteReplay(d.Due)
	} else {
		t.noteDue(d.Due)
	}
}

// revive is note for a delivery that was made due again from outside. It may
// have ended while a query ran that is under way still, and must not be taken
// for settled when the next one shows it.
//
// The engine may not have heard yet of the end of the attempt before. What a
// query shows until then is taken for that one, so it is asked for once more
// when the engine hears of it: see ended.
func (t *target) revive(d *callbackd.Delivery) {
	delete(t.settled, d.ID.Event)
	if l := t.lanes[d.Session]; t.taken[d.ID.Event] || l != nil && l.busy && l.flying == d.ID.Event {
		t.revived[d.ID.Event] = *d
	}
	t.note(d)
}

// ended notes that the engine has heard of the end of an attempt.
func (t *target) ended(id callbackd.EventID) {
	if t.fetching {
		t.settled[id] = true
	}
	delete(t.taken, id)
	if d, ok := t.revived[id]; ok {
		delete(t.revived, id)
		t.note(&d)
	}
}

// hasten makes d due when it is the head of its lane, and tells whether it is.
func (t *target) hasten(d *callbackd.Delivery) bool {
	l := t.lanes[d.Session]
	if l == nil || l.head == nil || l.head.ID != d.ID {
		return false
	}
	l.head.Due, l.head.Manual, l.head.Step, l.head.Replay = d.Due, true, 0, d.Replay
	t.held.fix(l)
	return true
}

// release makes due at once what waits for a later time: here, the heads in
// memory; the rest is made due in the store, step by step, as it can be sent.
func (t *target) release(now time.Time) {
	t.releasing = true
	for _, l := range t.held.lanes {
		if l.head.Due.After(now) {
			l.head.Due = now
		}
	}
	heap.Init(&t.held)
}

func (e *Engine) makeDue(t *target, now time.Time) query {
	asked := t.cb.ReleasedAt
	return func(ctx context.Context) (func(time.Time), error) {
		moved, done, err := e.o.Queue.MakeDue(ctx, t.id, now, makeDuePage)
		return func(time.Time) {
			if moved > 0 {
				t.noteDue(now)
				t.noteReplay(now)
			}
			if done && t.cb.ReleasedAt.Equal(asked) {
				t.releasing = false
			}
		}, err
	}
}
