// Package live shows what happens now to those who look: attempts as they are
// recorded, to any number of viewers, each with a bounded buffer. A viewer
// that is slower than the attempts gets a sample and is told so.
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
	State    callbackd.State // of the delivery after it
	Status   int
	Fault    callbackd.Fault
	Attempt  int
	At       time.Time // when it ended
	Total    time.Duration
	Replay   callbackd.ReplayID
}

// MaxItems is how many a viewer's buffer holds.
const MaxItems = 256

// Feed takes attempts from the engine. The zero value is ready.
type Feed struct {
	viewers atomic.Int64
	mu      sync.Mutex
	keys    map[callbackd.KeyID]map[*Subscription]bool
}

// Subscription is one viewer.
type Subscription struct {
	feed *Feed
	key  callbackd.KeyID
	c    chan struct{}

	mu     sync.Mutex
	items  []Item
	missed int64
}

// AttemptDone gives an attempt to those who look. It never blocks, and is
// next to free when nobody does.
func (f *Feed) AttemptDone(o *callbackd.Outcome, state callbackd.State, _ time.Duration) {
	ev := o.Delivery.Event
	if f.viewers.Load() == 0 || ev == nil {
		return
	}
	a := &o.Attempt
	item := Item{Delivery: o.Delivery.ID, Event: ev.Type, Session: ev.Session, Sequence: ev.Sequence, State: state, Status: a.Status, Fault: a.Fault,
		Attempt: a.Number, At: a.StartedAt.Add(a.Timings.Total), Total: a.Timings.Total, Replay: o.Delivery.Replay}
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

// Subscribe looks at the attempts of a key, or of all keys with 0. Close it
// at the end.
func (f *Feed) Subscribe(key callbackd.KeyID) *Subscription {
	s := &Subscription{feed: f, key: key, c: make(chan struct{}, 1)}
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

// C has a value when there is something to take.
func (s *Subscription) C() <-chan struct{} { return s.c }

// Take returns what has come since the last call, oldest first, and how many
// more there were.
func (s *Subscription) Take() (items []Item, missed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, missed = s.items, s.missed
	s.items, s.missed = nil, 0
	return items, missed
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	f := s.feed
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
