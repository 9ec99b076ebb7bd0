package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// outcome is one attempt to be recorded.
type outcome struct {
	command
	*callbackd.Outcome
	detail  []byte
	stored  bool          // by the present try
	raced   bool          // another transaction changed the delivery during the present try
	paused  bool          // the outcome also paused its callback
	pausing *core.Pausing // nil unless the outcome pauses its callback
}

// decide gives it another decision.
func (o *outcome) decide(d callbackd.Decision) {
	o.Attempt.Decision = d
	o.detail = codec.AppendAttempt(nil, &o.Attempt)
}

// The statements that record outcomes. An outcome of a delivery that is not pending
// writes nothing and returns no row.
//
// The deliveries are found through LATERAL subqueries with a LIMIT or a lock, which
// PostgreSQL cannot reorder: it looks up each row of the arrays by the primary key. The
// plan of a DELETE that joins the arrays with the queue would depend on statistics: with
// those of an empty table, it would read the table from end to end for each outcome.
//
// Each statement returns the deliveries that it found, and whether it recorded
// them. recordEnded does not record a delivery that another transaction changed
// between the lookup and the DELETE: it returns false for it, and the caller
// tries it again.
const (
	lockOutcomes = `SELECT count(*) FROM (SELECT 1 FROM unnest($1::bigint[], $2::bigint[]) AS o (callback_no, event_id)
		CROSS JOIN LATERAL (SELECT 1 FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id FOR UPDATE) p) locked`
	outcomeRows = `(SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[]`
	pendingRows = ` CROSS JOIN LATERAL (SELECT ctid AS place, attempts + 1 AS n, replay FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id `

	recordEnded = `WITH found AS MATERIALIZED ` + outcomeRows + `) AS o (callback_no, event_id, version, state, detail, error)` + pendingRows + `LIMIT 1) p),
		deleted AS (DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT place FROM found)) RETURNING ctid AS place),
		recorded AS MATERIALIZED (SELECT * FROM found WHERE place IN (SELECT place FROM deleted)),
		replayed AS (UPDATE replays r SET delivered = r.delivered + c.delivered, failed = r.failed + c.failed, canceled = r.canceled + c.canceled FROM (
			SELECT replay, count(*) FILTER (WHERE state = 'delivered') AS delivered, count(*) FILTER (WHERE state IN ('failed', 'expired')) AS failed,
				count(*) FILTER (WHERE state = 'canceled') AS canceled FROM recorded WHERE replay <> 0 GROUP BY replay ORDER BY replay) c WHERE r.id = c.replay),
		counted AS (INSERT INTO delivery_counts (what, n) SELECT state, count(*) FROM recorded GROUP BY state),
		` + keepLastErrors + `,
		` + dropLastErrors + `,
		kept AS (INSERT INTO attempts (event_id, callback_no, n, version, state, detail) SELECT event_id, callback_no, n, version, state, detail FROM recorded)
		SELECT event_id, callback_no, place IN (SELECT place FROM deleted) FROM found`
	recordWaiting = `WITH recorded AS MATERIALIZED ` + outcomeRows + `, $7::integer[], $8::bigint[], $9::bigint[], $10::bigint[]) AS o (callback_no, event_id, version, state, detail, error, step, first_failed_at, due, holds_until)` + pendingRows + `FOR UPDATE) p),
		moved AS (INSERT INTO pending AS p (callback_no, event_id, attempts, step, manual, first_failed_at, due, holds_until)
			SELECT callback_no, event_id, n, step, false, first_failed_at, nullif(due, 0), nullif(holds_until, 0) FROM recorded
			ON CONFLICT (callback_no, event_id) DO UPDATE SET attempts = excluded.attempts, step = excluded.step,
				first_failed_at = excluded.first_failed_at, due = excluded.due, holds_until = excluded.holds_until),
		` + keepLastErrors + `
		INSERT INTO attempts (event_id, callback_no, n, version, state, detail) SELECT event_id, callback_no, n, version, state, detail FROM recorded RETURNING event_id, callback_no, true`
	selectRecorded = `SELECT o.event_id, o.callback_no, true FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS o (callback_no, event_id, detail)
		CROSS JOIN LATERAL (SELECT 1 FROM attempts a WHERE a.event_id = o.event_id AND a.callback_no = o.callback_no AND a.detail = o.detail LIMIT 1 FOR KEY SHARE) a`
)

// Record is part of [store.Queue].
func (s *Store) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	if err := s.DecideAfterEnd(ctx, o); err != nil {
		return callbackd.Recorded{}, err
	}
	pausing, err := s.Pausing(ctx, o)
	if err != nil {
		return callbackd.Recorded{}, err
	}
	out := &outcome{command: newCommand(), Outcome: o, pausing: pausing, detail: codec.AppendAttempt(nil, &o.Attempt)}
	if err := submit(ctx, s, s.outcomes, out, &out.command); err != nil {
		return callbackd.Recorded{}, err
	}
	return callbackd.Recorded{State: out.Attempt.State, Paused: out.paused}, nil
}

// recordLoop commits outcomes, one group after the other.
func (s *Store) recordLoop() {
	commitGroups(s.closing, s.outcomes, func(o *outcome) int { return len(o.detail) }, func(group []*outcome) {
		for len(group) > 0 {
			now, later := splitRepeats(group)
			s.recordGroup(now, false)
			for _, o := range now {
				close(o.done)
			}
			group = later
		}
	})
}

// splitRepeats divides a group: a statement changes a row once, so the second
// outcome of a delivery waits for the first.
func splitRepeats(group []*outcome) (now, later []*outcome) {
	seen := make(map[callbackd.DeliveryID]bool, len(group))
	for _, o := range group {
		id := o.Delivery.ID
		if seen[id] {
			later = append(later, o)
			continue
		}
		seen[id] = true
		now = append(now, o)
	}
	return now, later
}

// recordGroup commits outcomes of different deliveries together. When the database
// refuses the group, each outcome is tried alone. unconfirmed means that a commit of the
// outcomes was sent and not answered.
func (s *Store) recordGroup(group []*outcome, unconfirmed bool) {
	left := group
	err := s.insist(context.Background(), true, func(ctx context.Context) (bool, error) {
		committing, err := s.tryRecord(ctx, left, unconfirmed)
		if err != nil {
			unconfirmed = unconfirmed || committing && judge(err, true) == unknown
			return committing, err
		}
		left = raced(left)
		if len(left) > 0 {
			return false, errLostRace
		}
		return committing, nil
	})
	done := slices.DeleteFunc(slices.Clone(group), func(o *outcome) bool { return slices.Contains(left, o) })
	s.publishRecorded(done)
	if err == nil {
		return
	}
	if callbackd.KindOf(err) == callbackd.KindInternal && len(left) > 1 {
		for _, o := range left {
			s.recordGroup([]*outcome{o}, unconfirmed)
		}
		return
	}
	for _, o := range left {
		o.err = err
	}
	s.refusals.Refuse(len(left), err)
}

func raced(group []*outcome) (out []*outcome) {
	for _, o := range group {
		if o.raced {
			out = append(out, o)
		}
	}
	return out
}

// publishRecorded ends the outcomes of a group that was committed.
func (s *Store) publishRecorded(group []*outcome) {
	if len(group) == 0 {
		return
	}
	changed := false
	for _, o := range group {
		if !o.stored {
			s.recordMissed(o)
		}
		changed = changed || !o.Change.None()
	}
	if changed {
		for _, o := range group {
			s.DropCallbacks(o.Delivery.ID.Callback)
		}
	}
	s.refusals.Committed(len(group), true)
}

// tryRecord is one try: a transaction in a single round trip. It takes one
// round trip more when a callback changes too, and one more when the commit of
// an earlier try was not answered.
func (s *Store) tryRecord(ctx context.Context, group []*outcome, unconfirmed bool) (committing bool, err error) {
	defer resetWhenLate(ctx, s.hot)
	conn, err := s.hot.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer returnConn(ctx, conn)
	// All nodes lock in one order.
	slices.SortFunc(group, func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(a.Delivery.ID.Callback, b.Delivery.ID.Callback), cmp.Compare(a.Delivery.ID.Event, b.Delivery.ID.Event))
	})
	byID := make(map[callbackd.DeliveryID]*outcome, len(group))
	changes := false
	for _, o := range group {
		o.stored, o.raced, o.paused = false, false, false
		byID[o.Delivery.ID] = o
		changes = changes || !o.Change.None()
	}
	row := func(row pgx.CollectableRow) error {
		var event, callback int64
		var stored bool
		err := row.Scan(&event, &callback, &stored)
		if o := byID[callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(callback)}]; err == nil && o != nil {
			o.stored, o.raced = stored, !stored
		}
		return err
	}
	var p pipeline
	if unconfirmed || changes {
		p.add("BEGIN", nil)
	}
	s.fence(&p)
	left := group
	if unconfirmed { // do not store again what is stored already
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
		if err := changeCallbacks(ctx, conn.Conn(), &p, group); err != nil {
			return false, err
		}
	}
	if unconfirmed || changes {
		p.add("COMMIT", nil)
	}
	return true, p.run(ctx, conn.Conn())
}

// changeCallbacks stores what the outcomes of a group, which the pipeline stores, change of their
// callbacks. Some of it may be left in the pipeline.
func changeCallbacks(ctx context.Context, conn *pgx.Conn, p *pipeline, group []*outcome) error {
	if err := p.run(ctx, conn); err != nil {
		return err
	}
	*p = pipeline{}
	addChanges(p, group)
	if !mayPause(group) {
		return nil
	}
	if err := p.run(ctx, conn); err != nil {
		return err
	}
	*p = pipeline{}
	return auditPauses(seamTx{ctx, conn}, group)
}

func mayPause(group []*outcome) bool {
	return slices.ContainsFunc(group, func(o *outcome) bool { return o.pausing != nil })
}

// auditPauses writes the audit entries of the callbacks that the group has paused.
func auditPauses(tx core.Tx, group []*outcome) error {
	var entries []callbackd.AuditEntry
	var auditor *core.Auditor
	for _, o := range group {
		if o.paused {
			entries, auditor = append(entries, o.pausing.Entry), o.pausing.Auditor
		}
	}
	return auditor.Append(tx, entries)
}

// outcomeColumns are the arrays that both kinds of outcome have.
type outcomeColumns struct {
	callbacks, events, versions []int64
	states                      []string
	details                     [][]byte
	errors                      []int64
}

func (r *outcomeColumns) add(o *outcome) {
	r.callbacks = append(r.callbacks, int64(o.Delivery.ID.Callback))
	r.events = append(r.events, int64(o.Delivery.ID.Event))
	r.versions = append(r.versions, o.Attempt.Version)
	r.states = append(r.states, string(o.Attempt.State))
	r.details = append(r.details, o.detail)
	r.errors = append(r.errors, lastErrorNumber(&o.Attempt, o.Attempt.State))
}

// addLocks locks the group's deliveries. It waits for commits of them in progress.
func addLocks(p *pipeline, group []*outcome) {
	callbacks, events := make([]int64, len(group)), make([]int64, len(group))
	for i, o := range group {
		callbacks[i], events[i] = int64(o.Delivery.ID.Callback), int64(o.Delivery.ID.Event)
	}
	p.add(lockOutcomes, nil, callbacks, events)
}

func addOutcomes(p *pipeline, group []*outcome, row func(pgx.CollectableRow) error) {
	var ended, waiting outcomeColumns
	var steps []int32
	var firsts, dues, holds []int64
	for _, o := range group {
		if o.Attempt.State.Terminal() {
			ended.add(o)
			continue
		}
		waiting.add(o)
		steps = append(steps, int32(o.Attempt.Step))
		firsts = append(firsts, notEarlier(o.FirstFailedAt()))
		dues = append(dues, notEarlier(o.Attempt.Due))
		holds = append(holds, notEarlier(o.Attempt.HoldsUntil))
	}
	if r := &ended; len(r.events) > 0 {
		p.add(recordEnded, row, r.callbacks, r.events, r.versions, r.states, r.details, r.errors)
	}
	if r := &waiting; len(r.events) > 0 {
		p.add(recordWaiting, row, r.callbacks, r.events, r.versions, r.states, r.details, r.errors, steps, firsts, dues, holds)
	}
}

// addRecorded finds the attempts that a commit without an answer has stored: those that
// are equal byte for byte. addLocks has waited for a commit in progress. The attempts are
// locked, because only a commit that locks or writes rows waits for the standbys, which
// may not have the attempts yet.
func addRecorded(p *pipeline, group []*outcome, row func(pgx.CollectableRow) error) {
	var r outcomeColumns
	for _, o := range group {
		r.add(o)
	}
	p.add(selectRecorded, row, r.callbacks, r.events, r.details)
}

// addChanges queues what the stored outcomes change of their callbacks. A
// callback that has another version by now stays as it is.
func addChanges(p *pipeline, group []*outcome) {
	p.add(nextRevision, nil)
	for _, o := range group {
		c, cb := &o.Change, int64(o.Delivery.ID.Callback)
		if !o.stored || c.None() {
			continue
		}
		if c.HealthTurned {
			p.add("UPDATE callbacks SET failing_since = $3, revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, cb, c.Version, nullMillis(c.FailingSince))
		}
		if !c.ClosedUntil.IsZero() {
			p.add("UPDATE callbacks SET closed_until = greatest(closed_until, $3::bigint), revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, cb, c.Version, notEarlier(c.ClosedUntil))
		}
		if c.Proven {
			p.add("UPDATE callbacks SET proven = true, revision = "+thisRevision+" WHERE no = $1 AND version = $2", nil, cb, c.Version)
		}
		if c.Pause != callbackd.NotPaused {
			p.add("UPDATE callbacks SET pause_reason = $3, paused_at = $4, revision = "+thisRevision+" WHERE no = $1 AND version = $2 AND pause_reason = '' RETURNING no",
				func(pgx.CollectableRow) error { o.paused = true; return nil }, cb, c.Version, string(c.Pause), millis(o.Attempt.EndedAt()))
		}
	}
}

// The statements for an outcome of a delivery that was canceled or expired during the
// attempt.
const (
	takeUnsent = "DELETE FROM attempts WHERE event_id = $1 AND callback_no = $2 AND version = 0 RETURNING n, detail, state"
	// waitsForOutcome finds a delivery that is pending again, with as many attempts as
	// before the outcome.
	waitsForOutcome = "SELECT EXISTS (SELECT 1 FROM pending WHERE callback_no = $1 AND event_id = $2 AND attempts = $3)"
	lockErased      = "SELECT erased_at IS NOT NULL FROM events WHERE id = $1 FOR SHARE"
	putAttempt      = "INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES ($1, $2, $3, $4, $5, $6)"
	putLastError    = "INSERT INTO last_errors (event_id, callback_no, error) VALUES ($1, $2, $3) ON CONFLICT (event_id, callback_no) DO UPDATE SET error = excluded.error"
	dropLastError   = "DELETE FROM last_errors WHERE event_id = $1 AND callback_no = $2"
	// What a replay made due does not expire, so it was canceled.
	moveReplayed = `UPDATE replays SET canceled = canceled - 1 + CASE WHEN $2 = 'canceled' THEN 1 ELSE 0 END,
		delivered = delivered + CASE WHEN $2 = 'delivered' THEN 1 ELSE 0 END, failed = failed + CASE WHEN $2 IN ('failed', 'expired') THEN 1 ELSE 0 END WHERE id = $1`
)

// errResent says that a delivery was canceled and resent while its outcome was on its way.
var errResent = errors.New("the delivery was resent meanwhile")

// recordMissed records an outcome of a delivery that was not pending: the delivery was
// canceled or has expired, and perhaps resent since.
func (s *Store) recordMissed(o *outcome) {
	decided := o.Attempt.Decision
	o.err = s.recordUnsent(o)
	if errors.Is(o.err, errResent) {
		o.err = nil
		o.decide(decided)
		s.recordGroup([]*outcome{o}, false)
	}
}

// recordUnsent replaces the row of a delivery that was canceled or expired during the
// attempt by the outcome, and subtracts it from the counts. Without such a row it
// fails with errResent when the delivery is pending again, and else with Conflict.
func (s *Store) recordUnsent(o *outcome) error {
	id, tries, resent := o.Delivery.ID, 0, false
	err := s.change(context.Background(), true, func(ctx context.Context, tx pgx.Tx) error {
		tries++
		var fence pipeline
		s.fence(&fence)
		if err := fence.run(ctx, tx.Conn()); err != nil {
			return err
		}
		// An erasure locks the event too: either it finds the outcome, or it has ended.
		var erased bool
		if err := tx.QueryRow(ctx, lockErased, int64(id.Event)).Scan(&erased); err != nil && err != pgx.ErrNoRows {
			return err
		}
		var n int32
		var detail []byte
		var state callbackd.State
		err := tx.QueryRow(ctx, takeUnsent, int64(id.Event), int64(id.Callback)).Scan(&n, &detail, &state)
		if err == pgx.ErrNoRows {
			if tries > 1 {
				if err := s.isRecorded(ctx, tx, o); callbackd.KindOf(err) != callbackd.KindConflict {
					return err
				}
			}
			err = tx.QueryRow(ctx, waitsForOutcome, int64(id.Callback), int64(id.Event), o.Delivery.Attempts).Scan(&resent)
			return cmp.Or(err, store.NotPending(id))
		}
		var mark callbackd.Attempt
		if err == nil {
			err = damaged(codec.ReadAttempt(detail, &mark))
		}
		if err != nil {
			return err
		}
		decision := o.Attempt.AfterUnsent(state, mark.Why)
		if erased { // the event, during the attempt
			o.Attempt.Decision = decision
			o.Attempt.Erase()
			decision = o.Attempt.Decision
		}
		o.decide(decision)
		cb, err := s.CallbackByID(ctx, id.Callback)
		if err != nil {
			return err
		}
		m := core.Sums{}
		m.Add(cb.Key, id.Callback, mark.StartedAt, store.Unsent(state, -1))
		var b pgx.Batch
		b.Queue(putAttempt, int64(id.Event), int64(id.Callback), n, o.Attempt.Version, string(o.Attempt.State), o.detail)
		if number := lastErrorNumber(&o.Attempt, o.Attempt.State); number != 0 {
			b.Queue(putLastError, int64(id.Event), int64(id.Callback), number)
		} else {
			b.Queue(dropLastError, int64(id.Event), int64(id.Callback))
		}
		b.Queue(moveReplayed, int64(o.Delivery.Replay), string(o.Attempt.State))
		b.Queue(dialect.Count, string(callbackd.AcceptedAgain), 1)
		b.Queue(dialect.Count, string(o.Attempt.State), 1)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		return s.AddSums(seamTx{ctx, tx}, m)
	})
	o.stored = err == nil
	if resent {
		return errResent
	}
	o.Canceled = err == nil
	return err
}

// isRecorded returns nil when a commit that was not answered has stored the
// outcome, and a Conflict otherwise.
func (s *Store) isRecorded(ctx context.Context, tx pgx.Tx, o *outcome) error {
	rows, err := tx.Query(ctx, selectRecorded, []int64{int64(o.Delivery.ID.Callback)}, []int64{int64(o.Delivery.ID.Event)}, [][]byte{o.detail})
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(pgx.CollectableRow) (struct{}, error) { return struct{}{}, nil })
	if err == nil && len(found) == 0 {
		err = store.NotPending(o.Delivery.ID)
	}
	return err
}
