package front

import (
	"container/list"
	"context"
	"slices"
	"time"
)

// queues holds the arrays that wait for room, first come first served for each API key. The
// keys take turns.
type queues struct {
	keys []string // whose turn is next
	by   map[string]*list.List
	n    int // of all keys
}

// array is an array that waits for room.
type array struct {
	events int
	begun  chan *Accepting // holds one
}

func (q *queues) has(key string) bool { return q.by[key] != nil }

// add adds an array as the last one of its key.
func (q *queues) add(key string, a *array) *list.Element {
	if q.by == nil {
		q.by = map[string]*list.List{}
	}
	if q.by[key] == nil {
		q.by[key] = list.New()
		q.keys = append(q.keys, key)
	}
	q.n++
	return q.by[key].PushBack(a)
}

// remove removes an array.
func (q *queues) remove(key string, at *list.Element) {
	of := q.by[key]
	of.Remove(at)
	q.n--
	if of.Len() == 0 {
		delete(q.by, key)
		q.keys = slices.DeleteFunc(q.keys, func(k string) bool { return k == key })
	}
}

// wait waits until an array has room. mu is held, and released.
func (o *Overload) wait(ctx context.Context, key string, events int) (*Accepting, error) {
	a := &array{events, make(chan *Accepting, 1)}
	at := o.queues.add(key, a)
	o.mu.Unlock()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case begun := <-a.begun:
		return begun, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case begun := <-a.begun: // in the meantime
		return begun, nil
	default:
	}
	o.queues.remove(key, at)
	return nil, o.refusal()
}

// admit begins the arrays for which there is room. mu is held.
func (o *Overload) admit() {
	for without := 0; without < len(o.queues.keys); {
		key := o.queues.keys[0]
		o.queues.keys = append(o.queues.keys[1:], key)
		first := o.queues.by[key].Front()
		a := first.Value.(*array)
		if !o.hasRoom(key, a.events) {
			without++
			continue
		}
		without = 0
		o.queues.remove(key, first)
		a.begun <- o.begin(key, a.events)
	}
}
