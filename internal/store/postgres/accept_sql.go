package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// The statements of Accept. PostgreSQL cannot reorder a join with a LATERAL subquery that
// has FOR UPDATE or ORDER BY, so it looks up each row of the arrays by an index.
const (
	// lockSequences locks the sessions in the order of the arrays.
	lockSequences = `SELECT o.i, s.sequence, s.last_id, s.callbacks FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS o (key_no, session, i)
		CROSS JOIN LATERAL (SELECT sequence, last_id, callbacks FROM session_sequences WHERE key_no = o.key_no AND session = o.session FOR UPDATE) s`
	selectHorizon = "SELECT coalesce(max(id), 0) FROM horizons WHERE stripe = ANY ($1::integer[])"
	selectTargets = `SELECT o.i, c.no, c.filter, c.ttl FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS o (key_no, type, i)
		CROSS JOIN LATERAL (SELECT no, filter, ttl FROM callbacks WHERE key_no = o.key_no AND type = o.type AND deleted_at IS NULL AND session IS NULL ORDER BY no) c`
	selectRepeats = `SELECT o.i, r.digest, r.events FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS o (key_no, hash, i)
		CROSS JOIN LATERAL (SELECT digest, events FROM idempotency WHERE key_no = o.key_no AND hash = o.hash LIMIT 1) r`
	selectCommitted = "SELECT 1 FROM events WHERE id = $1 AND key_no = $2 AND session = $3 AND sequence = $4"

	// insertEvents also updates the sessions that have a row, which is locked. The arrays of
	// times and traces are empty when no event has any.
	insertEvents = `WITH accepted AS (INSERT INTO events (id, key_no, type, session, sequence, test, owed, data, accepted_at, withheld, deliver_at, expires_at, trace)
			SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::boolean[], $7::bytea[], $8::bytea[], $15::bigint[], $16::bytea[], $17::bigint[], $18::bigint[], $21::bytea[])),
		owed AS (INSERT INTO pending (callback_no, event_id, due, deliver_at, expires_at, attempts, step, manual) SELECT callback_no, event_id, deliver_at, deliver_at, expires_at, 0, 0, false
			FROM unnest($9::bigint[], $10::bigint[], $19::bigint[], $20::bigint[]) AS o (callback_no, event_id, deliver_at, expires_at)),
		counted AS (INSERT INTO delivery_counts (what, n) SELECT '` + string(callbackd.AcceptedEvent) + `', cardinality($9::bigint[]) WHERE cardinality($9::bigint[]) > 0)
		INSERT INTO session_sequences (key_no, session, sequence, last_id) SELECT * FROM unnest($11::bigint[], $12::text[], $13::bigint[], $14::bigint[])
		ON CONFLICT (key_no, session) DO UPDATE SET sequence = excluded.sequence, last_id = excluded.last_id`
	// insertSequences violates the primary key when another node has inserted the session
	// first. The group then starts over: see errLostRace. ON CONFLICT would not do,
	// because the events of the group already have the sequence numbers of a new session.
	insertSequences = `INSERT INTO session_sequences (key_no, session, sequence, last_id)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])`
	insertIdempotency = `INSERT INTO idempotency (key_no, hash, digest, first, events)
		SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[])`
)

// read begins the transaction, locks the sessions, and reads what decide needs.
// The horizon is read after the locks of the stripes, so that no reader can
// raise it meanwhile.
func (g *acceptGroup) read(ctx context.Context, conn *pgx.Conn) error {
	var p pipeline
	p.add("BEGIN", nil)
	if g.own.locked {
		p.add(nextRevision, nil)
	}
	p.add(lockStripes, nil, stripeLocks, g.stripes())
	g.lockSequences(&p)
	g.loadSessions(&p)
	p.add(selectHorizon, func(row pgx.CollectableRow) error { return row.Scan(&g.horizon) }, g.stripes())
	g.readTargets(&p)
	g.readRepeats(&p)
	g.readAnswers(&p)
	for _, try := range g.uncertain {
		g.findCommitted(&p, try)
	}
	return p.run(ctx, conn)
}

func (g *acceptGroup) lockSequences(p *pipeline) {
	ids := g.sortedSessions()
	keys, sessions := make([]int64, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		keys[i], sessions[i] = int64(id.Key), id.SessionKey
	}
	p.add(lockSequences, func(row pgx.CollectableRow) error {
		var i, last int64
		end := &sessionEnd{stored: true}
		err := row.Scan(&i, &end.sequence, &last, &end.callbacks)
		if err == nil {
			end.last = callbackd.EventID(last)
			g.sessions[ids[i-1]] = end
		}
		return err
	}, keys, sessions)
}

// readTargets reads the callbacks that the events may go to.
func (g *acceptGroup) readTargets(p *pipeline) {
	var subjects []subject
	var keys, types []int64
	for sub := range g.candidates {
		subjects, keys, types = append(subjects, sub), append(keys, int64(sub.key)), append(types, g.store.EventTypes.Number(sub.typ))
	}
	p.add(selectTargets, func(row pgx.CollectableRow) error {
		var i, cb int64
		var filter *string
		var ttl *int64
		if err := row.Scan(&i, &cb, &filter, &ttl); err != nil {
			return err
		}
		id := callbackd.CallbackID(cb)
		f, err := g.store.parsedFilter(id, filter)
		sub := subjects[i-1]
		if g.candidates[sub] == nil {
			g.candidates[sub] = &callbackd.Candidates{}
		}
		g.candidates[sub].Add(id, f, core.ReadTTL(ttl))
		g.filtersUseSessions = g.filtersUseSessions || f != nil && f.UsesSession()
		return err
	}, keys, types)
}

// maxParsed is how many filters are kept parsed.
const maxParsed = 1 << 10

// parsedFilter reads the stored filter of a callback. It parses each text once.
func (s *Store) parsedFilter(id callbackd.CallbackID, text *string) (*callbackd.Filter, error) {
	if text == nil {
		return nil, nil
	}
	f, ok := s.parsed.Get(*text)
	if ok {
		return f, nil
	}
	f, err := core.ReadFilter(id, text)
	if err == nil {
		s.parsed.Put(*text, f)
	}
	return f, err
}

func (g *acceptGroup) readRepeats(p *pipeline) {
	if len(g.repeats) == 0 {
		return
	}
	var tokens []token
	var keys []int64
	var hashes [][]byte
	for t := range g.repeats {
		tokens, keys, hashes = append(tokens, t), append(keys, int64(t.key)), append(hashes, []byte(t.hash))
	}
	p.add(selectRepeats, func(row pgx.CollectableRow) error {
		var i int64
		var ids []byte
		r := &repeat{}
		err := row.Scan(&i, &r.digest, &ids)
		if err == nil {
			r.ids = codec.IDs(ids)
			g.repeats[tokens[i-1]] = r
		}
		return err
	}, keys, hashes)
}

// loadRepeats reads the events of the stored answers.
func (g *acceptGroup) loadRepeats(ctx context.Context, conn *pgx.Conn) error {
	var ids []callbackd.EventID
	for _, r := range g.repeats {
		if r != nil {
			ids = append(ids, r.ids...)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	events, err := g.store.loadEvents(ctx, conn, ids)
	if err != nil {
		return err
	}
	for _, r := range g.repeats {
		if r == nil {
			continue
		}
		for _, id := range r.ids {
			if ev := events[id]; ev != nil {
				r.events = append(r.events, ev)
			}
		}
	}
	return nil
}

// write queues what the group stores. All nodes write rows that other nodes may write too
// in the same order, so that they cannot deadlock.
func (g *acceptGroup) write(p *pipeline) error {
	added, known := g.appendedSessions()
	g.writeEvents(p, known)
	if len(added.keys) > 0 {
		p.add(insertSequences, nil, added.keys, added.sessions, added.sequences, added.lasts)
	}
	if err := g.writeCallbacks(p); err != nil {
		return err
	}
	if err := g.writeSessions(p); err != nil {
		return err
	}
	g.writeRepeats(p)
	g.writeAnswers(p)
	return nil
}

func (g *acceptGroup) writeEvents(p *pipeline, appended sessionEnds) {
	n := len(g.events)
	if n == 0 {
		return
	}
	ids, keys, types, sequences := make([]int64, n), make([]int64, n), make([]int16, n), make([]int64, n)
	sessions, tests, owed, data := make([]string, n), make([]bool, n), make([][]byte, n), make([][]byte, n)
	clockTimes, withheld := make([]*int64, n), make([][]byte, n)
	for i, ev := range g.events {
		clockTimes[i], withheld[i] = nullMillis(ev.ClockTime), codec.AppendWithheld(nil, ev.Withheld)
		ids[i], keys[i], types[i], sequences[i] = int64(ev.ID), int64(ev.Key), int16(g.store.EventTypes.Number(ev.Type)), ev.Sequence
		sessions[i], tests[i], owed[i], data[i] = ev.Session, ev.Test, codec.AppendTargets([]byte{}, ev.Targets), notNil(ev.Data)
	}
	eventTimes, deliveryTimes := g.times()
	callbacks, events := make([]int64, len(g.deliveries)), make([]int64, len(g.deliveries))
	for i, d := range g.deliveries {
		callbacks[i], events[i] = int64(d.ID.Callback), int64(d.ID.Event)
	}
	p.add(insertEvents, nil, ids, keys, types, sessions, sequences, tests, owed, data, callbacks, events, appended.keys, appended.sessions, appended.sequences, appended.lasts, clockTimes, withheld,
		eventTimes.deliver, eventTimes.expire, deliveryTimes.deliver, deliveryTimes.expire, g.traces())
}

// times are the arrays of when events and deliveries may be sent and expire.
type times struct{ deliver, expire []*int64 }

// times returns the times of the group's events and deliveries. Arrays without any time are
// empty, so that they cost nothing.
func (g *acceptGroup) times() (events, deliveries times) {
	for i, ev := range g.events {
		if !ev.DeliverAt.IsZero() || !ev.ExpiresAt.IsZero() {
			events.set(i, len(g.events), ev.DeliverAt, ev.ExpiresAt)
		}
	}
	for i := range g.deliveries {
		if d := &g.deliveries[i]; !d.DeliverAt.IsZero() || !d.ExpiresAt.IsZero() {
			deliveries.set(i, len(g.deliveries), d.DeliverAt, d.ExpiresAt)
		}
	}
	return events, deliveries
}

// traces returns the trace contexts of the group's events; nothing when none has one.
func (g *acceptGroup) traces() (traces [][]byte) {
	for i, ev := range g.events {
		if ev.Trace == nil {
			continue
		}
		if traces == nil {
			traces = make([][]byte, len(g.events))
		}
		traces[i] = codec.TraceColumn(ev.Trace)
	}
	return traces
}

// set sets the times of row i of n.
func (t *times) set(i, n int, deliverAt, expiresAt time.Time) {
	if t.deliver == nil {
		t.deliver, t.expire = make([]*int64, n), make([]*int64, n)
	}
	t.deliver[i], t.expire[i] = nullMillis(deliverAt), nullMillis(expiresAt)
}

// notNil returns an empty slice for nil, which would be stored as null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// sessionEnds are the arrays of the last sequence numbers of sessions.
type sessionEnds struct {
	keys      []int64
	sessions  []string
	sequences []int64
	lasts     []int64
}

// appendedSessions returns the sessions that got events: those without a row, and the others.
func (g *acceptGroup) appendedSessions() (added, known sessionEnds) {
	for _, id := range g.sortedSessions() {
		end := g.sessions[id]
		if !end.appended {
			continue
		}
		r := &added
		if end.stored {
			r = &known
		}
		r.keys, r.sessions = append(r.keys, int64(id.Key)), append(r.sessions, id.SessionKey)
		r.sequences, r.lasts = append(r.sequences, end.sequence), append(r.lasts, int64(end.last))
	}
	return added, known
}

func (g *acceptGroup) writeRepeats(p *pipeline) {
	var keys, firsts []int64
	var hashes, digests, ids [][]byte
	for _, t := range sortedTokens(g.repeats) {
		r := g.repeats[t]
		if r == nil || !r.isNew {
			continue
		}
		keys, firsts = append(keys, int64(t.key)), append(firsts, int64(r.events[0].ID))
		hashes, digests, ids = append(hashes, []byte(t.hash)), append(digests, r.digest), append(ids, codec.AppendIDs(nil, r.events))
	}
	if len(keys) > 0 {
		p.add(insertIdempotency, nil, keys, hashes, digests, firsts, ids)
	}
}
