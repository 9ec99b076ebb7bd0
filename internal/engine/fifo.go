package engine

// fifo is a first-in, first-out queue.
type fifo[T any] struct {
	items []T
	first int
}

func (r *fifo[T]) len() int { return len(r.items) - r.first }

func (r *fifo[T]) push(v T) {
	if r.first > 64 && r.first > len(r.items)/2 {
		n := copy(r.items, r.items[r.first:])
		clear(r.items[n:])
		r.items = r.items[:n]
		r.first = 0
	}
	r.items = append(r.items, v)
}

func (r *fifo[T]) pop() (v T, ok bool) {
	if r.len() == 0 {
		return v, false
	}
	var zero T
	v, r.items[r.first] = r.items[r.first], zero
	r.first++
	if r.first == len(r.items) {
		r.items = r.items[:0]
		r.first = 0
	}
	return v, true
}

// peek returns the first item without removing it.
func (r *fifo[T]) peek() (v T, ok bool) {
	if r.len() == 0 {
		return v, false
	}
	return r.items[r.first], true
}
