package postgres

import (
	"context"
	"math"
	"slices"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// The sessions of a key, or of one status, newest first after a place; the
// results, which lists do not show, stay where they are.
const (
	listedColumns        = "no, key_no, session, status, created_at, ended_at, reference, NULL::bytea, document, search"
	sessionsAfter        = " AND created_at >= $2 AND (created_at, session) < ($3::bigint, $4::text) ORDER BY created_at DESC, session DESC LIMIT $5"
	selectSessions       = "SELECT " + listedColumns + " FROM sessions WHERE key_no = $1" + sessionsAfter
	selectSessionsBy     = "SELECT " + listedColumns + " FROM sessions WHERE key_no = $1 AND status = $6" + sessionsAfter
	selectAllSessions    = "SELECT " + listedColumns + " FROM sessions WHERE created_at >= $1 AND (created_at, session, key_no) < ($2::bigint, $3::text, $4::bigint) ORDER BY created_at DESC, session DESC, key_no DESC LIMIT $5"
	selectByVIN          = "SELECT s.* FROM keys k CROSS JOIN LATERAL (SELECT " + listedColumns + " FROM sessions WHERE key_no = k.no AND substring(search FROM octet_length(session) + 2 FOR 17) = $2::bytea LIMIT $3) s" + ofKeys
	selectBySessionKey   = "SELECT s.* FROM keys k CROSS JOIN LATERAL (SELECT " + listedColumns + " FROM sessions WHERE key_no = k.no AND session = $2::text LIMIT 1) s" + ofKeys
	ofKeys               = " WHERE $1 = 0 OR k.no = $1 ORDER BY s.created_at DESC, s.session DESC, s.key_no DESC LIMIT $3"
	selectEventsOf       = "SELECT " + eventColumns + ", e.data FROM events e WHERE e.key_no = $1 AND e.session = $2 AND e.sequence > $3 AND e.sequence < $4 ORDER BY e.key_no, e.session, e.id LIMIT $5"
	selectNewestEventsOf = "SELECT " + eventColumns + ", e.data FROM events e WHERE e.key_no = $1 AND e.session = $2 AND e.sequence > $3 AND e.sequence < $4 ORDER BY e.key_no DESC, e.session DESC, e.id DESC LIMIT $5"
	selectLatest         = "SELECT e.* FROM unnest($1::bigint[], $2::text[]) AS o (key, session) JOIN keys k ON o.key = 0 OR k.no = o.key CROSS JOIN LATERAL (SELECT " + eventColumns + " FROM events e WHERE e.key_no = k.no AND e.session = o.session ORDER BY e.key_no DESC, e.session DESC, e.id DESC LIMIT $3) e"
	sessionChunk         = 200
)

// ListSessions is part of [store.Sessions].
func (s *Store) ListSessions(ctx context.Context, q store.SessionQuery) (page store.SessionPage, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		page, err = listSessions(ctx, conn, q)
		return err
	})
	return page, err
}

func listSessions(ctx context.Context, conn *pgx.Conn, q store.SessionQuery) (page store.SessionPage, err error) {
	limit, text := min(max(q.Limit, 1), store.MaxPage), store.NewSearch(q.Text)
	if q.VIN != "" || q.SessionKey != "" {
		var name any = []byte(store.SearchText(q.VIN))
		sql := selectByVIN
		if q.VIN == "" {
			sql, name = selectBySessionKey, q.SessionKey
			if checkText(q.SessionKey) != nil {
				return page, nil
			}
		}
		err = each(ctx, conn, sql, func(row pgx.CollectableRow) error {
			var search []byte
			k, err := scanSession(withLast{row, &search})
			page.Sessions = append(page.Sessions, k.before)
			return err
		}, int64(q.Key), name, limit)
		return page, err
	}
	lo, at, session, key := int64(math.MinInt64), int64(math.MaxInt64), "", callbackd.KeyID(0)
	if !q.Since.IsZero() {
		lo = notEarlier(q.Since)
	}
	if !q.Until.IsZero() {
		at = notEarlier(q.Until)
	}
	if c := q.After.CreatedAt.UnixMilli(); q.After.SessionKey != "" && c < at {
		at, session, key = c, q.After.SessionKey, q.After.Key
	}
	for seen, size := 0, 0; ; {
		sql, args := selectSessions, []any{int64(q.Key), lo, at, session, sessionChunk}
		if q.Key == store.AllKeys {
			sql, args = selectAllSessions, []any{lo, at, session, int64(key), sessionChunk}
		} else if q.Status != "" {
			sql, args = selectSessionsBy, append(args, string(q.Status))
		}
		n := 0
		err := each(ctx, conn, sql, func(row pgx.CollectableRow) error {
			var search []byte
			k, err := scanSession(withLast{row, &search})
			if err != nil || page.Next.SessionKey != "" {
				return err
			}
			if len(page.Sessions) == limit || size >= store.MaxPageData || seen == store.MaxScan { // there is more
				page.Next = store.SessionCursor{CreatedAt: fromMillis(at), SessionKey: session, Key: key}
				return nil
			}
			n, seen = n+1, seen+1
			at, session = k.before.CreatedAt.UnixMilli(), k.before.SessionKey
			if q.Key == store.AllKeys {
				key = k.before.Key
			}
			if (q.Status == "" || k.before.Status == q.Status) && text.Finds(string(search), k.before.Reference) {
				size += store.SessionSize(k.before)
				page.Sessions = append(page.Sessions, k.before)
			}
			return nil
		}, args...)
		if err != nil || page.Next.SessionKey != "" || n < sessionChunk {
			return page, err
		}
	}
}

// withLast is a row with one more column at its end than its reader knows.
type withLast struct {
	pgx.CollectableRow
	last any
}

// Scan reads the row's other columns into dest.
func (r withLast) Scan(dest ...any) error { return r.CollectableRow.Scan(append(dest, r.last)...) }

// SessionEvents is part of [store.Sessions].
func (s *Store) SessionEvents(ctx context.Context, q store.SessionEventQuery) (out []store.SessionEvent, err error) {
	if checkText(q.Session) != nil {
		return nil, nil
	}
	if q.Before == 0 {
		q.Before = math.MaxInt64
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		cbs := callbacksOf(store.DeliveryQuery{Key: q.Key})
		evs, err := sessionEvents(ctx, conn, q)
		if err == nil {
			err = addLater(ctx, conn, byID(evs))
		}
		if err == nil {
			err = cbs.need(ctx, conn, owedBy(evs))
		}
		if err == nil {
			out, err = withDeliveries(ctx, conn, evs, cbs)
		}
		return err
	})
	return out, err
}

// LatestEvents is part of [store.Sessions].
func (s *Store) LatestEvents(ctx context.Context, sessions []store.SessionID, n int) (out map[store.SessionID][]*callbackd.Event, err error) {
	var keys []int64
	var names []string
	for i, id := range sessions {
		if checkText(id.SessionKey) == nil && !slices.Contains(sessions[:i], id) {
			keys, names = append(keys, int64(id.Key)), append(names, id.SessionKey)
		}
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		out = make(map[store.SessionID][]*callbackd.Event, len(names))
		return each(ctx, conn, selectLatest, func(row pgx.CollectableRow) error {
			var r eventRow
			err := row.Scan(r.into()...)
			ev := r.event(nil)
			id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
			out[id] = append(out[id], ev)
			return err
		}, keys, names, n)
	})
	return out, err
}

// sessionEvents reads events of a session until there is a page of them.
func sessionEvents(ctx context.Context, conn *pgx.Conn, q store.SessionEventQuery) (evs []*callbackd.Event, err error) {
	sql, limit := selectEventsOf, min(max(q.Limit, 1), store.MaxPage)
	if q.Newest {
		sql = selectNewestEventsOf
	}
	for size := 0; len(evs) < limit && size < store.MaxPageData; {
		n, chunk := 0, min(upChunk, limit-len(evs))
		err = each(ctx, conn, sql, func(row pgx.CollectableRow) error {
			var r eventRow
			var data []byte
			err := row.Scan(r.into(&data)...)
			if n++; err != nil || size >= store.MaxPageData {
				return err
			}
			size += len(data)
			ev := r.event(data)
			if evs = append(evs, ev); q.Newest {
				q.Before = ev.Sequence
			} else {
				q.After = ev.Sequence
			}
			return nil
		}, int64(q.Key), q.Session, q.After, q.Before, chunk)
		if err != nil || n < chunk {
			break
		}
	}
	return evs, err
}

// withDeliveries adds to each event where its deliveries stand.
func withDeliveries(ctx context.Context, q querier, evs []*callbackd.Event, cbs *keyCallbacks) ([]store.SessionEvent, error) {
	var ids []callbackd.DeliveryID
	for _, ev := range evs {
		for _, no := range slices.Sorted(slices.Values(ev.Targets)) {
			ids = append(ids, callbackd.DeliveryID{Event: ev.ID, Callback: no})
		}
	}
	places, err := stands(ctx, q, ids, cbs.ended)
	if err != nil {
		return nil, err
	}
	var failed []callbackd.DeliveryID
	for i, p := range places {
		if p.State != callbackd.Delivered && p.Attempts > 0 {
			failed = append(failed, ids[i])
		}
	}
	last, err := lastAttempts(ctx, q, failed)
	if err != nil {
		return nil, err
	}
	out := make([]store.SessionEvent, len(evs))
	at := 0
	for i, ev := range evs {
		out[i].Event = ev
		for range ev.Targets {
			id, p := ids[at], places[at]
			out[i].Deliveries = append(out[i].Deliveries, store.DeliveryView{ID: id, Callback: cbs.known[id.Callback], DeliveryState: p, Last: last[id]})
			at++
		}
	}
	return out, nil
}
