package sqlite

import (
	"fmt"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// keyCallback is a callback of a key as lists show it, and whether it is still
// owed anything. It has no secret, no headers and no payload.
type keyCallback struct {
	*callbackd.Callback
	ended bool
}

// keyCallbacks are the callbacks, of a key or of all, that a list needs. Each is
// read when the list comes to it: what was deleted costs nothing unless it is shown.
type keyCallbacks struct {
	q     store.DeliveryQuery                  // its Key, Callback and Type choose
	known map[callbackd.CallbackID]keyCallback // without a Callback: not chosen
}

// callbacksOf begins with none.
func callbacksOf(q store.DeliveryQuery) *keyCallbacks {
	return &keyCallbacks{q: q, known: map[callbackd.CallbackID]keyCallback{}}
}

const briefFrom = "SELECT c.no, c.key_no, c.type, c.name, c.deleted_at, v.url, k.revoked_at FROM callbacks c JOIN keys k ON k.no = c.key_no JOIN callback_versions v ON v.callback_no = c.no AND v.version = c.version WHERE "

// load reads the callbacks that where chooses.
func (k *keyCallbacks) load(d *db, where string, args ...any) error {
	return d.query(briefFrom+where, func(st *sqlite3.Stmt) error {
		cb := &callbackd.Callback{ID: callbackd.CallbackID(st.ColumnInt64(0)), Key: callbackd.KeyID(st.ColumnInt64(1)), Event: codec.Type(st.ColumnInt64(2)),
			Name: st.ColumnText(3), DeletedAt: columnTime(st, 4), URL: st.ColumnText(5)}
		revoked := !columnTime(st, 6).IsZero()
		if (k.q.Key == store.AllKeys || cb.Key == k.q.Key) && (k.q.Callback == 0 || k.q.Callback == cb.ID) && (k.q.Type == "" || k.q.Type == cb.Event) {
			k.known[cb.ID] = keyCallback{cb, cb.Deleted() || revoked}
		}
		return nil
	}, args...)
}

// get returns one callback; false when it is not chosen.
func (k *keyCallbacks) get(d *db, no callbackd.CallbackID) (keyCallback, bool, error) {
	cb, ok := k.known[no]
	if !ok {
		k.known[no] = keyCallback{}
		if err := k.load(d, "c.no = ?", int64(no)); err != nil {
			return cb, false, fmt.Errorf("callback %d: %w", no, err)
		}
		cb = k.known[no]
	}
	return cb, cb.Callback != nil, nil
}

// inForce reads those of the key that are owed events.
func (k *keyCallbacks) inForce(d *db) error {
	return k.load(d, "c.key_no = ? AND c.deleted_at IS NULL", int64(k.q.Key))
}

// candidates reads the callbacks whose deliveries may be in one of the small
// tables, and those among unflushed.
func (k *keyCallbacks) candidates(d *db, unflushed []callbackd.CallbackID) (err error) {
	var more []callbackd.CallbackID
	switch {
	case k.q.Callback != 0:
		more, unflushed = []callbackd.CallbackID{k.q.Callback}, nil
	case k.q.Key == store.AllKeys:
		if more, err = d.withSmallRows(); err != nil {
			return err
		}
	default:
		if err := k.inForce(d); err != nil || k.q.State == callbackd.Pending {
			return err
		}
		err := k.load(d, `c.key_no = ? AND c.deleted_at IS NOT NULL AND (EXISTS (SELECT 1 FROM pending WHERE callback_no = c.no)
			OR EXISTS (SELECT 1 FROM attempts WHERE state = 'failed' AND state IN ('failed', 'canceled') AND callback_no = c.no)
			OR EXISTS (SELECT 1 FROM attempts WHERE state = 'canceled' AND state IN ('failed', 'canceled') AND callback_no = c.no)
			OR EXISTS (SELECT 1 FROM last_errors WHERE callback_no = c.no))`, int64(k.q.Key))
		if err != nil {
			return err
		}
	}
	for _, no := range append(more, unflushed...) {
		if _, _, err := k.get(d, no); err != nil {
			return err
		}
	}
	return nil
}

// withSmallRows returns the callbacks that have rows in the small tables. It steps
// from one to the next through their indexes, however many rows each has.
func (d *db) withSmallRows() (nos []callbackd.CallbackID, err error) {
	for _, sql := range []string{
		"SELECT callback_no FROM pending WHERE callback_no > ? ORDER BY callback_no LIMIT 1",
		"SELECT callback_no FROM attempts WHERE state = 'failed' AND state IN ('failed', 'canceled') AND callback_no > ? ORDER BY callback_no LIMIT 1",
		"SELECT callback_no FROM attempts WHERE state = 'canceled' AND state IN ('failed', 'canceled') AND callback_no > ? ORDER BY callback_no LIMIT 1",
		"SELECT callback_no FROM last_errors WHERE callback_no > ? ORDER BY callback_no LIMIT 1",
	} {
		for last, found := int64(0), true; found; {
			found = false
			err := d.query(sql, func(st *sqlite3.Stmt) error {
				last, found = st.ColumnInt64(0), true
				nos = append(nos, callbackd.CallbackID(last))
				return nil
			}, last)
			if err != nil {
				return nil, err
			}
		}
	}
	return nos, nil
}

// chosen calls f for each callback that was read and is chosen.
func (k *keyCallbacks) chosen(f func(callbackd.CallbackID, keyCallback) error) error {
	for no, cb := range k.known {
		if cb.Callback != nil {
			if err := f(no, cb); err != nil {
				return err
			}
		}
	}
	return nil
}
