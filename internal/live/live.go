// Package live streams attempts, as they are recorded, to any number of viewers.
// Each viewer has a bounded buffer: one that reads too slowly gets a sample of
// the attempts, and the number of those that it missed.
package live

import (
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Item is one attempt that was recorded.
type Item struct {
	Delivery callbackd.DeliveryID
	Event    callbackd.EventType
	Session  string
	Sequence int64
	State    callbackd.State // of the delivery after the attempt
	Status   int
	Fault    callbackd.Fault
	Attempt  int
	At       time.Time // when it ended
	Total    time.Duration
	Replay   callbackd.ReplayID
}

// MaxItems is how many attempts a viewer's buffer holds.
const MaxItems = 256

// Stream takes attempts from the engine and passes them to its viewers. The
// zero value is ready.
type Stream struct {
	viewers atomic.Int64
	mu      sync.Mutex
	keys    map[callbackd.KeyID]map[*Subscription]bool
}

// Subscription is one viewer with its buffer.
type Subscription struct {
	stream *Stream
	key    callbackd.KeyID
	c      chan struct{}

	mu     sync.Mutex
	items  []Item
	missed int64
}

// AttemptDone passes an attempt to the viewers. It never blocks, and costs next to
// nothing when there are no viewers.
func (f *Stream) AttemptDone(o *callbackd.Outcome, state callbackd.State, _ time.Duration) {
	ev := o.Delivery.Event
	if f.viewers.Load() == 0 || ev == nil {
		return
	}
	a := &o.Attempt
	item := Item{
		Delivery: o.Delivery.ID, Replay: o.Delivery.Replay, State: state,
		Event: ev.Type, Session: ev.Session, Sequence: ev.Sequence,
		Attempt: a.Number, Status: a.Status, Fault: a.Fault,
		At: a.EndedAt(), Total: a.Timings.Total,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.keys[ev.Key] {
		s.put(item)
	}
	for s := range f.keys[0] {
		s.put(item)
	}
}

func (s *Subscription) put(item Item) {
	s.mu.Lock()
	if len(s.items) < MaxItems {
		s.items = append(s.items, item)
	} else {
		s.missed++
	}
	s.mu.Unlock()
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// Subscribe returns a subscription to the attempts of a key, or of all keys when key is
// 0. The caller must close it in the end.
func (f *Stream) Subscribe(key callbackd.KeyID) *Subscription {
	s := &Subscription{stream: f, key: key, c: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[callbackd.KeyID]map[*Subscription]bool{}
	}
	if f.keys[key] == nil {
		f.keys[key] = map[*Subscription]bool{}
	}
	f.keys[key][s] = true
	f.viewers.Add(1)
	return s
}

// C returns a channel that gets a value when there is something to take.
func (s *Subscription) C() <-chan struct{} { return s.c }

// Take returns the attempts since the last call, oldest first, and how many more did not
// fit into the buffer.
func (s *Subscription) Take() (items []Item, missed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, missed = s.items, s.missed
	s.items, s.missed = nil, 0
	return items, missed
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	f := s.stream
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[s.key][s] {
		delete(f.keys[s.key], s)
		f.viewers.Add(-1)
	}
	if len(f.keys[s.key]) == 0 {
		delete(f.keys, s.key)
	}
}
