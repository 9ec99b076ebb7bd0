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
