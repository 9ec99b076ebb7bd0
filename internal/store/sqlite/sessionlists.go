package sqlite

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/ncruces/go-sqlite3"
)

// ListSessions is part of [store.Sessions].
func (s *Store) ListSessions(ctx context.Context, q store.SessionQuery) (page store.SessionPage, err error) {
	l := &sessionLister{q: q, text: store.NewSearch(q.Text), limit: min(max(q.Limit, 1), store.MaxPage)}
	err = s.read(ctx, func(d *db) error {
		switch {
		case q.VIN != "":
			return l.exactly(d, "INDEXED BY sessions_by_vin ON s.key_no = k.no AND substr(s.search, length(s.session) + 2, 17) = ?", store.SearchText(q.VIN))
		case q.SessionKey != "":
			return l.exactly(d, "ON s.key_no = k.no AND s.session = ?", q.SessionKey)
		case q.Key == store.AllKeys:
			return l.scan(d, "INDEXED BY sessions_by_creation WHERE ")
		case q.Status != "":
			return l.scan(d, "INDEXED BY sessions_by_status WHERE key_no = ? AND status = ? AND ", int64(q.Key), string(q.Status))
		}
		return l.scan(d, "INDEXED BY sessions_by_time WHERE key_no = ? AND ", int64(q.Key))
	})
	return l.page, err
}

type sessionLister struct {
	q     store.SessionQuery
	text  store.Search
	limit int
	size  int
	page  store.SessionPage
}

// listedColumns is sessionColumns without the results.
const listedColumns = "no, key_no, session, status, created_at, ended_at, reference, NULL, document"

// scan walks the sessions that where chooses, newest first, after the cursor.
func (l *sessionLister) scan(d *db, where string, args ...any) error {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	if !l.q.Since.IsZero() {
		lo = ceilMilli(l.q.Since)
	}
	if !l.q.Until.IsZero() {
		hi = ceilMilli(l.q.Until)
	}
	at, session, key := hi, "", callbackd.KeyID(0)
	if l.q.After.SessionKey != "" {
		if c := l.q.After.CreatedAt.UnixMilli(); c < hi {
			at, session, key = c, l.q.After.SessionKey, l.q.After.Key
		}
	}
	after := "created_at >= ? AND (created_at, session) < (?, ?) ORDER BY created_at DESC, session DESC LIMIT ?"
	args = append(args, lo, at, session)
	if l.q.Key == store.AllKeys {
		after = "created_at >= ? AND (created_at, session, key_no) < (?, ?, ?) ORDER BY created_at DESC, session DESC, key_no DESC LIMIT ?"
		args = append(args, int64(key))
	}
	seen := 0
	var last store.SessionCursor
	stop := callbackd.Errorf(callbackd.KindInternal, "enough")
	err := d.query("SELECT "+listedColumns+", search FROM sessions "+where+after,
		func(st *sqlite3.Stmt) error {
			if len(l.page.Sessions) == l.limit || l.size >= store.MaxPageData { // there is more
				l.page.Next = last
				return stop
			}
			seen++
			last = store.SessionCursor{CreatedAt: columnTime(st, 4), SessionKey: st.ColumnText(2)}
			if l.q.Key == store.AllKeys {
				last.Key = callbackd.KeyID(st.ColumnInt64(1))
			}
			if l.q.Status != "" && st.ColumnText(3) != string(l.q.Status) || !l.text.Finds(st.ColumnText(9), st.ColumnRawBlob(6)) {
				return nil
			}
			w, err := core.ScanSession(stmtRow{st})
			if err != nil {
				return err
			}
			l.size += store.SessionSize(w.Stored)
			l.page.Sessions = append(l.page.Sessions, w.Stored)
			return nil
		}, append(args, store.MaxScan)...)
	if err == stop {
		return nil
	}
	if seen == store.MaxScan {
		l.page.Next = last
	}
	return err
}

// exactly finds the sessions that on names, in each of the keys.
func (l *sessionLister) exactly(d *db, on, text string) error {
	return d.query("SELECT s.no, s.key_no, s.session, s.status, s.created_at, s.ended_at, s.reference, NULL, s.document FROM keys k CROSS JOIN sessions s "+on+
		" WHERE ?2 = 0 OR k.no = ?2 ORDER BY s.created_at DESC, s.session DESC, s.key_no DESC LIMIT ?3",
		func(st *sqlite3.Stmt) error {
			w, err := core.ScanSession(stmtRow{st})
			if err != nil {
				return err
			}
			l.page.Sessions = append(l.page.Sessions, w.Stored)
			return nil
		}, text, int64(l.q.Key), l.limit)
}

// ceilMilli is t in milliseconds, rounded up: times are kept in milliseconds.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// SessionEvents is part of [store.Sessions].
func (s *Store) SessionEvents(ctx context.Context, q store.SessionEventQuery) (out []store.SessionEvent, err error) {
	cbs := callbacksOf(store.DeliveryQuery{Key: q.Key})
	limit := min(max(q.Limit, 1), store.MaxPage)
	if q.Before == 0 {
		q.Before = math.MaxInt64
	}
	young, floor := s.buffer.newest(q.Key, q.Session, 0, math.MaxInt64)
	size, enough := 0, callbackd.Errorf(callbackd.KindInternal, "enough")
	row := func(st *sqlite3.Stmt) error {
		if len(out) == limit || size >= store.MaxPageData {
			return enough
		}
		ev := scanEvent(st)
		ev.Data = st.ColumnBlob(8, nil)
		size += len(ev.Data)
		out = append(out, store.SessionEvent{Event: ev})
		return nil
	}
	err = s.read(ctx, func(d *db) error {
		indexed := func(order string) error {
			return d.query("SELECT "+indexedColumns+", e.data FROM session_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.session = ? AND x.sequence > ? AND x.sequence < ? AND x.id < ? ORDER BY x.sequence "+order+" LIMIT ?",
				row, int64(q.Key), q.Session, q.After, q.Before, floor, limit-len(out))
		}
		unfolded := func(ids iter.Seq2[int, callbackd.EventID]) (err error) {
			for _, id := range ids {
				if err == nil {
					err = d.query("SELECT "+eventColumns+", data FROM events WHERE id = ? AND sequence > ? AND sequence < ?", row, int64(id), q.After, q.Before)
				}
			}
			return err
		}
		if q.Newest {
			if err = unfolded(slices.All(young)); err == nil {
				err = indexed("DESC")
			}
		} else if err = indexed("ASC"); err == nil {
			err = unfolded(slices.Backward(young))
		}
		err = ignoreStop(err, enough)
		for i := range out {
			if err == nil {
				err = d.addLater(out[i].Event)
			}
			if err == nil {
				out[i].Deliveries, err = d.deliveriesOf(out[i].Event, cbs)
			}
		}
		return err
	})
	return out, err
}

// LatestEvents is part of [store.Sessions].
func (s *Store) LatestEvents(ctx context.Context, sessions []store.SessionID, n int) (map[store.SessionID][]*callbackd.Event, error) {
	out, floor := s.buffer.latest(sessions, n)
	return out, s.read(ctx, func(d *db) error {
		sessions, err := d.eachKey(sessions)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if len(out[session]) >= n {
				continue
			}
			err := d.query("SELECT "+indexedColumns+" FROM session_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.session = ? AND x.id < ? ORDER BY x.sequence DESC LIMIT ?",
				func(st *sqlite3.Stmt) error {
					out[session] = append(out[session], scanEvent(st))
					return nil
				}, int64(session.Key), session.SessionKey, floor, n-len(out[session]))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eachKey replaces each session with AllKeys by those of the keys that have events
// of it.
func (d *db) eachKey(sessions []store.SessionID) (out []store.SessionID, err error) {
	for _, session := range sessions {
		if session.Key != store.AllKeys {
			out = append(out, session)
			continue
		}
		err := d.query("SELECT no FROM keys WHERE EXISTS (SELECT 1 FROM session_events WHERE key_no = no AND session = ?)", func(st *sqlite3.Stmt) error {
			out = append(out, store.SessionID{Key: callbackd.KeyID(st.ColumnInt64(0)), SessionKey: session.SessionKey})
			return nil
		}, session.SessionKey)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deliveriesOf is what an event is owed to and where each delivery stands.
func (d *db) deliveriesOf(ev *callbackd.Event, cbs *keyCallbacks) (out []store.DeliveryView, err error) {
	for _, no := range slices.Sorted(slices.Values(ev.Targets)) {
		id := callbackd.DeliveryID{Event: ev.ID, Callback: no}
		cb, _, err := cbs.get(d, no)
		if err != nil {
			return nil, err
		}
		p, err := d.stand(id, cb.ended)
		if err != nil {
			return nil, err
		}
		var last *callbackd.Attempt
		if p.State != callbackd.Delivered && p.Attempts > 0 {
			if last, err = d.lastAttempt(id); err != nil {
				return nil, err
			}
		}
		out = append(out, store.DeliveryView{Last: last, ID: id, Callback: cb.Callback, DeliveryState: p})
	}
	return out, nil
}
