package engine

import "container/heap"

// ring is a first-in, first-out queue.
type ring[T any] struct {
	items []T
	first int
}

func (r *ring[T]) len() int { return len(r.items) - r.first }

func (r *ring[T]) push(v T) {
	if r.first > 64 && r.first > len(r.items)/2 {
		n := copy(r.items, r.items[r.first:])
		clear(r.items[n:])
		r.items, r.first = r.items[:n], 0
	}
	r.items = append(r.items, v)
}

func (r *ring[T]) pop() (v T, ok bool) {
	if r.len() == 0 {
		return v, false
	}
	var zero T
	v, r.items[r.first] = r.items[r.first], zero
	if r.first++; r.first == len(r.items) {
		r.items, r.first = r.items[:0], 0
	}
	return v, true
}

// peek is pop without taking.
func (r *ring[T]) peek() (v T, ok bool) {
	if r.len() == 0 {
		return v, false
	}
	return r.items[r.first], true
}

// heldLanes is a heap of held lanes, the one with something to do first at
// the top.
type heldLanes struct{ lanes []*lane }

func (h *heldLanes) Len() int           { return len(h.lanes) }
func (h *heldLanes) Less(i, j int) bool { return h.lanes[i].wakeAt().Before(h.lanes[j].wakeAt()) }
func (h *heldLanes) Swap(i, j int) {
	h.lanes[i], h.lanes[j] = h.lanes[j], h.lanes[i]
	h.lanes[i].index, h.lanes[j].index = i, j
}

// Push is part of heap.Interface.
func (h *heldLanes) Push(v any) {
	l := v.(*lane)
	l.index = len(h.lanes)
	h.lanes = append(h.lanes, l)
}

// Pop is part of heap.Interface.
func (h *heldLanes) Pop() any {
	l := h.lanes[len(h.lanes)-1]
	h.lanes[len(h.lanes)-1] = nil
	h.lanes = h.lanes[:len(h.lanes)-1]
	l.index = -1
	return l
}

// fix restores the order after the lane's times changed.
func (h *heldLanes) fix(l *lane) {
	if l.index >= 0 {
		heap.Fix(h, l.index)
	}
}
