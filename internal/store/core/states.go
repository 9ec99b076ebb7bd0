package core

import (
	"fmt"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// deliveryRows reads the rows of deliveries in one statement, so that they are
// from one moment. A delivery without any row is not among them.
func (s *Store) deliveryRows(tx Tx, ids []callbackd.DeliveryID) (map[callbackd.DeliveryID]callbackd.DeliveryRows, error) {
	rows := make(map[callbackd.DeliveryID]callbackd.DeliveryRows, len(ids))
	if len(ids) == 0 {
		return rows, nil
	}
	sql := "SELECT o.callback_no, o.event_id, p.attempts, p.due, p.manual, p.replay, p.first_failed_at, p.deliver_at, p.expires_at, a.n, a.version, a.state FROM " + s.d.Pairs("$1") +
		s.d.LookupOrNull("pending", "p", "p.callback_no = o.callback_no AND p.event_id = o.event_id") +
		s.d.LookupOrNull("attempts", "a", newestAttempt("true"))
	err := tx.Query(sql, func(row Row) error {
		var d callbackd.Delivery
		var attempts, number *int
		var version, replay *int64
		var manual *bool
		var state *callbackd.State
		err := row.Scan(&d.ID.Callback, &d.ID.Event, &attempts, &d.Due, &manual, &replay, &d.FirstFailedAt, &d.DeliverAt, &d.ExpiresAt, &number, &version, &state)
		if err != nil {
			return err
		}
		var of callbackd.DeliveryRows
		if attempts != nil {
			d.Attempts, d.Manual, d.Replay = *attempts, *manual, callbackd.ReplayID(*replay)
			of.Pending = &d
		}
		if number != nil {
			of.Last = callbackd.AttemptRow{Number: *number, Version: *version, State: *state}
		}
		if of.Pending != nil || of.Last.Number > 0 {
			rows[d.ID] = of
		}
		return nil
	}, pairs(ids))
	return rows, err
}

// stateOf returns the state of a delivery of an event. ended says that its callback was
// deleted or its key revoked.
func stateOf(rows callbackd.DeliveryRows, ev *callbackd.Event, ended bool) callbackd.DeliveryState {
	if rows.Pending != nil {
		rows.Pending.Event = ev // has the time of acceptance
	}
	return callbackd.StateOf(rows, ended)
}

// states returns the states of deliveries. A delivery that does not exist has an empty
// state. ended reports whether a callback was deleted or its key revoked.
func (s *Store) states(tx Tx, evs map[callbackd.EventID]*callbackd.Event, ids []callbackd.DeliveryID, ended func(callbackd.CallbackID) bool) (map[callbackd.DeliveryID]callbackd.DeliveryState, error) {
	rows, err := s.deliveryRows(tx, ids)
	out := make(map[callbackd.DeliveryID]callbackd.DeliveryState, len(rows))
	for id, of := range rows {
		out[id] = stateOf(of, evs[id.Event], ended(id.Callback))
	}
	return out, err
}

// newestAttempt is the condition that a is the newest row of attempts, of those
// that cond admits, of the delivery o.
func newestAttempt(cond string) string {
	return `a.event_id = o.event_id AND a.callback_no = o.callback_no AND a.n = (
		SELECT n FROM attempts WHERE event_id = o.event_id AND callback_no = o.callback_no AND ` + cond + ` ORDER BY event_id DESC, callback_no DESC, n DESC LIMIT 1)`
}

// lastAttempts returns the last attempts of deliveries without headers and
// bodies. One that was never tried is not among them.
func (d *Dialect) lastAttempts(tx Tx, ids []callbackd.DeliveryID) (map[callbackd.DeliveryID]*callbackd.Attempt, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	last := make(map[callbackd.DeliveryID]*callbackd.Attempt, len(ids))
	sql := fmt.Sprintf("SELECT a.callback_no, a.event_id, a.n, a.version, a.state, substr(a.detail, 1, %d) FROM ", codec.HeadBytes)
	err := tx.Query(sql+d.Pairs("$1")+d.Lookup("attempts", "a", newestAttempt("version > 0")), func(row Row) error {
		var id callbackd.DeliveryID
		var a callbackd.Attempt
		var detail []byte
		err := row.Scan(&id.Callback, &id.Event, &a.Number, &a.Version, &a.State, &detail)
		if err != nil {
			return err
		}
		state := a.State
		err = damaged(codec.ReadHead(detail, &a))
		a.State = state
		last[id] = &a
		return err
	}, pairs(ids))
	return last, err
}

// listedCallbacks are the callbacks that a list needs, as it shows them: without
// secrets, headers and payload. Each is read when the list comes to it, so one
// that was deleted costs nothing unless it is shown.
type listedCallbacks struct {
	types *codec.EventTypes
	q     store.DeliveryQuery                          // its Key, Callback and Type choose
	known map[callbackd.CallbackID]*callbackd.Callback // nil: the query does not choose it
}

func (s *Store) newListedCallbacks(q store.DeliveryQuery) *listedCallbacks {
	return &listedCallbacks{q: q, types: s.EventTypes, known: map[callbackd.CallbackID]*callbackd.Callback{}}
}

// load reads the callbacks that where names. One whose key was revoked has
// ended with it.
func (l *listedCallbacks) load(tx Tx, where string, args ...any) error {
	return tx.Query(`SELECT c.no, c.key_no, c.type, c.name, c.deleted_at, k.revoked_at, v.url, c.session, c.types, c.own_types
		FROM callbacks c JOIN keys k ON k.no = c.key_no JOIN callback_versions v ON v.callback_no = c.no AND v.version = c.version
		WHERE `+where, func(row Row) error {
		var cb callbackd.Callback
		var event int64
		var key callbackd.Key
		var session, own *string
		var types *int64
		err := row.Scan(&cb.ID, &cb.Key, &event, &cb.Name, &cb.DeletedAt, &key.RevokedAt, &cb.URL, &session, &types, &own)
		if err == nil {
			cb.Event, err = l.types.Name(event)
		}
		if err == nil && session != nil && types != nil {
			cb.Session = *session
			cb.Types, err = l.types.Types(*types, own)
		}
		if key.Revoked() && (cb.DeletedAt.IsZero() || key.RevokedAt.Before(cb.DeletedAt)) {
			cb.DeletedAt = key.RevokedAt
		}
		if l.chooses(&cb) {
			l.known[cb.ID] = &cb
		}
		return err
	}, args...)
}

func (l *listedCallbacks) chooses(cb *callbackd.Callback) bool {
	return (l.q.Key == store.AllKeys || cb.Key == l.q.Key) &&
		(l.q.Callback == 0 || cb.ID == l.q.Callback) &&
		(l.q.Type == "" || cb.Event == l.q.Type || slices.Contains(cb.Types, l.q.Type))
}

// need reads those of the callbacks that are not known yet.
func (l *listedCallbacks) need(tx Tx, d *Dialect, ids []callbackd.CallbackID) error {
	var missing []callbackd.CallbackID
	for _, id := range ids {
		if _, ok := l.known[id]; !ok {
			l.known[id] = nil
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return l.load(tx, "c.no "+d.In("$1"), missing)
}

// needFor is need for the callbacks of deliveries.
func (l *listedCallbacks) needFor(tx Tx, d *Dialect, deliveries []callbackd.DeliveryID) error {
	ids := make([]callbackd.CallbackID, len(deliveries))
	for i, id := range deliveries {
		ids[i] = id.Callback
	}
	return l.need(tx, d, ids)
}

// ended reports whether a callback that was read was deleted or its key revoked.
func (l *listedCallbacks) ended(id callbackd.CallbackID) bool {
	return l.known[id] != nil && l.known[id].Deleted()
}
