package core

import (
	"container/heap"

	"callbackd"
	"callbackd/internal/store/codec"
)

// smallIndex is an index that has few deliveries of each callback, in the order
// of their events.
type smallIndex struct {
	table string
	only  string // a condition of the index
	error bool   // the index has the number of an error before the event
}

var (
	pendingIndex  = &smallIndex{table: "pending"}
	failedIndex   = &smallIndex{table: "attempts", only: "state = 'failed' AND state IN ('failed', 'canceled') AND "}
	canceledIndex = &smallIndex{table: "attempts", only: "state = 'canceled' AND state IN ('failed', 'canceled') AND "}
	expiredIndex  = &smallIndex{table: "attempts", only: "state = 'expired' AND "}
	errorIndex    = &smallIndex{table: "last_errors", error: true}
)

// of returns the rows of a callback, for FROM and WHERE.
func (x *smallIndex) of(callback string) string {
	return x.table + " WHERE " + x.only + "callback_no = " + callback
}

// events returns the rows of a callback, and of an error where the index has one.
func (x *smallIndex) events(callback, error string) string {
	if x.error {
		return x.of(callback) + " AND error = " + error
	}
	return x.of(callback)
}

// callbacks returns up to limit callbacks that have rows. It steps from one to the
// next, however many rows each has.
func (x *smallIndex) callbacks(tx Tx, limit int) (ids []callbackd.CallbackID, err error) {
	next := func(after string) string {
		return "(SELECT callback_no FROM " + x.table + " WHERE " + x.only + "callback_no > " + after + " ORDER BY callback_no LIMIT 1)"
	}
	sql := "WITH RECURSIVE o AS (SELECT " + next("0") + " AS callback_no UNION ALL SELECT " + next("o.callback_no") + " FROM o WHERE o.callback_no IS NOT NULL) " +
		"SELECT callback_no FROM o WHERE callback_no IS NOT NULL LIMIT $1"
	err = tx.Query(sql, func(row Row) error {
		var id callbackd.CallbackID
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, limit)
	return ids, err
}

// merge returns the deliveries of many callbacks, newest event first, then by
// callback ID descending. It reads few rows more than it returns, however
// many callbacks there are: first the newest row of each, then more of those
// whose turn it is.
type merge struct {
	s       *Store
	tx      Tx
	lo      int64                // of events
	after   callbackd.DeliveryID // what comes first is behind this one
	sources sources
	last    callbackd.DeliveryID
}

// source is what one callback has in an index, as far as it was read.
type source struct {
	index    *smallIndex
	callback callbackd.CallbackID
	error    int64
	events   []callbackd.EventID // newest first; never empty
	asked    int                 // how many were asked for when they were read
}

func (s *source) head() callbackd.DeliveryID {
	return callbackd.DeliveryID{Event: s.events[0], Callback: s.callback}
}

// sources is a heap: the first one has the newest delivery.
type sources []*source

// Len is part of [heap.Interface], as are the methods below.
func (h sources) Len() int { return len(h) }

// Less reports whether the newest delivery of source i comes before that of source j.
func (h sources) Less(i, j int) bool { return newestFirst(h[i].head(), h[j].head()) < 0 }

// Swap exchanges two sources.
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds a source.
func (h *sources) Push(x any) { *h = append(*h, x.(*source)) }

// Pop removes the last source.
func (h *sources) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// add adds a source for each callback that has rows in an index behind the
// place where the merge begins. errors has an error for each callback, where the
// index has them.
func (m *merge) add(x *smallIndex, callbacks []callbackd.CallbackID, errors []int64) error {
	if len(callbacks) == 0 {
		return nil
	}
	list := make([]callbackd.DeliveryID, len(callbacks))
	for i, id := range callbacks {
		list[i] = callbackd.DeliveryID{Callback: id, Event: callbackd.EventID(errors[i])}
	}
	newest := "SELECT event_id FROM " + x.events("o.callback_no", "o.error") + " AND event_id >= $2 AND event_id <= $3 AND (event_id < $3 OR o.callback_no < $4) ORDER BY event_id DESC LIMIT 1"
	err := m.tx.Query("SELECT o.callback_no, o.error, ("+newest+") FROM "+m.s.d.PairsAs("$1", "callback_no", "error"), func(row Row) error {
		one := &source{index: x, asked: 1}
		var event *callbackd.EventID
		err := row.Scan(&one.callback, &one.error, &event)
		if event != nil {
			one.events = []callbackd.EventID{*event}
			m.sources = append(m.sources, one)
		}
		return err
	}, pairs(list), m.lo, m.after.Event, m.after.Callback)
	heap.Init(&m.sources)
	return err
}

// addErrors adds a source for each callback and each error of it that is wanted.
// It steps from one error to the next through the index, for all callbacks at
// once.
func (m *merge) addErrors(callbacks []callbackd.CallbackID, wanted func(codec.LastError) bool) error {
	var found []callbackd.CallbackID
	var errors []int64
	after := make([]callbackd.DeliveryID, len(callbacks)) // Event holds the number of the error
	for i, id := range callbacks {
		after[i].Callback = id
	}
	for len(after) > 0 {
		var next []callbackd.DeliveryID
		err := m.tx.Query("SELECT o.callback_no, (SELECT error FROM last_errors WHERE callback_no = o.callback_no AND error > o.error ORDER BY error LIMIT 1) FROM "+
			m.s.d.PairsAs("$1", "callback_no", "error"), func(row Row) error {
			var id callbackd.CallbackID
			var number *int64
			if err := row.Scan(&id, &number); err != nil || number == nil {
				return err
			}
			next = append(next, callbackd.DeliveryID{Callback: id, Event: callbackd.EventID(*number)})
			if wanted(codec.ReadLastError(*number)) {
				found, errors = append(found, id), append(errors, *number)
			}
			return nil
		}, pairs(after))
		if err != nil {
			return err
		}
		after = next
	}
	return m.add(errorIndex, found, errors)
}

// next returns the next n deliveries, and fewer at the end.
func (m *merge) next(n int) (ids []callbackd.DeliveryID, err error) {
	for len(ids) < n && len(m.sources) > 0 {
		first := m.sources[0]
		if id := first.head(); id != m.last {
			ids, m.last = append(ids, id), id
		}
		if len(first.events) == 1 {
			if err := m.refill(first); err != nil {
				return nil, err
			}
		}
		if first.events = first.events[1:]; len(first.events) == 0 {
			heap.Pop(&m.sources)
		} else {
			heap.Fix(&m.sources, 0)
		}
	}
	return ids, nil
}

// refill reads more of a source: each time four times as many rows as before.
func (m *merge) refill(s *source) error {
	s.asked = min(4*s.asked, listChunk)
	sql := "SELECT DISTINCT event_id FROM " + s.index.events("$1", "$5") + " AND event_id >= $2 AND event_id < $3 ORDER BY event_id DESC LIMIT $4"
	args := []any{s.callback, m.lo, s.events[0], s.asked}
	if s.index.error {
		args = append(args, s.error)
	}
	return m.tx.Query(sql, func(row Row) error {
		var id callbackd.EventID
		err := row.Scan(&id)
		s.events = append(s.events, id)
		return err
	}, args...)
}
