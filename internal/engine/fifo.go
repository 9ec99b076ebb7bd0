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

// line is a queue in which each item waits at most once.
type line[T any] struct{ fifo[waiter[T]] }

type waiter[T any] struct {
	v      T
	inLine *bool // of the item, for this line
}

// join puts v at the end of the line, unless it is in the line already.
func (l *line[T]) join(v T, inLine *bool) {
	if !*inLine {
		*inLine = true
		l.push(waiter[T]{v, inLine})
	}
}

// next takes the first item out of the line.
func (l *line[T]) next() (v T, ok bool) {
	w, ok := l.pop()
	if ok {
		*w.inLine = false
	}
	return w.v, ok
}

// peek returns the first item and leaves it in the line.
func (l *line[T]) peek() (v T, ok bool) {
	if l.len() == 0 {
		return v, false
	}
	return l.items[l.first].v, true
}
