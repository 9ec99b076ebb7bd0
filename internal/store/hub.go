package store

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"callbackd"
)

// Hub notifies the watchers of a key when an event of the key was committed. Every
// driver has one. The zero value is ready.
type Hub struct {
	watched atomic.Int64
	mu      sync.Mutex
	keys    map[callbackd.KeyID]map[chan struct{}]bool
}

// Watch implements the method of [Events].
func (h *Hub) Watch(key callbackd.KeyID) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys = map[callbackd.KeyID]map[chan struct{}]bool{}
	}
	if h.keys[key] == nil {
		h.keys[key] = map[chan struct{}]bool{}
	}
	h.keys[key][ch] = true
	h.watched.Add(1)
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.keys[key][ch] {
			delete(h.keys[key], ch)
			h.watched.Add(-1)
		}
		if len(h.keys[key]) == 0 {
			delete(h.keys, key)
		}
	}
}

// Watched returns the keys with watchers.
func (h *Hub) Watched() []callbackd.KeyID {
	if h.watched.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.keys))
}

// Changed notifies the watchers of a key. It never blocks.
func (h *Hub) Changed(key callbackd.KeyID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.keys[key] {
		select {
		case ch <- struct{}{}:
		default: // a value waits there already
		}
	}
}

// Committed notifies the watchers of the keys of evs. It never blocks, and costs next to
// nothing without watchers.
func (h *Hub) Committed(evs []*callbackd.Event) {
	if len(evs) == 0 || h.watched.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := callbackd.KeyID(-1)
	for _, ev := range evs {
		if ev.Key == last {
			continue
		}
		last = ev.Key
		for ch := range h.keys[ev.Key] {
			select {
			case ch <- struct{}{}:
			default: // a value waits there already
			}
		}
	}
}
