package engine

import "callbackd"

// eventRead is an event that attempts read from the store, once for all that
// need it at the same time.
type eventRead struct {
	done  chan struct{} // closed when event and err are set
	event *callbackd.Event
	err   error
	users int
}

// loadEvent returns an event that is not in memory. The caller calls done when
// it no longer needs the event.
func (e *Engine) loadEvent(id callbackd.EventID) (ev *callbackd.Event, done func(), err error) {
	e.mu.Lock()
	r := e.eventReads[id]
	isFirst := r == nil
	if isFirst {
		r = &eventRead{done: make(chan struct{})}
		e.eventReads[id] = r
	}
	r.users++
	e.mu.Unlock()
	if isFirst {
		r.event, r.err = e.options.Queue.EventByID(e.ctx, id)
		close(r.done)
	}
	<-r.done
	done = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		r.users--
		if (r.users == 0 || r.err != nil) && e.eventReads[id] == r {
			delete(e.eventReads, id)
		}
	}
	if r.err != nil {
		done()
		return nil, func() {}, r.err
	}
	return r.event, done, nil
}

// bytesOf estimates the bytes of the body that an attempt of d has in flight.
// An event that is not in memory counts as the largest allowed.
func (q *callbackQueue) bytesOf(d *callbackd.Delivery) int64 {
	n := int64(callbackd.MaxEventData)
	if d.Event != nil {
		n = int64(len(d.Event.Data))
	}
	if q.cb != nil {
		n += int64(len(q.cb.Payload))
	}
	return n
}

// hasBytesFor tells whether n more bytes of q may be in flight. The budget is
// divided as slots are; see slotsFor. One body is always let through, however
// large.
func (e *Engine) hasBytesFor(q *callbackQueue, n int64) bool {
	budget := e.options.FlightBudget
	left := budget - e.flightBytes
	mayHangShare := budget * 3 / 4
	if q.flightBytes > 0 {
		left -= budget / 8
		mayHangShare = budget / 2
	}
	if q.mayHang() {
		left = min(left, mayHangShare-e.mayHangBytes)
	}
	return n <= left || e.flightBytes == 0
}

// fitsBytes tells whether what q would start next of a class fits into the
// bytes in flight.
func (q *callbackQueue) fitsBytes(e *Engine, class int) bool {
	l, ok := q.ready[class].peek()
	if !ok {
		return true
	}
	d := l.next(class)
	return d == nil || e.hasBytesFor(q, q.bytesOf(d))
}

// addBytes counts n more bytes in flight for an attempt of q. n may be negative.
func (e *Engine) addBytes(q *callbackQueue, s *slot, n int64) {
	s.bytes += n
	q.flightBytes += n
	e.flightBytes += n
	if s.mayHang {
		e.mayHangBytes += n
	}
}
