package sqlite

import (
	"fmt"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// keyCallback is a callback as lists show it, without secrets, headers and payload.
type keyCallback struct {
	*callbackd.Callback
	ended bool // the callback was deleted or its key revoked
}

// keyCallbacks holds the callbacks that a list needs. It reads each one when the list
// comes to it, so that deleted callbacks cost nothing unless they are shown.
type keyCallbacks struct {
	q     store.DeliveryQuery                  // its Key, Callback and Type choose
	known map[callbackd.CallbackID]keyCallback // without a Callback: not chosen
}

// callbacksOf returns keyCallbacks for a query. It has read none yet.
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
