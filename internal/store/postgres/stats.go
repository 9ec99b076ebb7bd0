package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
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

// slotsOf is the slots that something of a callback at a time counts in.
func slotsOf(key callbackd.KeyID, cb callbackd.CallbackID, at time.Time) (ids []slotID) {
	for subject, no := range []int64{ofAll: 0, ofKey: int64(key), ofCallback: int64(cb)} {
		for _, w := range []store.Interval{store.Minute, store.Hour} {
			ids = append(ids, slotID{int64(subject), no, w, at.Truncate(time.Duration(w)).UnixMilli()})
		}
	}
	return ids
}

// sums is what is added to slots.
type sums map[slotID]*store.Counters

func (m sums) add(key callbackd.KeyID, cb callbackd.CallbackID, at time.Time, add *store.Counters) {
	for _, id := range slotsOf(key, cb, at) {
		if m[id] == nil {
			m[id] = &store.Counters{}
		}
		m[id].Merge(add)
	}
}

// addSlots adds in the database: nodes that add to one slot add up. The
// buckets of latencies go along as the text of an array, because arrays of
// arrays lose their shape.
const addSlots = `INSERT INTO slots AS s (subject, no, width, at, delivered, failed, canceled, attempts, faults, repeats, latency)
	SELECT a, b, c, d, e, f, g, h, i, j, k::bigint[] FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])
		AS o (a, b, c, d, e, f, g, h, i, j, k)
	ON CONFLICT (subject, no, width, at) DO UPDATE SET delivered = s.delivered + excluded.delivered, failed = s.failed + excluded.failed, canceled = s.canceled + excluded.canceled,
		attempts = s.attempts + excluded.attempts, faults = s.faults + excluded.faults, repeats = s.repeats + excluded.repeats,
		latency = ARRAY (SELECT coalesce(x, 0) + coalesce(y, 0) FROM unnest(s.latency, excluded.latency) WITH ORDINALITY AS l (x, y, n) ORDER BY n)`

// queue queues the statement, in the order in which all nodes lock.
func (m sums) queue(b *pgx.Batch) {
	if len(m) == 0 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(m), func(a, b slotID) int {
		return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.no, b.no), cmp.Compare(a.width, b.width), cmp.Compare(a.at, b.at))
	})
	var columns [10][]int64
	latencies := make([]string, len(ids))
	for i, id := range ids {
		v := m[id]
		for c, n := range []int64{id.subject, id.no, time.Duration(id.width).Milliseconds(), id.at, v.Delivered, v.Failed, v.Canceled, v.Attempts, v.Faults, v.Repeats} {
			columns[c] = append(columns[c], n)
		}
		latencies[i] = latencyText(&v.Latency)
	}
	args := make([]any, 0, len(columns)+1)
	for _, c := range columns {
		args = append(args, c)
	}
	b.Queue(addSlots, append(args, latencies)...)
}

func latencyText(l *store.Latency) string {
	end := len(l)
	for end > 0 && l[end-1] == 0 {
		end--
	}
	var b strings.Builder
	for i, n := range l[:end] {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, n)
	}
	return "{" + b.String() + "}"
}

const setReceivers = `INSERT INTO receivers AS r (callback_no, last_success, last_failure, last_fault, last_status, cert_not_after)
	SELECT a, nullif(b, 0), nullif(c, 0), d, e, nullif(f, 0) FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[]) AS o (a, b, c, d, e, f)
	ON CONFLICT (callback_no) DO UPDATE SET last_success = coalesce(excluded.last_success, r.last_success),
		last_fault = CASE WHEN excluded.last_failure IS NULL THEN r.last_fault ELSE excluded.last_fault END,
		last_status = CASE WHEN excluded.last_failure IS NULL THEN r.last_status ELSE excluded.last_status END,
		last_failure = coalesce(excluded.last_failure, r.last_failure), cert_not_after = coalesce(excluded.cert_not_after, r.cert_not_after)`

// AddCounters is part of [store.Stats].
func (s *Store) AddCounters(ctx context.Context, ts []store.MinuteCounters) error {
	m := sums{}
	known := map[callbackd.CallbackID]store.Receiver{}
	for i := range ts {
		t := &ts[i]
		m.add(t.Key, t.Callback, t.Minute, &t.Counters)
		if t.Receiver != (store.Receiver{}) {
			known[t.Callback] = later(known[t.Callback], t.Receiver)
		}
	}
	return s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		var b pgx.Batch
		m.queue(&b)
		queueReceivers(&b, known)
		return tx.SendBatch(ctx, &b).Close()
	})
}

// later is what is known of a receiver after r was learned too.
func later(have, r store.Receiver) store.Receiver {
	if !r.LastSuccess.IsZero() {
		have.LastSuccess = r.LastSuccess
	}
	if !r.LastFailure.IsZero() {
		have.LastFailure, have.LastFault, have.LastStatus = r.LastFailure, r.LastFault, r.LastStatus
	}
	if !r.CertNotAfter.IsZero() {
		have.CertNotAfter = r.CertNotAfter
	}
	return have
}

func queueReceivers(b *pgx.Batch, known map[callbackd.CallbackID]store.Receiver) {
	if len(known) == 0 {
		return
	}
	var nos, successes, failures, certs []int64
	var faults []string
	var statuses []int32
	for _, no := range slices.Sorted(maps.Keys(known)) {
		r := known[no]
		nos, faults, statuses = append(nos, int64(no)), append(faults, string(r.LastFault)), append(statuses, int32(r.LastStatus))
		successes, failures, certs = append(successes, millis(r.LastSuccess)), append(failures, millis(r.LastFailure)), append(certs, millis(r.CertNotAfter))
	}
	b.Queue(setReceivers, nos, successes, failures, faults, statuses, certs)
}

// ListStats is part of [store.Stats].
func (s *Store) ListStats(ctx context.Context, q store.StatsQuery) (out []store.Bucket, err error) {
	subject, no := ofAll, int64(0)
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
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT at, delivered, failed, canceled, attempts, faults, repeats, latency FROM slots
			WHERE subject = $1 AND no = $2 AND width = $3 AND at >= $4 AND at < $5 ORDER BY subject, no, width, at`,
			subject, no, time.Duration(q.Interval).Milliseconds(), q.Since.UnixMilli(), q.Until.UnixMilli())
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanSlot)
		return err
	})
	return out, err
}

func scanSlot(row pgx.CollectableRow) (v store.Bucket, err error) {
	var at int64
	var latency []int64
	err = row.Scan(&at, &v.Delivered, &v.Failed, &v.Canceled, &v.Attempts, &v.Faults, &v.Repeats, &latency)
	v.At = fromMillis(at)
	for i, n := range latency[:min(len(latency), len(v.Latency))] {
		v.Latency[i] = uint32(n)
	}
	return v, err
}

// selectWaiting counts what waits, oldest events first, up to a limit: those
// below an event, of these the overdue ones, and when the longest wait began.
// The CASE is callbackd.Delivery.WaitsSince.
const selectWaiting = `SELECT o.no, p.n, p.overdue, p.since FROM unnest($1::bigint[]) AS o (no)
	CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE event_id < $2) AS n, count(*) FILTER (WHERE event_id < $2 AND since < $3) AS overdue, coalesce(min(since), 0) AS since
		FROM (SELECT event_id, CASE WHEN NOT manual AND replay = 0 THEN event_id >> 21 ELSE coalesce(first_failed_at, due) END AS since
			FROM pending WHERE callback_no = o.no ORDER BY event_id LIMIT $4) f LIMIT 1) p`

// addWaiting adds selectWaiting for callbacks; of is where each one's backlog goes.
func addWaiting(p *pipeline, nos []int64, q store.PendingQuery, of func(no int64) *store.Backlog) {
	below := int64(q.Below)
	if below == 0 {
		below = 1 << 62
	}
	p.add(selectWaiting, func(row pgx.CollectableRow) error {
		var no, since int64
		var b store.Backlog
		err := row.Scan(&no, &b.Pending, &b.Overdue, &since)
		b.Since = fromMillis(since)
		if since == 0 {
			b.Since = time.Time{}
		}
		*of(no) = b
		return err
	}, nos, below, millis(q.OverdueBefore), q.Limit)
}

// CountPending is part of [store.Stats].
func (s *Store) CountPending(ctx context.Context, cb callbackd.CallbackID, q store.PendingQuery) (out store.Backlog, err error) {
	if ended, err := s.ended(ctx, cb); err != nil || ended {
		return out, err
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var p pipeline
		addWaiting(&p, []int64{int64(cb)}, q, func(int64) *store.Backlog { return &out })
		return p.run(ctx, conn)
	})
	return out, err
}

// addReceivers adds the reading of receivers; of is where each one goes.
func addReceivers(p *pipeline, nos []int64, of func(no int64) *store.Receiver) {
	p.add("SELECT callback_no, last_success, last_failure, last_fault, last_status, cert_not_after FROM receivers WHERE callback_no = ANY ($1::bigint[])", func(row pgx.CollectableRow) error {
		var no int64
		var success, failure, cert *int64
		var r store.Receiver
		err := row.Scan(&no, &success, &failure, (*string)(&r.LastFault), &r.LastStatus, &cert)
		r.LastSuccess, r.LastFailure, r.CertNotAfter = fromNullMillis(success), fromNullMillis(failure), fromNullMillis(cert)
		*of(no) = r
		return err
	}, nos)
}

// Receiver is part of [store.Stats].
func (s *Store) Receiver(ctx context.Context, cb callbackd.CallbackID) (out store.Receiver, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var p pipeline
		addReceivers(&p, []int64{int64(cb)}, func(int64) *store.Receiver { return &out })
		return p.run(ctx, conn)
	})
	return out, err
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
	out := make([]store.CallbackHealth, len(cbs))
	place := make(map[int64]*store.CallbackHealth, len(cbs))
	nos := make([]int64, len(cbs))
	for i, cb := range cbs {
		out[i].Callback, nos[i], place[int64(cb.ID)] = cb, int64(cb.ID), &out[i]
	}
	return store.HealthPage{Callbacks: out, Next: listed.Next}, s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var p pipeline
		addReceivers(&p, nos, func(no int64) *store.Receiver { return &place[no].Receiver })
		pending := store.PendingQuery{OverdueBefore: q.OverdueBefore, Limit: store.MaxPendingShown}
		addWaiting(&p, nos, pending, func(no int64) *store.Backlog { return &place[no].Backlog })
		return p.run(ctx, conn)
	})
}

// attention is the callbacks in force, of all keys, with something to see to.
func (s *Store) attention(ctx context.Context, certBefore time.Time) (out []*callbackd.Callback, err error) {
	nos, err := s.backlogs(ctx, store.MaxAttention)
	if err != nil {
		return nil, err
	}
	var more []callbackd.CallbackID
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		more = nil
		var p pipeline
		add := func(row pgx.CollectableRow) error {
			var no int64
			err := row.Scan(&no)
			more = append(more, callbackd.CallbackID(no))
			return err
		}
		p.add("SELECT no FROM callbacks WHERE failing_since IS NOT NULL AND deleted_at IS NULL ORDER BY no LIMIT $1", add, store.MaxAttention)
		p.add("SELECT no FROM callbacks WHERE pause_reason <> '' AND deleted_at IS NULL ORDER BY no LIMIT $1", add, store.MaxAttention)
		p.add("SELECT callback_no FROM receivers WHERE cert_not_after < $1 ORDER BY cert_not_after LIMIT $2", add, millis(certBefore), store.MaxAttention)
		return p.run(ctx, conn)
	})
	if err != nil {
		return nil, err
	}
	nos = append(nos, more...)
	slices.Sort(nos)
	for _, no := range slices.Compact(nos) {
		cb, err := s.CallbackByID(ctx, no)
		if err != nil {
			return nil, err
		}
		if !cb.Deleted() {
			out = append(out, cb)
		}
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
