package core

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// eventColumns are the columns of an event without its data.
const eventColumns = "id, key_no, type, session, sequence, test, owed, accepted_at, withheld, deliver_at, expires_at, erased_at, trace"

// scanEvent reads eventColumns, and further columns into more.
func (s *Store) scanEvent(row Row, more ...any) (*callbackd.Event, error) {
	var ev callbackd.Event
	var typ int64
	var targets, withheld, trace []byte
	err := row.Scan(append([]any{&ev.ID, &ev.Key, &typ, &ev.Session, &ev.Sequence, &ev.Test, &targets, &ev.ClockTime, &withheld, &ev.DeliverAt, &ev.ExpiresAt, &ev.ErasedAt, &trace}, more...)...)
	if err == nil {
		ev.Type, err = s.EventTypes.Name(typ)
	}
	ev.Targets, ev.Withheld, ev.Trace = codec.Targets(targets), codec.Withheld(withheld), codec.Trace(trace)
	return &ev, err
}

// addLateTargets adds to events the callbacks that a replay sent them to after
// they were accepted.
func (s *Store) addLateTargets(tx Tx, evs []*callbackd.Event) error {
	if len(evs) == 0 {
		return nil
	}
	ids := make([]callbackd.EventID, len(evs))
	late := map[callbackd.EventID][]callbackd.CallbackID{}
	for i, ev := range evs {
		ids[i] = ev.ID
	}
	err := tx.Query("SELECT event_id, callback_no FROM owed_later WHERE event_id "+s.d.In("$1"), func(row Row) error {
		var id callbackd.EventID
		var cb callbackd.CallbackID
		err := row.Scan(&id, &cb)
		late[id] = append(late[id], cb)
		return err
	}, ids)
	for _, ev := range evs {
		slices.Sort(late[ev.ID])
		ev.Targets = append(ev.Targets, late[ev.ID]...)
	}
	return err
}

// lastByClock returns the last event that was accepted before a time by its
// ClockTime; 0 when there is none.
func lastByClock(tx Tx, before time.Time) (id callbackd.EventID, err error) {
	err = tx.Query("SELECT id FROM events WHERE accepted_at < $1 ORDER BY accepted_at DESC, id DESC LIMIT 1", func(row Row) error {
		return row.Scan(&id)
	}, before)
	return id, err
}

// idRange is [store.IDRange], widened to events from when the clock ran ahead.
func idRange(tx Tx, since, until time.Time, after callbackd.EventID) (lo, hi int64, err error) {
	lo, hi = store.IDRange(since, until, 0)
	var last callbackd.EventID
	if !until.IsZero() {
		last, err = lastByClock(tx, until)
	}
	return lo, store.WidenedTo(hi, last, after), err
}

// storable reports whether every database can hold a text. PostgreSQL refuses
// bytes that are not UTF-8, and zeros.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// deliveriesOf returns the deliveries of events, one for each target.
func deliveriesOf(evs []*callbackd.Event) (ids []callbackd.DeliveryID) {
	for _, ev := range evs {
		for _, cb := range ev.Targets {
			ids = append(ids, callbackd.DeliveryID{Event: ev.ID, Callback: cb})
		}
	}
	return ids
}

// eventsOfDeliveries returns the events of deliveries. Neighbours with the same
// event give it once.
func eventsOfDeliveries(ids []callbackd.DeliveryID) []callbackd.EventID {
	events := make([]callbackd.EventID, len(ids))
	for i, id := range ids {
		events[i] = id.Event
	}
	return slices.Compact(events)
}

// pairs returns deliveries as an argument of a statement with [Dialect.Pairs].
func pairs(ids []callbackd.DeliveryID) string {
	list := make([][2]int64, len(ids))
	for i, id := range ids {
		list[i] = [2]int64{int64(id.Callback), int64(id.Event)}
	}
	return pairList(list)
}

// pairList returns pairs as an argument of a statement with [Dialect.PairsAs]:
// as JSON.
func pairList(list [][2]int64) string {
	text := make([]byte, 0, 2+32*len(list))
	text = append(text, '[')
	for i, pair := range list {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, '[')
		text = strconv.AppendInt(text, pair[0], 10)
		text = append(text, ',')
		text = strconv.AppendInt(text, pair[1], 10)
		text = append(text, ']')
	}
	return string(append(text, ']'))
}
