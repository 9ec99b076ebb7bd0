package postgres

import (
	"context"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// keyCallbacks holds the callbacks that a list needs, without secrets, headers and payload.
// It reads each one when the list comes to it, so that deleted callbacks cost nothing
// unless they are shown.
type keyCallbacks struct {
	q     store.DeliveryQuery                          // its Key, Callback and Type choose
	known map[callbackd.CallbackID]*callbackd.Callback // nil: not chosen
}

func callbacksOf(q store.DeliveryQuery) *keyCallbacks {
	return &keyCallbacks{q: q, known: map[callbackd.CallbackID]*callbackd.Callback{}}
}

const (
	briefFrom     = "SELECT c.no, c.key_no, c.type, c.name, least(c.deleted_at, k.revoked_at), v.url FROM callbacks c JOIN keys k ON k.no = c.key_no JOIN callback_versions v ON v.callback_no = c.no AND v.version = c.version WHERE "
	selectInForce = briefFrom + "c.key_no = $1 AND c.deleted_at IS NULL"
	selectBriefly = briefFrom + "c.no = ANY ($1::bigint[])"
	selectRest    = briefFrom + `c.key_no = $1 AND c.deleted_at IS NOT NULL AND ((SELECT 1 FROM pending WHERE callback_no = c.no LIMIT 1) IS NOT NULL
		OR (SELECT 1 FROM attempts WHERE state = 'failed' AND state IN ('failed', 'canceled') AND callback_no = c.no LIMIT 1) IS NOT NULL
		OR (SELECT 1 FROM attempts WHERE state = 'canceled' AND state IN ('failed', 'canceled') AND callback_no = c.no LIMIT 1) IS NOT NULL
		OR (SELECT 1 FROM last_errors WHERE callback_no = c.no LIMIT 1) IS NOT NULL)`
)

func (k *keyCallbacks) load(ctx context.Context, q querier, sql string, arg any) error {
	return each(ctx, q, sql, func(row pgx.CollectableRow) error {
		var cb callbackd.Callback
		var no, key int64
		var typ int16
		var deleted *int64
		if err := row.Scan(&no, &key, &typ, &cb.Name, &deleted, &cb.URL); err != nil {
			return err
		}
		cb.ID, cb.Key, cb.Event, cb.DeletedAt = callbackd.CallbackID(no), callbackd.KeyID(key), codec.Type(int64(typ)), fromNullMillis(deleted)
		if (k.q.Key == store.AllKeys || cb.Key == k.q.Key) && (k.q.Callback == 0 || k.q.Callback == cb.ID) && (k.q.Type == "" || k.q.Type == cb.Event) {
			k.known[cb.ID] = &cb
		}
		return nil
	}, arg)
}

// need reads those of the callbacks that were not read yet.
func (k *keyCallbacks) need(ctx context.Context, q querier, nos []callbackd.CallbackID) error {
	var missing []int64
	for _, no := range nos {
		if _, ok := k.known[no]; !ok {
			k.known[no] = nil
			missing = append(missing, int64(no))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return k.load(ctx, q, selectBriefly, missing)
}

// ended tells whether a callback that was read is owed nothing any more.
func (k *keyCallbacks) ended(no callbackd.CallbackID) bool {
	return k.known[no] != nil && k.known[no].Deleted()
}

// owedBy is what the events are owed to.
func owedBy(evs []*callbackd.Event) (nos []callbackd.CallbackID) {
	for _, ev := range evs {
		nos = append(nos, ev.Targets...)
	}
	return nos
}
