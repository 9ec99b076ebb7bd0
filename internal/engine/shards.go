package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"
)

// holding is what the engine has of a shard of a shared queue.
type holding uint8

const (
	notOurs holding = iota
	adopting
	ours
)

// errLease: the lease ended between the start of an attempt and its sending.
var errLease = callbackd.Errorf(callbackd.KindUnavailable, "the lease of this node ended")

// owns tells whether the engine delivers for a callback.
func (e *Engine) owns(no callbackd.CallbackID) bool {
	return !e.o.Shared || e.shards[callbackd.ShardOf(no)] != notOurs
}

// mayStart tells whether attempts may be started at now.
func (e *Engine) mayStart(now time.Time) bool {
	return e.running && !e.draining && e.leased(now)
}

// leased compares both clocks: the monotonic one stands still while a virtual
// machine is suspended, the other may be set back.
func (e *Engine) leased(now time.Time) bool {
	return !e.o.Shared || now.Before(e.lease) && now.Round(0).Before(e.lease.Round(0))
}

// holds is leased at this moment, with the shard of t still held.
func (e *Engine) holds(t *target) bool {
	if !e.o.Shared {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return !t.abandoned && e.leased(time.Now())
}

// Hold lets attempts of a shared queue start until then.
func (e *Engine) Hold(until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lease = until
	e.pump(time.Now())
}

// forget makes everything that the store holds for the target unknown: ask.
func (t *target) forget() {
	t.behind, t.holding = true, true
	t.rewind = 1
	t.nextDue, t.nextReplay = time.Unix(0, 0), time.Unix(0, 0)
}

// rewound moves the cursor back to what must be read again.
func (t *target) rewound() {
	if t.rewind != 0 {
		t.cursor, t.rewind = min(t.cursor, t.rewind-1), 0
	}
}

// readFrom makes FirstAttempts be read from an id on.
func (t *target) readFrom(id callbackd.EventID) {
	if t.rewind == 0 || id < t.rewind {
		t.rewind = id
	}
	t.behind = true
}

// Adopt makes the engine deliver for shards, from what the store holds and
// from what it is told of from now on. After an error it is to be called
// again, or Disown.
func (e *Engine) Adopt(ctx context.Context, shards []callbackd.Shard) error {
	e.mu.Lock()
	e.floors = floors{}
	for _, s := range shards {
		e.shards[s] = adopting
	}
	e.mu.Unlock()
	backlogs, err := e.o.Queue.Backlogs(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, no := range backlogs {
		if e.shards[callbackd.ShardOf(no)] == adopting {
			t := e.target(no)
			t.forget()
			e.fetch(t)
		}
	}
	for _, s := range shards {
		if e.shards[s] == adopting {
			e.shards[s] = ours
		}
	}
	return nil
}

// Rescan reads from the store what the engine should know already: the net
// under messages that were lost.
func (e *Engine) Rescan(ctx context.Context) error {
	backlogs, err := e.o.Queue.Backlogs(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.floors = floors{}
	for _, t := range e.targets { // also those that are owed nothing now
		t.stale = true
		e.fetch(t)
	}
	for _, no := range backlogs {
		if e.owns(no) {
			t := e.target(no)
			t.stale = true
			t.readFrom(1)
			t.noteDue(time.Unix(0, 0))
			t.noteReplay(time.Unix(0, 0))
			e.fetch(t)
		}
	}
	return nil
}

// release tells of shards that are given up, each when nothing of it is under
// way any more.
type release struct {
	left    map[callbackd.Shard]int
	drained chan callbackd.Shard
}

func (r *release) one(s callbackd.Shard) {
	if r.left[s]--; r.left[s] == 0 {
		delete(r.left, s)
		r.drained <- s // there is room for all
	}
	if len(r.left) == 0 {
		close(r.drained)
	}
}

// Disown starts nothing more for shards, which it had adopted. The channel
// gives each of them when what was under way for it is recorded, so that it
// may be another node's, and is closed after the last.
func (e *Engine) Disown(shards []callbackd.Shard) <-chan callbackd.Shard {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &release{left: map[callbackd.Shard]int{}, drained: make(chan callbackd.Shard, len(shards))}
	for _, s := range shards {
		e.shards[s] = notOurs
		r.left[s] = 1
	}
	for _, t := range e.targets {
		if s := callbackd.ShardOf(t.id); r.left[s] > 0 && !t.leaving {
			t.drained = r
			r.left[s]++
			e.leave(t)
		}
	}
	if len(shards) == 0 {
		close(r.drained)
	}
	for _, s := range shards {
		r.one(s)
	}
	return r.drained
}

// Abandon forgets everything at once: the shards are another node's already.
// What is under way is not recorded any more, and what is being recorded will
// be refused by the store. The channel is closed when that was answered: not
// before then may the process take another number, with which the store would
// let it pass.
func (e *Engine) Abandon() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shards, e.floors = [callbackd.Shards]holding{}, floors{}
	for no, t := range e.targets {
		t.abandoned = true
		e.leave(t)
		delete(e.targets, no)
	}
	if e.quiet == nil {
		e.quiet = make(chan struct{})
	}
	quiet := e.quiet
	e.isQuiet()
	return quiet
}

// written counts an outcome that the store answered.
func (e *Engine) written() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing--
	e.isQuiet()
}

func (e *Engine) isQuiet() {
	if e.writing == 0 && e.quiet != nil {
		close(e.quiet)
		e.quiet = nil
	}
}

func (e *Engine) leave(t *target) {
	t.leaving = true
	t.leaveOrigin()
	t.stopTimer()
	t.clear(e)
	e.left(t)
}

// left forgets a target that is leaving when nothing of it is under way.
func (e *Engine) left(t *target) {
	if !t.leaving || t.inFlight > 0 || t.recording > 0 || t.fetching {
		return
	}
	if e.targets[t.id] == t {
		delete(e.targets, t.id)
	}
	if t.drained != nil {
		t.drained.one(callbackd.ShardOf(t.id))
		t.drained = nil
	}
}

// look reads the delivery's lane from the store, unless FirstAttempts comes to it
// anyhow or memory has no place for one more lane. A query that runs may have
// passed it.
func (e *Engine) look(t *target, session string, id callbackd.EventID) {
	switch {
	case t.behind && id > t.cursor && !t.fetching:
	case t.behind || !e.running || t.paused || t.count >= e.o.Window || len(t.wants) >= e.o.Window || len(t.held.lanes) >= maxHeld:
		t.readFrom(id)
	default:
		e.ask(t, session, id)
	}
}

// ask puts a lane that may have more in the store among those to be read.
func (e *Engine) ask(t *target, session string, id callbackd.EventID) {
	l := t.lane(session)
	if l.last == 0 {
		f := e.floors.of(t.id, session)
		l.last, l.number = f.id, f.number
	}
	l.seen = max(l.seen, id)
	if id > l.last && !t.settled[id] && !t.taken[id] {
		l.more = true
	}
	t.wake(e, l)
}

// putBack undoes take for a delivery that was not sent.
func (t *target) putBack(l *lane, d callbackd.Delivery) {
	d.Event = nil
	switch {
	case !d.HoldsUntil.IsZero() && l.head == nil:
		l.head = &d
		t.taken[d.ID.Event] = true
		t.count -= len(l.queue)
	case d.Replay != 0:
		l.later = slices.Insert(l.later, 0, d)
		t.replays++
		t.taken[d.ID.Event] = true
	case !d.Due.IsZero():
		l.again = slices.Insert(l.again, 0, d)
		t.retries++
		t.taken[d.ID.Event] = true
	default:
		l.queue = slices.Insert(l.queue, 0, d)
		if l.head == nil {
			t.count++
		}
	}
}
