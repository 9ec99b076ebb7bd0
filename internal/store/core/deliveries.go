package core

import (
	"cmp"
	"context"
	"math"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// ListDeliveries is part of [store.Events].
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) (page store.DeliveryPage, err error) {
	if !storable(q.Session) {
		return page, nil
	}
	q.Limit = min(max(q.Limit, 1), store.MaxPage)
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		l := &deliveryList{s: s, tx: tx, q: q, callbacks: s.newListedCallbacks(q)}
		err := l.fill()
		page = l.page
		return err
	})
	return page, err
}

// deliveryList gathers one page of deliveries.
type deliveryList struct {
	s         *Store
	tx        Tx
	q         store.DeliveryQuery
	callbacks *listedCallbacks
	page      store.DeliveryPage
	full      bool // and there is more
}

// fill reads the rare states and the errors through their own small indexes, and
// everything else from the events. A session is short, so its events are read;
// a backlog need not be.
func (l *deliveryList) fill() error {
	rare := l.q.State != "" && l.q.State != callbackd.Delivered || l.q.ByError()
	if rare && l.q.Session == "" {
		return l.byIndex()
	}
	return l.byEvent()
}

// newestFirst is the order of a list of deliveries.
func newestFirst(a, b callbackd.DeliveryID) int {
	return cmp.Or(cmp.Compare(b.Event, a.Event), cmp.Compare(b.Callback, a.Callback))
}

// byEvent reads the events, newest first, and the deliveries of each.
func (l *deliveryList) byEvent() error {
	r := eventRange{key: l.q.Key, session: l.q.Session, dataOf: noType}
	var err error
	if r.lo, r.hi, err = idRange(l.tx, l.q.Since, l.q.Until, 0); err != nil {
		return err
	}
	if l.q.After.Event != 0 {
		r.hi = min(r.hi, int64(l.q.After.Event)+1)
	}
	for seen := 0; ; {
		evs, err := l.s.newest(l.tx, r, listChunk)
		if err != nil {
			return err
		}
		ids, err := l.chosen(evs)
		if err != nil {
			return err
		}
		if err := l.add(ids, eventsByID(evs)); err != nil || l.full || len(evs) < listChunk {
			return err
		}
		r.hi = int64(evs[len(evs)-1].ID)
		if seen += len(evs); seen >= l.q.MaxScanOf() {
			l.page.Next = callbackd.DeliveryID{Event: callbackd.EventID(r.hi)} // callback 0: everything of that event is done
			return nil
		}
	}
}

// chosen returns the deliveries of events, behind the cursor, to callbacks that
// the query chooses.
func (l *deliveryList) chosen(evs []*callbackd.Event) (ids []callbackd.DeliveryID, err error) {
	if err := l.s.addLateTargets(l.tx, evs); err != nil {
		return nil, err
	}
	all := deliveriesOf(evs)
	if err := l.callbacks.needFor(l.tx, l.s.d, all); err != nil {
		return nil, err
	}
	for _, id := range all {
		behind := l.q.After.Event == 0 || newestFirst(l.q.After, id) < 0
		if behind && l.callbacks.known[id.Callback] != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, newestFirst)
	return ids, nil
}

func eventsByID(evs []*callbackd.Event) map[callbackd.EventID]*callbackd.Event {
	out := make(map[callbackd.EventID]*callbackd.Event, len(evs))
	for _, ev := range evs {
		out[ev.ID] = ev
	}
	return out
}

// add puts those of the deliveries on the page that belong there, in order. It
// sets the cursor when there is more than the page holds.
func (l *deliveryList) add(ids []callbackd.DeliveryID, evs map[callbackd.EventID]*callbackd.Event) error {
	states, err := l.s.states(l.tx, evs, ids, l.callbacks.ended)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id callbackd.DeliveryID) bool { return !l.fits(evs[id.Event], states[id].State) })
	if !l.q.OfAttempts() { // the others are not shown
		ids = ids[:min(len(ids), l.q.Limit-len(l.page.Deliveries)+1)]
	}
	last, err := l.s.d.lastAttempts(l.tx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if l.q.OfAttempts() && (last[id] == nil || !l.q.FitsAttempt(last[id])) {
			continue
		}
		if len(l.page.Deliveries) == l.q.Limit {
			l.page.Next, l.full = l.page.Deliveries[l.q.Limit-1].ID, true
			return nil
		}
		l.page.Deliveries = append(l.page.Deliveries, store.DeliveryView{
			ID: id, Event: evs[id.Event], Callback: l.callbacks.known[id.Callback], DeliveryState: states[id], Last: last[id],
		})
	}
	return nil
}

// fits reports whether a delivery that is in this state is among those that are asked for, by
// what is known without its attempts. ev is nil for an event that was removed meanwhile.
func (l *deliveryList) fits(ev *callbackd.Event, state callbackd.State) bool {
	if ev == nil || state == "" {
		return false
	}
	return (l.q.State == "" || state == l.q.State) && (l.q.Type == "" || ev.Type == l.q.Type) &&
		(l.q.Session == "" || ev.Session == l.q.Session) && store.AcceptedWithin(ev, l.q.Since, l.q.Until)
}

// byIndex reads the rare states and the errors through their small indexes.
func (l *deliveryList) byIndex() error {
	lo, hi, err := idRange(l.tx, l.q.Since, l.q.Until, 0)
	if err != nil {
		return err
	}
	if err := l.candidates(); err != nil {
		return err
	}
	m := &merge{s: l.s, tx: l.tx, lo: lo, after: callbackd.DeliveryID{Event: callbackd.EventID(hi)}}
	if l.q.After.Event != 0 && int64(l.q.After.Event) < hi {
		m.after = l.q.After
	}
	if err := l.addSources(m); err != nil {
		return err
	}
	for seen, chunk := 0, l.q.Limit+1; ; chunk = min(2*chunk, listChunk) {
		ids, err := m.next(chunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		end, more := ids[len(ids)-1], len(ids) == chunk
		evs, err := l.s.eventHeaders(l.tx, eventsOfDeliveries(ids), "")
		if err != nil {
			return err
		}
		seen += len(ids)
		if err := l.add(ids, evs); err != nil || l.full || !more {
			return err
		}
		if seen >= l.q.MaxScanOf() {
			l.page.Next = end
			return nil
		}
	}
}

// eventHeaders reads events without their data. lock is a lock of the dialect or
// empty.
func (s *Store) eventHeaders(tx Tx, ids []callbackd.EventID, lock string) (map[callbackd.EventID]*callbackd.Event, error) {
	var evs []*callbackd.Event
	err := tx.Query("SELECT "+eventColumns+" FROM events WHERE id "+s.d.In("$1")+lock, func(row Row) error {
		ev, err := s.scanEvent(row)
		evs = append(evs, ev)
		return err
	}, ids)
	if err != nil {
		return nil, err
	}
	return eventsByID(evs), s.addLateTargets(tx, evs)
}

// indexes returns the small indexes that have the deliveries the query chooses.
func (l *deliveryList) indexes() []*smallIndex {
	switch {
	case l.q.ByError():
		return []*smallIndex{errorIndex}
	case l.q.State == callbackd.Pending:
		return []*smallIndex{pendingIndex}
	case l.q.State == callbackd.Failed:
		return []*smallIndex{failedIndex}
	case l.q.State == callbackd.Expired:
		return []*smallIndex{expiredIndex}
	}
	return []*smallIndex{canceledIndex, pendingIndex} // what is pending for a callback that ended is canceled
}

// candidates reads the callbacks that may have rows in the small indexes. Of a
// key those are the callbacks in force, and those that have rows of the deleted ones and of
// the ones for a session; of all keys, those that have rows.
func (l *deliveryList) candidates() error {
	switch {
	case l.q.Callback != 0:
		return l.callbacks.need(l.tx, l.s.d, []callbackd.CallbackID{l.q.Callback})
	case l.q.Key == store.AllKeys:
		for _, index := range l.indexes() {
			ids, err := index.callbacks(l.tx, math.MaxInt32)
			if err == nil {
				err = l.callbacks.need(l.tx, l.s.d, ids)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := l.callbacks.load(l.tx, "c.key_no = $1 AND c.deleted_at IS NULL AND c.session IS NULL", l.q.Key); err != nil {
		return err
	}
	for _, index := range l.indexes() {
		err := l.callbacks.load(l.tx, "c.key_no = $1 AND (c.deleted_at IS NOT NULL OR c.session IS NOT NULL) AND (SELECT 1 FROM "+index.of("c.no")+" LIMIT 1) IS NOT NULL", l.q.Key)
		if err != nil {
			return err
		}
	}
	return nil
}

// addSources gives the merge a source for each candidate and index.
func (l *deliveryList) addSources(m *merge) error {
	for _, index := range l.indexes() {
		var ids []callbackd.CallbackID
		for id, cb := range l.callbacks.known {
			pending := index == pendingIndex
			if cb != nil && (!pending || cb.Deleted() == (l.q.State == callbackd.Canceled)) {
				ids = append(ids, id)
			}
		}
		var err error
		if index == errorIndex {
			err = m.addErrors(ids, l.wantsError)
		} else {
			err = m.add(index, ids, make([]int64, len(ids)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wantsError reports whether deliveries whose last attempt failed like that may be
// on the page.
func (l *deliveryList) wantsError(e codec.LastError) bool {
	a := callbackd.Attempt{Result: callbackd.Result{Fault: e.Fault, Status: e.Status}}
	return l.q.FitsAttempt(&a) && (l.q.State != callbackd.Failed || e.Ended)
}
