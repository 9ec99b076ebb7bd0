package engine

import (
	"time"

	"callbackd"
)

// Classes of deliveries, in the order in which they are started: first attempts go
// ahead of retries, and both ahead of replays.
const (
	firstAttempt = int(callbackd.FirstAttempts)
	retry        = int(callbackd.Retries)
	replay       = int(callbackd.Replays)
	numClasses   = replay + 1
)

// classOf returns the class of a delivery in the store.
func classOf(d *callbackd.Delivery) int {
	switch {
	case d.Replay != 0:
		return replay
	case !d.Due.IsZero():
		return retry
	}
	return firstAttempt
}

// source says how much of one class of a callback's deliveries is in memory, and
// what the store has besides. First attempts are read in the order of their ids, up
// to a cursor; retries and replays when they are due.
type source struct {
	inMemory int       // without first attempts that wait for a head or another callback
	cursor   cursor    // of first attempts
	next     time.Time // of retries and replays: when the store's next one is due; zero: it has none
}

// note remembers that the store has a retry or a replay that is due then.
func (s *source) note(due time.Time) {
	if s.next.IsZero() || due.Before(s.next) {
		s.next = due
	}
}

// isDue reports whether the store has deliveries that memory lacks and that may be
// sent at now.
func (s *source) isDue(now time.Time) bool {
	return s.cursor.more || !s.next.IsZero() && !s.next.After(now)
}

// isEmpty reports whether the store has nothing that memory lacks.
func (s *source) isEmpty() bool { return !s.cursor.more && s.next.IsZero() }

// cursor says how far the first attempts of a queue, or of one lane, have come into
// memory.
type cursor struct {
	at   callbackd.EventID // the newest that was read or handed over
	told callbackd.EventID // the newest that the engine was told of
	more bool              // the store has some that follow at, or that must be read again
	// again is the lowest id that must be read again; 0: none. A lane has one only for a
	// delivery that was deferred: otherwise all of it is read from at on.
	again callbackd.EventID
}

// tell notes a first attempt that the engine was told of.
func (c *cursor) tell(id callbackd.EventID) { c.told = max(c.told, id) }

// reread makes the ids from one on be read, once more if need be.
func (c *cursor) reread(id callbackd.EventID) {
	if c.again == 0 || id < c.again {
		c.again = id
	}
	c.more = true
}

// goBack makes the next read begin with what must be read again.
func (c *cursor) goBack() {
	if c.again != 0 {
		c.at = min(c.at, c.again-1)
		c.again = 0
	}
}

// readTo notes the end of a read that began when the engine had been told of the
// ids up to told. full says that the store may have more. The read saw everything
// that the engine had been told of. What it was told of since is in the store only.
func (c *cursor) readTo(told callbackd.EventID, full bool) {
	if !full {
		c.at = max(c.at, told)
	}
	c.more = full || c.told > c.at || c.again != 0
}

// known says which deliveries of a queue a read must not bring, because they are in
// memory or the read is older than their last outcome.
type known struct {
	// inMemory holds those in memory that are not first attempts, and the tests in
	// flight.
	inMemory map[callbackd.EventID]bool
	// recorded holds what was recorded since the read under way began: its result may
	// still show it.
	recorded map[callbackd.EventID]bool
	// dueAgain holds what was made due again before the engine heard of the end of its
	// attempt.
	dueAgain map[callbackd.EventID]callbackd.Delivery
}

func newKnown() known {
	return known{map[callbackd.EventID]bool{}, map[callbackd.EventID]bool{}, map[callbackd.EventID]callbackd.Delivery{}}
}

// has reports whether a delivery is in memory or was recorded while a read ran.
func (k *known) has(id callbackd.EventID) bool { return k.inMemory[id] || k.recorded[id] }

// clear forgets what waits. What was recorded still is.
func (k *known) clear() {
	clear(k.inMemory)
	clear(k.dueAgain)
}
