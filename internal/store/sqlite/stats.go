package sqlite

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// Subjects of slots.
const (
	ofAll = iota
	ofKey
	ofCallback
)

// slotID is the place of a slot.
type slotID struct {
	subject, no int64
	width       store.Interval
	at          int64 // milliseconds
}

const slotColumns = "at, delivered, failed, canceled, attempts, faults, repeats, latency"

func scanSlot(st *sqlite3.Stmt) store.Bucket {
	v := store.Bucket{At: columnTime(st, 0), Counters: store.Counters{Delivered: st.ColumnInt64(1), Failed: st.ColumnInt64(2), Canceled: st.ColumnInt64(3),
		Attempts: st.ColumnInt64(4), Faults: st.ColumnInt64(5), Repeats: st.ColumnInt64(6)}}
	v.Latency = codec.ReadLatency(st.ColumnRawBlob(7))
	return v
}

// AddCounters is part of [store.Stats].
func (s *Store) AddCounters(ctx context.Context, ts []store.MinuteCounters) error {
	sums := map[slotID]*store.Counters{}
	for i := range ts {
		for _, id := range slotsOf(ts[i].Key, ts[i].Callback, ts[i].Minute) {
			if sums[id] == nil {
				sums[id] = &store.Counters{}
			}
			sums[id].Merge(&ts[i].Counters)
		}
	}
	return s.write(ctx, func(t *tx) error {
		for id, add := range sums {
			if err := t.addSlot(id, add); err != nil {
				return err
			}
		}
		for i := range ts {
			if err := t.setReceiver(ts[i].Callback, &ts[i].Receiver); err != nil {
				return err
			}
		}
		return nil
	})
}

// slotsOf is the slots that something of a callback at a time counts in.
func slotsOf(key callbackd.KeyID, cb callbackd.CallbackID, at time.Time) (ids []slotID) {
	for subject, no := range []int64{ofAll: 0, ofKey: int64(key), ofCallback: int64(cb)} {
		for _, w := range []store.Interval{store.Minute, store.Hour} {
			ids = append(ids, slotID{int64(subject), no, w, at.Truncate(time.Duration(w)).UnixMilli()})
		}
	}
	return ids
}

func (t *tx) addSlot(id slotID, add *store.Counters) error {
	sum := *add // the command may be run again
	width := time.Duration(id.width).Milliseconds()
	err := t.query("SELECT "+slotColumns+" FROM slots WHERE subject = ? AND no = ? AND width = ? AND at = ?", func(st *sqlite3.Stmt) error {
		v := scanSlot(st)
		sum.Merge(&v.Counters)
		return nil
	}, id.subject, id.no, width, id.at)
	if err != nil {
		return err
	}
	return t.query("INSERT OR REPLACE INTO slots (subject, no, width, "+slotColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		id.subject, id.no, width, id.at, sum.Delivered, sum.Failed, sum.Canceled, sum.Attempts, sum.Faults, sum.Repeats, codec.AppendLatency(nil, &sum.Latency))
}

// countCanceled adds what was canceled without an attempt, of which nobody
// else knows.
func (t *tx) countCanceled(cb callbackd.CallbackID, at time.Time, n int) error {
	if n == 0 {
		return nil
	}
	var key callbackd.KeyID
	err := t.query("SELECT key_no FROM callbacks WHERE no = ?", func(st *sqlite3.Stmt) error { key = callbackd.KeyID(st.ColumnInt64(0)); return nil }, int64(cb))
	for _, id := range slotsOf(key, cb, at) {
		if err == nil {
			err = t.addSlot(id, &store.Counters{Canceled: int64(n)})
		}
	}
	return err
}

func (t *tx) setReceiver(no callbackd.CallbackID, r *store.Receiver) error {
	if *r == (store.Receiver{}) {
		return nil
	}
	return t.query(`INSERT INTO receivers (callback_no, last_success, last_failure, last_fault, last_status, cert_not_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT (callback_no) DO UPDATE SET last_success = coalesce(?2, last_success),
		last_fault = iif(?3 IS NULL, last_fault, ?4), last_status = iif(?3 IS NULL, last_status, ?5), last_failure = coalesce(?3, last_failure),
		cert_not_after = coalesce(?6, cert_not_after)`, nil,
		int64(no), r.LastSuccess, r.LastFailure, string(r.LastFault), r.LastStatus, r.CertNotAfter)
}

// ListStats is part of [store.Stats].
func (s *Store) ListStats(ctx context.Context, q store.StatsQuery) (out []store.Bucket, err error) {
	subject, no := int64(ofAll), int64(0)
	switch {
	case q.Callback != 0:
		cb, err := s.CallbackByID(ctx, q.Callback)
		if err == nil && q.Key != 0 && cb.Key != q.Key {
			err = callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d", q.Callback)
		}
		if err != nil {
			return nil, err
		}
		subject, no = ofCallback, int64(q.Callback)
	case q.Key != 0:
		subject, no = ofKey, int64(q.Key)
	}
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+slotColumns+" FROM slots WHERE subject = ? AND no = ? AND width = ? AND at >= ? AND at < ? ORDER BY at", func(st *sqlite3.Stmt) error {
			out = append(out, scanSlot(st))
			return nil
		}, subject, no, time.Duration(q.Interval).Milliseconds(), q.Since.UnixMilli(), q.Until.UnixMilli())
	})
	return out, err
}

// CountPending is part of [store.Stats].
func (s *Store) CountPending(ctx context.Context, cb callbackd.CallbackID, q store.PendingQuery) (out store.Backlog, err error) {
	if ended, err := s.ended(ctx, cb); err != nil || ended {
		return out, err
	}
	young := s.tail.of(cb, "", 0, q.Limit)
	err = s.read(ctx, func(d *db) error {
		out, err = d.countPending(cb, young, q)
		return err
	})
	return out, err
}

// countPending counts rows and young deliveries; one that was folded in
// between is in both.
func (d *db) countPending(cb callbackd.CallbackID, young []callbackd.Delivery, q store.PendingQuery) (out store.Backlog, err error) {
	rows := map[callbackd.EventID]bool{}
	err = d.query("SELECT event_id, manual, replay, first_failed_at, due FROM pending WHERE callback_no = ? ORDER BY event_id LIMIT ?", func(st *sqlite3.Stmt) error {
		v := callbackd.Delivery{ID: callbackd.DeliveryID{Event: callbackd.EventID(st.ColumnInt64(0)), Callback: cb}, Manual: st.ColumnBool(1),
			Replay: callbackd.ReplayID(st.ColumnInt64(2)), FirstFailedAt: columnTime(st, 3), Due: columnTime(st, 4)}
		rows[v.ID.Event] = true
		out.Add(&v, q)
		return nil
	}, int64(cb), q.Limit)
	for i := range young {
		if !rows[young[i].ID.Event] {
			out.Add(&young[i], q)
		}
	}
	return out, err
}

// Receiver is part of [store.Stats].
func (s *Store) Receiver(ctx context.Context, cb callbackd.CallbackID) (out store.Receiver, err error) {
	err = s.read(ctx, func(d *db) error {
		out, err = d.receiver(cb)
		return err
	})
	return out, err
}

func (d *db) receiver(cb callbackd.CallbackID) (r store.Receiver, err error) {
	err = d.query("SELECT last_success, last_failure, last_fault, last_status, cert_not_after FROM receivers WHERE callback_no = ?", func(st *sqlite3.Stmt) error {
		r = store.Receiver{LastSuccess: columnTime(st, 0), LastFailure: columnTime(st, 1), LastFault: callbackd.Fault(st.ColumnText(2)), LastStatus: st.ColumnInt(3), CertNotAfter: columnTime(st, 4)}
		return nil
	}, int64(cb))
	return r, err
}

// ListHealth is part of [store.Stats].
func (s *Store) ListHealth(ctx context.Context, q store.HealthQuery) (page store.HealthPage, err error) {
	var listed store.CallbackPage
	if q.Attention {
		listed.Callbacks, err = s.attention(ctx, q.CertBefore)
	} else {
		listed, err = s.ListCallbacks(ctx, q.CallbackQuery)
	}
	if err != nil {
		return page, err
	}
	cbs := listed.Callbacks
	young := map[callbackd.CallbackID][]callbackd.Delivery{}
	for _, cb := range cbs {
		young[cb.ID] = s.tail.of(cb.ID, "", 0, store.MaxPendingShown)
	}
	pending := store.PendingQuery{OverdueBefore: q.OverdueBefore, Limit: store.MaxPendingShown}
	out := make([]store.CallbackHealth, len(cbs))
	return store.HealthPage{Callbacks: out, Next: listed.Next}, s.read(ctx, func(d *db) error {
		for i, cb := range cbs {
			h := &out[i]
			h.Callback = cb
			var err error
			if h.Receiver, err = d.receiver(cb.ID); err != nil {
				return err
			}
			if h.Backlog, err = d.countPending(cb.ID, young[cb.ID], pending); err != nil {
				return err
			}
		}
		return nil
	})
}

// attention is the callbacks in force, of all keys, with something to see to.
func (s *Store) attention(ctx context.Context, certBefore time.Time) (out []*callbackd.Callback, err error) {
	nos := s.tail.callbacks()
	nos = nos[:min(len(nos), store.MaxAttention)]
	err = s.read(ctx, func(d *db) error {
		add := func(st *sqlite3.Stmt) error {
			nos = append(nos, callbackd.CallbackID(st.ColumnInt64(0)))
			return nil
		}
		return errors.Join(
			d.query("SELECT no FROM callbacks INDEXED BY callbacks_failing WHERE failing_since IS NOT NULL AND deleted_at IS NULL ORDER BY no LIMIT ?", add, store.MaxAttention),
			d.query("SELECT no FROM callbacks INDEXED BY callbacks_paused WHERE pause_reason != '' AND deleted_at IS NULL ORDER BY no LIMIT ?", add, store.MaxAttention),
			d.query("SELECT callback_no FROM receivers WHERE cert_not_after < ? ORDER BY cert_not_after LIMIT ?", add, certBefore, store.MaxAttention),
			d.backlogs(store.MaxAttention, func(no callbackd.CallbackID) { nos = append(nos, no) }),
		)
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(nos)
	for _, no := range slices.Compact(nos) {
		ended, err := s.ended(ctx, no)
		if err != nil {
			return nil, err
		}
		if ended {
			continue
		}
		cb, err := s.CallbackByID(ctx, no)
		if err != nil {
			return nil, err
		}
		out = append(out, cb)
	}
	slices.SortStableFunc(out, func(a, b *callbackd.Callback) int { return cmp.Compare(rank(a), rank(b)) })
	return out[:min(len(out), store.MaxAttention)], nil
}

// rank puts what fails or is paused before what only waits.
func rank(cb *callbackd.Callback) int {
	if !cb.FailingSince.IsZero() || cb.Paused() {
		return 0
	}
	return 1
}
