package postgres

import (
	"cmp"
	"context"
	"slices"

	"callbackd"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// outcome is one attempt on its way into the database.
type outcome struct {
	command
	callbackd.Outcome
	state  callbackd.State
	detail []byte
	stored bool // within the try under way
}

func (o *outcome) health() bool { return o.PauseCallback != callbackd.NotPaused || o.HealthTurned }

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
func (s *Store) Record(ctx context.Context, o callbackd.Outcome) (callbackd.State, error) {
	// What is known of the callback may be MaxKeyAge old: that is allowed.
	ended, err := s.ended(ctx, o.Delivery.ID.Callback)
	if err != nil {
		return "", err
	}
	out := &outcome{command: newCommand(), Outcome: o, state: o.Attempt.State, detail: codec.AppendAttempt(nil, &o.Attempt)}
	if ended {
		out.state = callbackd.Canceled
	}
	if err := submit(ctx, s, s.outcomes, out, &out.command); err != nil {
		return "", err
	}
	return out.state, nil
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
	turned := false
	for _, o := range group {
		switch {
		case err != nil:
			o.err = err
		case !o.stored:
			o.err = callbackd.Errorf(callbackd.KindConflict, "delivery %s is not pending", o.Delivery.ID)
		case o.health():
			turned = true
		}
	}
	if turned {
		s.forget(func() {
			for _, o := range group {
				s.callbacks.Drop(o.Delivery.ID.Callback)
			}
		})
	}
	if err == nil && s.onCommit != nil {
		s.onCommit(len(group))
	}
}

// tryRecord is one try: a single round trip and transaction, and one more each
// when a callback's health turned too and when the commit of a try before was
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
	health := false
	for _, o := range group {
		o.stored = false
		byID[o.Delivery.ID] = o
		health = health || o.health()
	}
	row := func(row pgx.CollectableRow) error {
		var event, callback int64
		err := row.Scan(&event, &callback)
		if o := byID[callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackNo(callback)}]; err == nil && o != nil {
			o.stored = true
		}
		return err
	}
	var p pipeline
	if doubtful || health {
		p.add("BEGIN", nil)
	}
	if no := s.node.Load(); no != 0 {
		addFence(&p, callbackd.NodeNo(no))
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
	if health {
		if err := p.run(ctx, conn.Conn()); err != nil {
			return false, err
		}
		p = pipeline{}
		addHealth(&p, group)
	}
	if doubtful || health {
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
	r.versions, r.states, r.details = append(r.versions, o.Attempt.Version), append(r.states, string(o.state)), append(r.details, o.detail)
	r.errors = append(r.errors, lastErrorNumber(&o.Attempt, o.state))
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
		if o.state.Terminal() {
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

// addHealth queues the turns of callbacks whose outcomes were stored.
func addHealth(p *pipeline, group []*outcome) {
	p.add(nextRevision, nil)
	for _, o := range group {
		no := int64(o.Delivery.ID.Callback)
		if o.stored && o.HealthTurned {
			p.add("UPDATE callbacks SET failing_since = $2, revision = "+thisRevision+" WHERE no = $1", nil, no, nullMillis(o.FailingSince))
		}
		if o.stored && o.PauseCallback != callbackd.NotPaused {
			p.add("UPDATE callbacks SET pause_reason = $2, paused_at = $3, revision = "+thisRevision+" WHERE no = $1 AND pause_reason = ''", nil,
				no, string(o.PauseCallback), millis(o.Attempt.StartedAt.Add(o.Attempt.Timings.Total)))
		}
	}
}
