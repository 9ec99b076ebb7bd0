package codec

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"callbackd"
	"callbackd/internal/store"
)

// firstOwn is the number of the first event type of a platform. callbackd's own have their
// positions in callbackd.EventTypes, from 1. New ones may be added at the end of that list
// only.
const firstOwn = 1000

// maxOwn is the last number: it is stored in 16 bits.
const maxOwn = 1<<15 - 1

// EventTypes numbers the types of events in one database. The numbers of a platform's own
// types are rows of the table event_types; they are never removed, because stored events
// have them.
type EventTypes struct {
	// Load reads the table event_types. It is called for a number that is not known yet:
	// another node has stored the type since. nil: there is no other node.
	Load func() (map[int64]callbackd.EventType, error)

	loading sync.Mutex
	own     atomic.Pointer[ownTypes]
}

type ownTypes struct {
	numbers map[callbackd.EventType]int64
	names   map[int64]callbackd.EventType
}

// Set replaces what is known of the table event_types.
func (e *EventTypes) Set(names map[int64]callbackd.EventType) {
	own := &ownTypes{numbers: make(map[callbackd.EventType]int64, len(names)), names: names}
	for n, t := range names {
		own.numbers[t] = n
	}
	e.own.Store(own)
}

// Number returns the number that is stored for an event type; 0 when there is none.
func (e *EventTypes) Number(t callbackd.EventType) int64 {
	if n := TypeNumber(t); n != 0 {
		return n
	}
	if own := e.own.Load(); own != nil {
		return own.numbers[t]
	}
	return 0
}

// Name returns the event type with a stored number. 0 stands for no type.
func (e *EventTypes) Name(n int64) (callbackd.EventType, error) {
	if n < firstOwn {
		return Type(n), nil
	}
	if t, ok := e.known(n); ok {
		return t, nil
	}
	e.loading.Lock()
	defer e.loading.Unlock()
	if t, ok := e.known(n); ok {
		return t, nil
	}
	if e.Load != nil {
		names, err := e.Load()
		if err != nil {
			return "", fmt.Errorf("read the types of events: %w", err)
		}
		e.Set(names)
	}
	if t, ok := e.known(n); ok {
		return t, nil
	}
	return "", fmt.Errorf("the table event_types has no number %d", n)
}

func (e *EventTypes) known(n int64) (callbackd.EventType, bool) {
	own := e.own.Load()
	if own == nil {
		return "", false
	}
	t, ok := own.names[n]
	return t, ok
}

// Next returns the number for the next type of a platform, and false when there is none
// left.
func (e *EventTypes) Next() (int64, bool) {
	next := int64(firstOwn)
	if own := e.own.Load(); own != nil {
		for n := range own.names {
			next = max(next, n+1)
		}
	}
	return next, next <= maxOwn
}

// TypeNumber returns the position of one of callbackd's own types, from 1; 0 for another.
func TypeNumber(t callbackd.EventType) int64 { return int64(slices.Index(callbackd.EventTypes, t) + 1) }

// Type returns the type of callbackd's own with a stored number; empty for another.
func Type(n int64) callbackd.EventType {
	if n < 1 || int(n) > len(callbackd.EventTypes) {
		return ""
	}
	return callbackd.EventTypes[n-1]
}

// TypeSet returns the number that is stored for a set of callbackd's own event types: a bit
// for each. Types of a platform have no bit: see [EventTypes.OwnSet].
func TypeSet(types []callbackd.EventType) (set int64) {
	for _, t := range types {
		if n := TypeNumber(t); n != 0 {
			set |= 1 << n
		}
	}
	return set
}

// OwnSet returns the text that is stored for a platform's types in a set: an array of their
// numbers. It is empty when there are none.
func (e *EventTypes) OwnSet(types []callbackd.EventType) (string, error) {
	var numbers []int64
	for _, t := range types {
		if TypeNumber(t) != 0 {
			continue
		}
		n := e.Number(t)
		if n == 0 {
			return "", store.NoEventType(t)
		}
		numbers = append(numbers, n)
	}
	if numbers == nil {
		return "", nil
	}
	text, err := json.Marshal(numbers)
	return string(text), err
}

// sets has the sets of callbackd's own types that were read. There are few different ones, and
// each callback for one session has one.
var sets sync.Map // int64: []callbackd.EventType

// ours returns callbackd's own types in a stored set. The result is shared.
func ours(set int64) []callbackd.EventType {
	if types, ok := sets.Load(set); ok {
		return types.([]callbackd.EventType)
	}
	types := make([]callbackd.EventType, 0, bits.OnesCount64(uint64(set)))
	for _, t := range callbackd.EventTypes {
		if set&(1<<TypeNumber(t)) != 0 {
			types = append(types, t)
		}
	}
	sets.Store(set, types)
	return types
}

// Types returns the event types of a stored set, in the order that lists use. own is what
// OwnSet returned, nil for none. The result is shared and must not be changed.
func (e *EventTypes) Types(set int64, own *string) ([]callbackd.EventType, error) {
	if own == nil {
		return ours(set), nil
	}
	types := slices.Clone(ours(set))
	var numbers []int64
	if err := json.Unmarshal([]byte(*own), &numbers); err != nil {
		return nil, fmt.Errorf("the types %q of a platform: %w", *own, err)
	}
	for _, n := range numbers {
		t, err := e.Name(n)
		if err != nil {
			return nil, err
		}
		types = append(types, t)
	}
	callbackd.SortTypes(types)
	return types, nil
}
