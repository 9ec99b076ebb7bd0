package core

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Subjects of the counters.
const (
	ofAll = iota
	ofKey
	ofCallback
)

// bucketID is the place of a row of counters.
type bucketID struct {
	subject, subjectID int64
	interval           store.Interval
	at                 int64 // milliseconds
}

// Sums collects counters that are added in one transaction.
type Sums map[bucketID]*store.Counters

// Add adds counters of a callback at a time to all the rows that they count in.
func (m Sums) Add(key callbackd.KeyID, cb callbackd.CallbackID, at time.Time, counters *store.Counters) {
	for subject, subjectID := range []int64{ofAll: 0, ofKey: int64(key), ofCallback: int64(cb)} {
		for _, interval := range []store.Interval{store.Minute, store.Hour} {
			id := bucketID{int64(subject), subjectID, interval, at.Truncate(time.Duration(interval)).UnixMilli()}
			if m[id] == nil {
				m[id] = &store.Counters{}
			}
			m[id].Merge(counters)
		}
	}
}

func compareBuckets(a, b bucketID) int {
	return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.subjectID, b.subjectID), cmp.Compare(a.interval, b.interval), cmp.Compare(a.at, b.at))
}

// AddSums adds counters to those that are stored. All nodes lock the rows in the
// same order.
func (s *Store) AddSums(tx Tx, m Sums) error {
	var rows [][]any
	for _, id := range slices.SortedFunc(maps.Keys(m), compareBuckets) {
		c := m[id]
		rows = append(rows, []any{id.subject, id.subjectID, time.Duration(id.interval).Milliseconds(), id.at,
			c.Delivered, c.Failed, c.Canceled, c.Attempts, c.Faults, c.Repeats, store.Counts(c.Latency[:]), c.Expired, store.Counts(c.ByFault[:])})
	}
	return tx.Batch(`INSERT INTO slots (subject, no, width, at, delivered, failed, canceled, attempts, faults, repeats, latency, expired, by_fault) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
	ON CONFLICT (subject, no, width, at) DO UPDATE SET delivered = slots.delivered + excluded.delivered, failed = slots.failed + excluded.failed, canceled = slots.canceled + excluded.canceled, expired = slots.expired + excluded.expired,
		attempts = slots.attempts + excluded.attempts, faults = slots.faults + excluded.faults, repeats = slots.repeats + excluded.repeats, latency = `+s.d.addCounts("latency")+`, by_fault = `+s.d.addCounts("by_fault"), nil, rows)
}

const updateReceiver = `INSERT INTO receivers (callback_no, last_success, last_failure, last_fault, last_status, cert_not_after) VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (callback_no) DO UPDATE SET last_success = coalesce(excluded.last_success, receivers.last_success),
		last_fault = CASE WHEN excluded.last_failure IS NULL THEN receivers.last_fault ELSE excluded.last_fault END,
		last_status = CASE WHEN excluded.last_failure IS NULL THEN receivers.last_status ELSE excluded.last_status END,
		last_failure = coalesce(excluded.last_failure, receivers.last_failure), cert_not_after = coalesce(excluded.cert_not_after, receivers.cert_not_after)`

// AddCounters is part of [store.Stats].
func (s *Store) AddCounters(ctx context.Context, counters []store.MinuteCounters) error {
	sums := Sums{}
	var receivers [][]any
	for i := range counters {
		c := &counters[i]
		sums.Add(c.Key, c.Callback, c.Minute, &c.Counters)
		if r := c.Receiver; r != (store.Receiver{}) {
			receivers = append(receivers, []any{c.Callback, r.LastSuccess, r.LastFailure, string(r.LastFault), r.LastStatus, r.CertNotAfter})
		}
	}
	slices.SortStableFunc(receivers, func(a, b []any) int { // the order in which all nodes lock
		return cmp.Compare(a[0].(callbackd.CallbackID), b[0].(callbackd.CallbackID))
	})
	return s.db.Write(ctx, 0, func(tx Tx) error {
		if err := s.AddSums(tx, sums); err != nil {
			return err
		}
		return tx.Batch(updateReceiver, nil, receivers)
	})
}

// ListStats is part of [store.Stats].
func (s *Store) ListStats(ctx context.Context, q store.StatsQuery) (out []store.Bucket, err error) {
	subject, subjectID := ofAll, int64(0)
	switch {
	case q.Callback != 0:
		cb, err := s.CallbackByID(ctx, q.Callback)
		if err != nil {
			return nil, err
		}
		if q.Key != 0 && cb.Key != q.Key {
			return nil, callbackd.Errorf(callbackd.KindNotFound, "there is no callback %d", q.Callback)
		}
		subject, subjectID = ofCallback, int64(q.Callback)
	case q.Key != 0:
		subject, subjectID = ofKey, int64(q.Key)
	}
	err = s.db.Read(ctx, func(tx Tx) error {
		out = nil
		return tx.Query(`SELECT at, delivered, failed, canceled, attempts, faults, repeats, latency, expired, by_fault FROM slots
			WHERE subject = $1 AND no = $2 AND width = $3 AND at >= $4 AND at < $5 ORDER BY subject, no, width, at`, func(row Row) error {
			var b store.Bucket
			err := row.Scan(&b.At, &b.Delivered, &b.Failed, &b.Canceled, &b.Attempts, &b.Faults, &b.Repeats, store.Counts(b.Latency[:]), &b.Expired, store.Counts(b.ByFault[:]))
			out = append(out, b)
			return err
		}, subject, subjectID, time.Duration(q.Interval).Milliseconds(), q.Since.UnixMilli(), q.Until.UnixMilli())
	})
	return out, err
}

// countPending counts the pending deliveries, oldest events first and up to a limit:
// those below an event, how many of them are overdue, and when the longest wait began.
// The CASE is [callbackd.Delivery.WaitsSince], as storetest proves.
const countPending = `SELECT CAST($1 AS bigint), count(*) FILTER (WHERE event_id < $2), count(*) FILTER (WHERE event_id < $2 AND since < $3), min(since)
	FROM (SELECT event_id, CASE WHEN NOT manual AND replay = 0 THEN coalesce(deliver_at, event_id >> 21) ELSE coalesce(first_failed_at, due) END AS since
		FROM pending WHERE callback_no = $1 ORDER BY event_id LIMIT $4) AS oldest`

// pendingOf counts the pending deliveries of each of the callbacks. result returns where
// to store the counts of one.
func pendingOf(tx Tx, ids []callbackd.CallbackID, q store.PendingQuery, result func(callbackd.CallbackID) *store.Backlog) error {
	below := q.Below
	if below == 0 {
		below = 1<<63 - 1
	}
	var args [][]any
	for _, id := range ids {
		args = append(args, []any{id, below, q.OverdueBefore, q.Limit})
	}
	return tx.Batch(countPending, func(row Row) error {
		var id callbackd.CallbackID
		var b store.Backlog
		err := row.Scan(&id, &b.Pending, &b.Overdue, &b.Since)
		if err == nil {
			*result(id) = b
		}
		return err
	}, args)
}

// receiversOf reads the latest results of the callbacks' receivers. result returns where
// to store those of one.
func (s *Store) receiversOf(tx Tx, ids []callbackd.CallbackID, result func(callbackd.CallbackID) *store.Receiver) error {
	return tx.Query("SELECT callback_no, last_success, last_failure, last_fault, last_status, cert_not_after FROM receivers WHERE callback_no "+s.d.In("$1"), func(row Row) error {
		var id callbackd.CallbackID
		var r store.Receiver
		err := row.Scan(&id, &r.LastSuccess, &r.LastFailure, &r.LastFault, &r.LastStatus, &r.CertNotAfter)
		if err == nil {
			*result(id) = r
		}
		return err
	}, ids)
}

// Health is part of [store.Stats].
func (s *Store) Health(ctx context.Context, id callbackd.CallbackID, q store.PendingQuery) (out store.Health, err error) {
	ended, err := s.Ended(ctx, id)
	if err != nil {
		return out, err
	}
	counts, read := q.Limit > 0 && !ended, s.db.Read
	if counts {
		read = s.db.ReadFlushed
	}
	ids := []callbackd.CallbackID{id}
	err = read(ctx, func(tx Tx) error {
		out = store.Health{}
		err := s.receiversOf(tx, ids, func(callbackd.CallbackID) *store.Receiver { return &out.Receiver })
		if err != nil || !counts {
			return err
		}
		return pendingOf(tx, ids, q, func(callbackd.CallbackID) *store.Backlog { return &out.Backlog })
	})
	return out, err
}

// ListHealth is part of [store.Stats].
func (s *Store) ListHealth(ctx context.Context, q store.HealthQuery) (page store.HealthPage, err error) {
	var listed store.CallbackPage
	if q.Attention {
		listed.Callbacks, err = s.needAttention(ctx, q.CertBefore)
	} else {
		listed, err = s.ListCallbacks(ctx, q.CallbackQuery)
	}
	if err != nil {
		return page, err
	}
	cbs := listed.Callbacks
	out := make([]store.CallbackHealth, len(cbs))
	ids := make([]callbackd.CallbackID, len(cbs))
	place := make(map[callbackd.CallbackID]*store.CallbackHealth, len(cbs))
	for i, cb := range cbs {
		out[i].Callback, ids[i], place[cb.ID] = cb, cb.ID, &out[i]
	}
	pending := store.PendingQuery{OverdueBefore: q.OverdueBefore, Limit: store.MaxPendingShown}
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		err := s.receiversOf(tx, ids, func(id callbackd.CallbackID) *store.Receiver { return &place[id].Receiver })
		if err != nil {
			return err
		}
		return pendingOf(tx, ids, pending, func(id callbackd.CallbackID) *store.Backlog { return &place[id].Backlog })
	})
	return store.HealthPage{Callbacks: out, Next: listed.Next}, err
}

// needAttention returns the callbacks in force, of all keys, that fail, are
// paused, wait or have a certificate that ends before the time. Those that fail
// or are paused come first.
func (s *Store) needAttention(ctx context.Context, certBefore time.Time) (out []*callbackd.Callback, err error) {
	var ids []callbackd.CallbackID
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		if ids, err = pendingIndex.callbacks(tx, store.MaxAttention); err != nil {
			return err
		}
		for _, q := range []struct {
			sql  string
			args []any
		}{
			{"SELECT no FROM callbacks WHERE failing_since IS NOT NULL AND deleted_at IS NULL ORDER BY no LIMIT $1", []any{store.MaxAttention}},
			{"SELECT no FROM callbacks WHERE pause_reason <> '' AND deleted_at IS NULL ORDER BY no LIMIT $1", []any{store.MaxAttention}},
			{"SELECT callback_no FROM receivers WHERE cert_not_after < $2 ORDER BY cert_not_after LIMIT $1", []any{store.MaxAttention, certBefore}},
		} {
			err := tx.Query(q.sql, func(row Row) error {
				var id callbackd.CallbackID
				err := row.Scan(&id)
				ids = append(ids, id)
				return err
			}, q.args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		cb, err := s.CallbackByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if !cb.Deleted() {
			out = append(out, cb)
		}
	}
	slices.SortStableFunc(out, func(a, b *callbackd.Callback) int { return cmp.Compare(urgency(a), urgency(b)) })
	return out[:min(len(out), store.MaxAttention)], nil
}

// urgency orders callbacks that fail or are paused before those that only have pending
// deliveries.
func urgency(cb *callbackd.Callback) int {
	if !cb.FailingSince.IsZero() || cb.Paused() {
		return 0
	}
	return 1
}
