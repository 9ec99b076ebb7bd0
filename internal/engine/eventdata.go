package engine

import "callbackd"

// eventData says what the engine has in memory of the data of events.
type eventData struct {
	bytes int64 // data of deliveries in memory
	reads map[callbackd.EventID]*eventRead
}

// dataOf returns the bytes of event data that a delivery has in memory.
func dataOf(d *callbackd.Delivery) int64 {
	if d.Event == nil {
		return 0
	}
	return int64(len(d.Event.Data))
}

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
func (e *Engine) loadEvent(key callbackd.KeyID, id callbackd.EventID) (ev *callbackd.Event, done func(), err error) {
	e.mu.Lock()
	r := e.events.reads[id]
	isFirst := r == nil
	if isFirst {
		r = &eventRead{done: make(chan struct{})}
		e.events.reads[id] = r
	}
	r.users++
	e.mu.Unlock()
	if isFirst {
		r.event, r.err = e.options.Queue.Event(e.ctx, key, id)
		close(r.done)
	}
	<-r.done
	done = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		r.users--
		if (r.users == 0 || r.err != nil) && e.events.reads[id] == r {
			delete(e.events.reads, id)
		}
	}
	if r.err != nil {
		done()
		return nil, func() {}, r.err
	}
	return r.event, done, nil
}
