package engine

import "sync"

// workers runs attempts and reads on goroutines that are used again. The stack of a new goroutine
// grows several times during an attempt, which costs more than all else about its start.
// Goroutines stay only while others are busy, so that an engine without work has none.
type workers struct {
	mu   sync.Mutex
	busy int
	idle []chan func() // one for each idle goroutine
}

// maxIdleWorkers limits the memory of stacks after many attempts at a time.
const maxIdleWorkers = 256

// run runs f on another goroutine.
func (w *workers) run(f func()) {
	w.mu.Lock()
	w.busy++
	var next chan func()
	if n := len(w.idle); n > 0 {
		next, w.idle = w.idle[n-1], w.idle[:n-1]
	}
	w.mu.Unlock()
	if next == nil {
		next = make(chan func(), 1)
		go w.work(next)
	}
	next <- f
}

// work runs what comes, until the goroutine is not needed any more.
func (w *workers) work(next chan func()) {
	for f := range next {
		f()
		if !w.rest(next) {
			return
		}
	}
}

// rest makes a goroutine idle, and reports whether it may be needed again.
func (w *workers) rest(next chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if w.busy > 0 && len(w.idle) < maxIdleWorkers {
		w.idle = append(w.idle, next)
		return true
	}
	if w.busy == 0 {
		for _, other := range w.idle {
			close(other)
		}
		w.idle = nil
	}
	return false
}
