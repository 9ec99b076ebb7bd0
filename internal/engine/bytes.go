package engine

import "callbackd"

// load is an event that attempts under way read from the store, once for all
// of them.
type load struct {
	ready chan struct{}
	ev    *callbackd.Event
	err   error
	users int
}

// event returns an event that is not in memory, shared by all attempts that
// need it meanwhile; done ends the use.
func (e *Engine) event(id callbackd.EventID) (ev *callbackd.Event, done func(), err error) {
	e.mu.Lock()
	l := e.loads[id]
	first := l == nil
	if first {
		l = &load{ready: make(chan struct{})}
		e.loads[id] = l
	}
	l.users++
	e.mu.Unlock()
	if first {
		l.ev, l.err = e.o.Queue.EventByID(e.ctx, id)
		close(l.ready)
	}
	<-l.ready
	done = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if l.users--; l.users == 0 || l.err != nil {
			if e.loads[id] == l {
				delete(e.loads, id)
			}
		}
	}
	if l.err != nil {
		done()
		return nil, func() {}, l.err
	}
	return l.ev, done, nil
}

// bytesOf is what an attempt of d has in flight: its body, about. What is not
// in memory yet may be as large as events are.
func (t *target) bytesOf(d *callbackd.Delivery) int64 {
	n := int64(callbackd.MaxEventData)
	if d.Event != nil {
		n = int64(len(d.Event.Data))
	}
	if t.cb != nil {
		n += int64(len(t.cb.Payload))
	}
	return n
}

// hasBytesFor tells whether the bytes in flight leave room for n more of t.
// The room is divided as places are; see placesFor.
func (e *Engine) hasBytesFor(t *target, n int64) bool {
	left, suspects := e.o.FlightBudget-e.flight, e.o.FlightBudget*3/4
	if t.flight > 0 {
		left -= e.o.FlightBudget / 8
		suspects = e.o.FlightBudget / 2
	}
	if t.suspect() {
		left = min(left, suspects-e.suspectFlight)
	}
	return n <= left || e.flight == 0
}

// fits tells whether the bytes in flight leave room for what t would start
// next.
func (t *target) fits(e *Engine, class int) bool {
	l, ok := t.ready[class].peek()
	if !ok {
		return true
	}
	d := l.next(class)
	return d == nil || e.hasBytesFor(t, t.bytesOf(d))
}

// carry counts n more bytes in flight for an attempt of t; n may be negative.
func (e *Engine) carry(t *target, p *place, n int64) {
	p.bytes += n
	t.flight += n
	e.flight += n
	if p.suspect {
		e.suspectFlight += n
	}
}
