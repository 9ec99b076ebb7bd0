package postgres

import (
	"cmp"
	"context"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// outcome is one attempt on its way into the database.
type outcome struct {
	command
	callbackd.Outcome
	detail []byte
	stored bool // within the try under way
	paused bool // as well
}

// end makes it the outcome of a callback that has ended.
func (o *outcome) end() {
	o.Attempt.Decision = o.Attempt.AfterEnd()
	o.detail = codec.AppendAttempt(nil, &o.Attempt)
}

// The statements of the record: an outcome of what is not pending leaves
// nothing. Joined to the queue in a DELETE the rows would be found by whatever
// order PostgreSQL takes for cheap: for a table that was empty when it was last
// counted that is all of the queue for each outcome. A LATERAL subquery with a
// LIMIT or a lock cannot be turned around, and a row is then reached by its
// place. Another transaction may have moved or taken a row between the two:
// then an attempt has no number, and the group fails on it and starts over.
const (
	lockOutcomes = `SELECT count(*) FROM (SELECT 1 FROM unnest($1::bigint[], $2::bigint[]) AS o (callback_no, event_id)
		CROSS JOIN LATERAL (SELECT 1 FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id FOR UPDATE) p) locked`
	outcomes        = `WITH found AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[]`
	waitingOutcomes = ` CROSS JOIN LATERAL (SELECT ctid AS place, attempts + 1 AS n, replay FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id `

	recordEnded = outcomes + `) AS o (callback_no, event_id, version, state, detail, error)` + waitingOutcomes + `LIMIT 1) p),
		gone AS (DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT place FROM found)) RETURNING ctid AS place),
		ended AS (UPDATE replays r SET delivered = r.delivered + c.delivered, failed = r.failed + c.failed, canceled = r.canceled + c.canceled FROM (
			SELECT replay, count(*) FILTER (WHERE state = 'delivered') AS delivered, count(*) FILTER (WHERE state = 'failed') AS failed,
				count(*) FILTER (WHERE state = 'canceled') AS canceled FROM found WHERE replay <> 0 GROUP BY replay ORDER BY replay) c WHERE r.id = c.replay),
		` + keepLastErrors + `,
		` + dropLastErrors + `
		INSERT INTO attempts (event_id, callback_no, n, version, state, detail)
		SELECT event_id, callback_no, CASE WHEN (SELECT array_agg(place ORDER BY place) FROM gone) = (SELECT array_agg(place ORDER BY place) FROM found) THEN n END, version, state, detail
		FROM found RETURNING event_id, callback_no`
	recordWaiting = outcomes + `, $7::integer[], $8::bigint[], $9::bigint[], $10::bigint[]) AS o (callback_no, event_id, version, state, detail, error, step, first_failed_at, due, holds_until)` + waitingOutcomes + `FOR UPDATE) p),
		moved AS (INSERT INTO pending AS p (callback_no, event_id, attempts, step, manual, first_failed_at, due, holds_until)
			SELECT callback_no, event_id, n, step, false, first_failed_at, nullif(due, 0), nullif(holds_until, 0) FROM found
			ON CONFLICT (callback_no, event_id) DO UPDATE SET attempts = excluded.attempts, step = excluded.step,
				first_failed_at = excluded.first_failed_at, due = excluded.due, holds_until = excluded.holds_until),
		` + keepLastErrors + `
		INSERT INTO attempts (event_id, callback_no, n, version, state, detail) SELECT event_id, callback_no, n, version, state, detail FROM found RETURNING event_id, callback_no`
	selectRecorded = `SELECT o.event_id, o.callback_no FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS o (callback_no, event_id, detail)
		CROSS JOIN LATERAL (SELECT 1 FROM attempts a WHERE a.event_id = o.event_id AND a.callback_no = o.callback_no AND a.detail = o.detail LIMIT 1 FOR KEY SHARE) a`
)

// Record is part of [store.Queue].
func (s *Store) Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error) {
	// What is known of the callback may be MaxKeyAge old: that is allowed.
	ended, err := s.Ended(ctx, o.Delivery.ID.Callback)
	if err != nil {
		return callbackd.Recorded{}, err
	}
	if ended {
		o.Attempt.Decision = o.Attempt.AfterEnd()
	}
	out := &outcome{command: newCommand(), Outcome: o, detail: codec.AppendAttempt(nil, &o.Attempt)}
	if err := submit(ctx, s, s.outcomes, out, &out.command); err != nil {
		return callbackd.Recorded{}, err
	}
	return callbackd.Recorded{State: out.Attempt.State, Paused: out.paused}, nil
}

// recordAll is the goroutine of the record.
func (s *Store) recordAll() {
	commitGroups(s.closing, s.outcomes, func(o *outcome) int { return len(o.detail) }, func(group []*outcome) {
		for len(group) > 0 {
			// A statement touches a row once: a delivery's second outcome in
			// one group has to wait for its first.
			seen := make(map[callbackd.DeliveryID]bool, len(group))
			var now, later []*outcome
			for _, o := range group {
				if id := o.Delivery.ID; seen[id] {
					later = append(later, o)
				} else {
					seen[id] = true
					now = append(now, o)
				}
			}
			s.recordGroup(now)
			for _, o := range now {
				close(o.done)
			}
			group = later
		}
	})
}

// recordGroup commits outcomes of different deliveries together.
func (s *Store) recordGroup(group []*outcome) { s.recordOrSplit(group, false) }

// recordOrSplit is recordGroup; doubtful tells that a commit of the outcomes
// was not answered.
func (s *Store) recordOrSplit(group []*outcome, doubtful bool) {
	err := s.insist(context.Background(), true, func(ctx context.Context) (bool, error) {
		committing, err := s.tryRecord(ctx, group, doubtful)
		doubtful = doubtful || err != nil && committing && judge(err, true) == unknown
		return committing, err
	})
	if err != nil && callbackd.KindOf(err) == callbackd.KindInternal && len(group) > 1 {
		for _, o := range group {
			s.recordOrSplit([]*outcome{o}, doubtful)
		}
		return
	}
	changed := false
	for _, o := range group {
		switch {
		case err != nil:
			o.err = err
		case !o.stored:
			o.err = s.recordCanceled(o)
		}
		changed = changed || !o.Change.None()
	}
	if changed {
		for _, o := range group {
			s.DropCallbacks(o.Delivery.ID.Callback)
		}
	}
	if err == nil {
		s.refusals.Committed(len(group), true)
	} else {
		s.refusals.Refuse(len(group), err)
	}
}

// tryRecord is one try: a single round trip and transaction, and one more each
// when a callback changed too and when the commit of a try before was
// not answered.
func (s *Store) tryRecord(ctx context.Context, group []*outcome, doubtful bool) (committing bool, err error) {
	defer resetWhenLate(ctx, s.hot)
	conn, err := s.hot.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer giveBack(ctx, conn)
	// All nodes lock in one order.
	slices.SortFunc(group, func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(a.Delivery.ID.Callback, b.Delivery.ID.Callback), cmp.Compare(a.Delivery.ID.Event, b.Delivery.ID.Event))
	})
	byID := make(map[callbackd.DeliveryID]*outcome, len(group))
	changes := false
	for _, o := range group {
		o.stored, o.paused = false, false
		byID[o.Delivery.ID] = o
		changes = changes || !o.Change.None()
	}
	row := func(row pgx.CollectableRow) error {
		var event, callback int64
		err := row.Scan(&event, &callback)
		if o := byID[callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(callback)}]; err == nil && o != nil {
			o.stored = true
		}
		return err
	}
	var p pipeline
	if doubtful || changes {
		p.add("BEGIN", nil)
	}
	if no := s.node.Load(); no != 0 {
		addFence(&p, callbackd.NodeID(no))
	}
	left := group
	if doubtful { // what is stored already must not be stored again
		addLocks(&p, group)
		addRecorded(&p, group, row)
		if err := p.run(ctx, conn.Conn()); err != nil {
			return false, err
		}
		p = pipeline{}
		left = slices.DeleteFunc(slices.Clone(group), func(o *outcome) bool { return o.stored })
	}
	addOutcomes(&p, left, row)
	if changes {
		if err := p.run(ctx, conn.Conn()); err != nil {
			return false, err
		}
		p = pipeline{}
		addChanges(&p, group)
	}
	if doubtful || changes {
		p.add("COMMIT", nil)
	}
	return true, p.run(ctx, conn.Conn())
}

// rows are the arrays that both kinds of outcome have.
type rows struct {
	callbacks, events, versions []int64
	states                      []string
	details                     [][]byte
	errors                      []int64
}

func (r *rows) add(o *outcome) {
	r.callbacks, r.events = append(r.callbacks, int64(o.Delivery.ID.Callback)), append(r.events, int64(o.Delivery.ID.Event))
	r.versions, r.states, r.details = append(r.versions, o.Attempt.Version), append(r.states, string(o.Attempt.State)), append(r.details, o.detail)
	r.errors = append(r.errors, lastErrorNumber(&o.Attempt, o.Attempt.State))
}

// addLocks locks the group's deliveries, and so waits for a commit of them
// that is under way.
func addLocks(p *pipeline, group []*outcome) {
	callbacks, events := make([]int64, len(group)), make([]int64, len(group))
	for i, o := range group {
		callbacks[i], events[i] = int64(o.Delivery.ID.Callback), int64(o.Delivery.ID.Event)
	}
	p.add(lockOutcomes, nil, callbacks, events)
}

func addOutcomes(p *pipeline, group []*outcome, row func(pgx.CollectableRow) error) {
	var ended, waiting rows
	var steps []int32
	var firsts, dues, holds []int64
	for _, o := range group {
		if o.Attempt.State.Terminal() {
			ended.add(o)
			continue
		}
		waiting.add(o)
		first := o.Delivery.FirstFailedAt
		if first.IsZero() {
			first = o.Attempt.StartedAt.Add(o.Attempt.Timings.Total)
		}
		steps, firsts = append(steps, int32(o.Attempt.Step)), append(firsts, notEarlier(first))
		dues, holds = append(dues, notEarlier(o.Attempt.Due)), append(holds, notEarlier(o.Attempt.HoldsUntil))
	}
	if r := &ended; len(r.events) > 0 {
		p.add(recordEnded, row, r.callbacks, r.events, r.versions, r.states, r.details, r.errors)
	}
	if r := &waiting; len(r.events) > 0 {
		p.add(recordWaiting, row, r.callbacks, r.events, r.versions, r.states, r.details, r.errors, steps, firsts, dues, holds)
	}
}

// addRecorded finds what a commit that was not answered had stored: the same
// attempt to the byte. A record that is under way keeps its rows locked, so
// that addLocks has waited for it. The attempts are locked, so that the commit
// is one that waits for the standbys, which may not have them yet.
func addRecorded(p *pipeline, group []*outcome, row func(pgx.CollectableRow) error) {
	var r rows
	for _, o := range group {
		r.add(o)
	}
	p.add(selectRecorded, row, r.callbacks, r.events, r.details)
}

// addChanges queues what the outcomes that were stored change of their
// callbacks, unless those have another version by now.
func addChanges(p *pipeline, group []*outcome) {
	p.add(nextRevision, nil)
	for _, o := range group {
		c, no := &o.Change, int64(o.Delivery.ID.Callback)
		if !o.stored || c.None() {
			continue
		}
		if c.HealthTurned {
			p.add("UPDATE callbacks SET failing_since = $3, revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, no, c.Version, nullMillis(c.FailingSince))
		}
		if !c.ClosedUntil.IsZero() {
			p.add("UPDATE callbacks SET closed_until = greatest(closed_until, $3::bigint), revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, no, c.Version, notEarlier(c.ClosedUntil))
		}
		if c.Proven {
			p.add("UPDATE callbacks SET proven = true, revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, no, c.Version)
		}
		if c.Pause != callbackd.NotPaused {
			p.add("UPDATE callbacks SET pause_reason = $3, paused_at = $4, revision = "+thisRevision+" WHERE no = $1 AND version = $2 AND pause_reason = '' RETURNING no",
				func(pgx.CollectableRow) error { o.paused = true; return nil }, no, c.Version, string(c.Pause), millis(o.Attempt.StartedAt.Add(o.Attempt.Timings.Total)))
		}
	}
}

// The statements for an outcome of what was canceled during the attempt.
const (
	takeCanceled  = "DELETE FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version = 0 RETURNING n, detail"
	putAttempt    = "INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES ($1, $2, $3, $4, $5, $6)"
	putLastError  = "INSERT INTO last_errors (event_id, callback_no, error) VALUES ($1, $2, $3) ON CONFLICT (event_id, callback_no) DO UPDATE SET error = excluded.error"
	dropLastError = "DELETE FROM last_errors WHERE event_id = $1 AND callback_no = $2"
	moveReplayed  = `UPDATE replays SET canceled = canceled - 1 + CASE WHEN $2 = 'canceled' THEN 1 ELSE 0 END,
		delivered = delivered + CASE WHEN $2 = 'delivered' THEN 1 ELSE 0 END, failed = failed + CASE WHEN $2 = 'failed' THEN 1 ELSE 0 END WHERE id = $1`
)

// recordCanceled puts an outcome in the place of the cancellation of its
// delivery, which was written during the attempt, and takes back what was
// counted of it. Without one it is a Conflict.
func (s *Store) recordCanceled(o *outcome) error {
	o.end()
	id, again := o.Delivery.ID, false
	err := s.change(context.Background(), true, func(ctx context.Context, tx pgx.Tx) error {
		repeated := again
		again = true
		if no := s.node.Load(); no != 0 {
			if err := fence(ctx, tx, callbackd.NodeID(no)); err != nil {
				return err
			}
		}
		var n int32
		var detail []byte
		err := tx.QueryRow(ctx, takeCanceled, int64(id.Event), int64(id.Callback)).Scan(&n, &detail)
		if err == pgx.ErrNoRows {
			if repeated {
				return s.knownOutcome(ctx, tx, o)
			}
			return notPending(id)
		}
		var mark callbackd.Attempt
		if err == nil {
			err = damaged(codec.ReadAttempt(detail, &mark))
		}
		if err != nil {
			return err
		}
		cb, err := s.CallbackByID(ctx, id.Callback)
		if err != nil {
			return err
		}
		m := core.Sums{}
		m.Add(cb.Key, id.Callback, mark.StartedAt, &store.Counters{Canceled: -1})
		var b pgx.Batch
		b.Queue(putAttempt, int64(id.Event), int64(id.Callback), n, o.Attempt.Version, string(o.Attempt.State), o.detail)
		if number := lastErrorNumber(&o.Attempt, o.Attempt.State); number != 0 {
			b.Queue(putLastError, int64(id.Event), int64(id.Callback), number)
		} else {
			b.Queue(dropLastError, int64(id.Event), int64(id.Callback))
		}
		b.Queue(moveReplayed, int64(o.Delivery.Replay), string(o.Attempt.State))
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		return s.AddSums(seamTx{ctx, tx}, m)
	})
	o.stored = err == nil
	return err
}

// knownOutcome tells, as a Conflict or none, whether a commit that was not
// answered had stored the outcome.
func (s *Store) knownOutcome(ctx context.Context, tx pgx.Tx, o *outcome) error {
	rows, err := tx.Query(ctx, selectRecorded, []int64{int64(o.Delivery.ID.Callback)}, []int64{int64(o.Delivery.ID.Event)}, [][]byte{o.detail})
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(pgx.CollectableRow) (struct{}, error) { return struct{}{}, nil })
	if err == nil && len(found) == 0 {
		err = notPending(o.Delivery.ID)
	}
	return err
}

func notPending(id callbackd.DeliveryID) error {
	return callbackd.Errorf(callbackd.KindConflict, "delivery %s is not pending", id)
}
