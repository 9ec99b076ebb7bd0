package engine

import (
	"time"

	"callbackd"
)

// flight counts attempts that are under way: of the engine, of the receivers that may
// hang, or of one callback.
type flight struct {
	attempts  int   // exchanges with receivers
	bytes     int64 // of their bodies
	recording int   // outcomes on their way into the store
}

// slot is what an attempt in flight takes up.
type slot struct {
	replay  bool
	mayHang bool
	bytes   int64
	origin  *origin // nil: its callback is not on probation, or it is a test-send
}

// takeSlot counts an attempt of d that begins.
func (e *Engine) takeSlot(q *callbackQueue, d *callbackd.Delivery) slot {
	s := slot{replay: d.Replay != 0, mayHang: q.mayHang()}
	e.flight.attempts++
	q.flight.attempts++
	if s.replay {
		q.replays++
	}
	if s.mayHang {
		e.mayHang.attempts++
	}
	e.addBytes(q, &s, q.bytesOf(d))
	if o := q.trial.origin; o != nil && !d.AtOnce {
		s.origin = o
		q.trial.start(q.setting.cb, e.now())
	}
	return s
}

// returnSlot counts the end of an exchange, whose outcome is to be recorded.
func (e *Engine) returnSlot(q *callbackQueue, s *slot) {
	e.flight.attempts--
	q.flight.attempts--
	e.flight.recording++
	q.flight.recording++
	if s.replay {
		q.replays--
	}
	if s.mayHang {
		e.mayHang.attempts--
	}
	e.addBytes(q, s, -s.bytes)
}

// addBytes counts n more bytes in flight for an attempt of q. n may be negative.
func (e *Engine) addBytes(q *callbackQueue, s *slot, n int64) {
	s.bytes += n
	e.flight.bytes += n
	q.flight.bytes += n
	if s.mayHang {
		e.mayHang.bytes += n
	}
}

// share returns how much of a total is left for one callback at now. 1/8 is reserved for
// callbacks that use nothing of it and for those whose receiver answers, so that receivers
// that hang leave something for the others, also while nothing shows yet that they hang.
// Callbacks that may hang share 1/2, or 3/4 for their first attempt, so that the rest is for
// receivers known to answer. used, own and mayHang are what all attempts, those of the
// callback and those that may hang use of it.
func (q *callbackQueue) share(total, used, own, mayHang int64, now time.Time) int64 {
	left := total - used
	mayHangShare := total * 3 / 4
	if own > 0 {
		// What one that answers takes of the reserve gets smaller with the rest of it, so
		// that several divide it.
		if !q.answers(now) || own >= left/4 {
			left -= total / 8
		}
		mayHangShare = total / 2
	}
	if q.mayHang() {
		left = min(left, max(1, mayHangShare)-mayHang)
	}
	return left
}

// answersFor is how long after an answer a receiver counts as one that answers.
const answersFor = time.Second

// answers reports whether the receiver answers at now, by what it did last.
func (q *callbackQueue) answers(now time.Time) bool { return now.Sub(q.answeredAt) < answersFor }

// isFull reports whether no attempt of any callback may start. Outcomes that wait to
// be recorded count too: a store that falls behind slows the starts down.
func (e *Engine) isFull() bool {
	return e.flight.attempts >= e.options.MaxInFlight || e.flight.recording >= e.options.MaxInFlight
}

// hasSlot reports whether the callback may start one more attempt.
func (e *Engine) hasSlot(q *callbackQueue, now time.Time) bool {
	return q.share(int64(e.options.MaxInFlight), int64(e.flight.attempts), int64(q.flight.attempts), int64(e.mayHang.attempts), now) > 0
}

// hasBytes reports whether the body that the callback would send next of a class
// fits into the bytes in flight. One body is always let through, however large.
func (e *Engine) hasBytes(q *callbackQueue, class int, now time.Time) bool {
	l, ok := q.ready[class].peek()
	if !ok || e.flight.bytes == 0 {
		return true
	}
	d := l.next(class)
	return d == nil || q.bytesOf(d) <= q.share(e.options.FlightBudget, e.flight.bytes, q.flight.bytes, e.mayHang.bytes, now)
}

// bytesOf estimates the bytes of the body that an attempt of d has in flight.
// An event that is not in memory counts as the largest allowed.
func (q *callbackQueue) bytesOf(d *callbackd.Delivery) int64 {
	n := int64(callbackd.MaxEventData)
	if d.Event != nil {
		n = int64(len(d.Event.Data))
	}
	if q.setting.cb != nil {
		n += int64(len(q.setting.cb.Payload))
	}
	return n
}
