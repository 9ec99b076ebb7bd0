package postgres

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"
)

// acceptRequest is one batch, or one change of a session, to be stored.
type acceptRequest struct {
	command
	batch   store.Batch // without events when it changes a session
	change  *change     // of a session, or its creation; nil for a batch
	refused error       // of a change that was made and must not be written
	out     []*callbackd.Event
}

// Accept is part of [store.Events].
func (s *Store) Accept(ctx context.Context, b store.Batch) ([]*callbackd.Event, error) {
	for i := range b.Events {
		if err := checkText(b.Events[i].Session); err != nil {
			return nil, err
		}
	}
	if err := s.CheckEventTypes(b.Events); err != nil {
		return nil, err
	}
	b.Trace = store.TraceOf(ctx)
	in := &acceptRequest{command: newCommand(), batch: b}
	if err := submit(ctx, s, s.accepts, in, &in.command); err != nil {
		return nil, err
	}
	return in.out, nil
}

// checkText refuses a session key, or the text of an API key, that PostgreSQL cannot
// store. One such text would make a whole group fail.
func checkText(text string) error {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return callbackd.Errorf(callbackd.KindInvalid, "a session key has bytes that are not UTF-8, or a zero byte")
	}
	return nil
}

func (in *acceptRequest) size() int {
	if in.change != nil && in.change.create == nil {
		return callbackd.MaxEventData // what it fires is not known yet
	}
	n := 0
	for i := range in.batch.Events {
		n += len(in.batch.Events[i].Data)
	}
	return n
}

// acceptLoop commits one group after the other, so that events are handed over
// in the order of their commits.
func (s *Store) acceptLoop() {
	commitGroups(s.closing, s.accepts, (*acceptRequest).size, func(group []*acceptRequest) {
		s.acceptTogether(group)
		for _, in := range group {
			close(in.done)
		}
	})
}

// acceptTogether commits the requests of a group in one transaction. When the
// database refuses the group, each request is tried alone.
func (s *Store) acceptTogether(group []*acceptRequest) {
	var uncertain []*acceptGroup // whose commit was not answered
	var tokens []token           // idempotency keys that changes of sessions have used
	var g *acceptGroup
	locked := false // see ofSessions
	err := s.insist(context.Background(), true, func(ctx context.Context) (bool, error) {
		g = newAcceptGroup(s, group, uncertain)
		g.own.locked = locked
		for _, t := range tokens {
			g.repeats[t] = nil
		}
		committing, err := s.tryAccept(ctx, g)
		tokens = append(tokens, g.unreadTokens...)
		locked = locked || g.own.needsLock
		if g.committed != nil && err == nil {
			g = g.committed
			return false, nil
		}
		if err != nil && committing && judge(err, true) == unknown {
			uncertain = append(uncertain, g)
		}
		switch violates(err) {
		case "events_pkey", "pending_pkey": // another node gave out the same id: take others
			s.last.id = max(s.last.id, g.lastID) + callbackd.EventID(rand.N(idSpread))
			return false, errLostRace
		case "session_sequences_pkey", "idempotency_pkey", "answers_pkey", "sessions_by_key":
			return false, errLostRace // another node inserted the row first: the next try reads it
		}
		return committing, err
	})
	if err == nil {
		s.publish(g, group)
		return
	}
	if callbackd.KindOf(err) == callbackd.KindInternal && len(uncertain) > 0 {
		err = answer(err, unknown)
	}
	s.refuseGroup(group, err)
}

// refuseGroup answers a group that was not committed. When the database refused
// it, each request is tried alone.
func (s *Store) refuseGroup(group []*acceptRequest, err error) {
	if callbackd.KindOf(err) == callbackd.KindInternal && len(group) > 1 {
		for _, in := range group {
			s.acceptTogether([]*acceptRequest{in})
		}
		return
	}
	s.refusals.Refuse(len(group), err)
	for _, in := range group {
		in.err = err
	}
}

// errUnresolvable ends a group when it is no longer possible to know whether it was
// committed.
const errUnresolvable = errTry("the session was changed by another call meanwhile")

// errLostRace makes a try start over, with nothing committed. The violated constraint is
// the signal on purpose: the whole group was decided from rows that it had read, so all
// of it must be rolled back and decided again from the other node's row.
const errLostRace = errTry("another node inserted the same row first")

// errRefused makes a group start over without a request that is refused.
const errRefused = errTry("a request of the group is refused")

type errTry string

func (e errTry) Error() string { return string(e) }

// publish makes a durable group visible in memory, in the order of the commits.
func (s *Store) publish(g *acceptGroup, group []*acceptRequest) {
	s.last.id = g.lastID
	s.markLanes(g)
	g.dropChanged()
	for i, in := range group {
		in.out, in.err = g.results[i], g.errs[i]
	}
	if len(g.deliveries) > 0 && s.onCommit != nil {
		s.onCommit(g.deliveries)
	}
	s.hub.Committed(g.events)
	s.refusals.Committed(len(group), true)
}

// markLanes marks the deliveries of sessions in which another node may have accepted an
// event before.
func (s *Store) markLanes(g *acceptGroup) {
	next := 0
	for _, ev := range g.events {
		id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
		before, _ := s.last.sequences.Get(id)
		last, readLane := before.Next(ev.ID, ev.Sequence)
		for ; next < len(g.deliveries) && g.deliveries[next].ID.Event == ev.ID; next++ {
			g.deliveries[next].ReadLane = readLane
		}
		s.last.sequences.Put(id, last)
	}
}

// tryAccept is one try of the transaction. committing reports whether the
// commit had been sent.
func (s *Store) tryAccept(ctx context.Context, g *acceptGroup) (committing bool, err error) {
	defer resetWhenLate(ctx, s.hot)
	conn, err := s.hot.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer returnConn(ctx, conn)
	if err := g.read(ctx, conn.Conn()); err != nil {
		return false, err
	}
	if g.committed != nil {
		// The earlier try is committed on this machine. This transaction comes
		// after it and has locked rows, so its commit ends when the standbys
		// have both.
		_, err := conn.Exec(ctx, "COMMIT")
		return true, err
	}
	if g.unresolvable {
		return false, answer(errUnresolvable, unknown)
	}
	if err := g.loadRepeats(ctx, conn.Conn()); err != nil {
		return false, err
	}
	if err := g.loadCallbacks(ctx, conn.Conn()); err != nil {
		return false, err
	}
	if err := g.loadUnchanged(ctx, conn.Conn()); err != nil {
		return false, err
	}
	if err := g.decide(); err != nil {
		return false, err
	}
	var p pipeline
	if err := g.write(&p); err != nil {
		return false, err
	}
	if len(g.audits) > 0 {
		if err := p.run(ctx, conn.Conn()); err != nil {
			return false, err
		}
		p = pipeline{}
		if err := g.auditor.Append(seamTx{ctx, conn.Conn()}, g.audits); err != nil {
			return false, err
		}
	}
	p.add("COMMIT", nil)
	return true, p.run(ctx, conn.Conn())
}

// subject is what callbacks are registered for.
type subject struct {
	key callbackd.KeyID
	typ callbackd.EventType
}

// sessionEnd is the last sequence number and ID of a session's events.
type sessionEnd struct {
	sequence  int64
	last      callbackd.EventID
	stored    bool // the session has a row
	appended  bool
	callbacks bool // it has had callbacks of its own
}

// acceptGroup is one try of a group: what it read, and what it writes.
type acceptGroup struct {
	group        []*acceptRequest
	lastID       callbackd.EventID
	uncertain    []*acceptGroup // tries whose commit was not answered
	committed    *acceptGroup   // the uncertain try that turned out to be committed
	unresolvable bool           // it cannot be known whether an uncertain try was committed
	writeToken   int64
	horizon      callbackd.EventID // readers were promised that no further event gets an ID up to it
	sessions     map[store.SessionID]*sessionEnd
	loaded       map[store.SessionID]*loadedSession
	candidates   map[subject]*callbackd.Candidates
	// unchanged has the sessions that filters use and that the group does not change.
	unchanged          map[store.SessionID]*callbackd.Session
	filtersUseSessions bool
	repeats            map[token]*repeat
	answers            map[token]*storedAnswer
	store              *Store
	own                ofSessions
	unreadTokens       []token // that were used and are not among repeats
	audits             []callbackd.AuditEntry
	auditor            *core.Auditor // that writes audits

	events     []*callbackd.Event
	deliveries []callbackd.Delivery
	results    [][]*callbackd.Event
	errs       []error
}

func newAcceptGroup(s *Store, group []*acceptRequest, uncertain []*acceptGroup) *acceptGroup {
	g := &acceptGroup{
		group: group, lastID: s.last.id, uncertain: uncertain,
		writeToken: newWriteToken(), loaded: map[store.SessionID]*loadedSession{},
		sessions: map[store.SessionID]*sessionEnd{}, candidates: map[subject]*callbackd.Candidates{}, repeats: map[token]*repeat{},
		answers: map[token]*storedAnswer{}, store: s,
		results: make([][]*callbackd.Event, len(group)), errs: make([]error, len(group)),
	}
	for _, in := range group {
		b := &in.batch
		if in.change != nil {
			id := store.SessionID{Key: b.Key, SessionKey: in.change.session}
			g.sessions[id], g.loaded[id] = &sessionEnd{}, nil
			if o := in.change.once; o != nil {
				g.answers[tokenOf(o)] = nil
			}
			for _, t := range callbackd.SessionEvents { // a change may fire any of them
				g.candidates[subject{b.Key, t}] = nil
			}
		}
		if b.Idempotency != "" {
			g.repeats[token{b.Key, string(codec.BatchHash(b.Idempotency))}] = nil
		}
		for i := range b.Events {
			n := &b.Events[i]
			g.sessions[store.SessionID{Key: b.Key, SessionKey: n.Session}] = &sessionEnd{}
			if n.OnlyTo == 0 {
				g.candidates[subject{b.Key, n.Type}] = nil
			}
			if n.Idempotency != "" {
				g.repeats[token{b.Key, string(codec.EventHash(n.Idempotency))}] = nil
			}
		}
	}
	return g
}

// decide runs the requests in order, in memory: it gives out sequence numbers and IDs,
// and finds the targets. When a request that has already changed the group is refused,
// the group starts over without it.
func (g *acceptGroup) decide() error {
	for i, in := range g.group {
		known := in.refused != nil
		switch {
		case known:
			g.errs[i] = in.refused
		case in.change != nil:
			g.results[i], g.errs[i] = g.changeOnce(in)
		default:
			g.results[i], g.errs[i] = g.batch(&in.batch, nil)
			if g.own.refused {
				in.refused = g.errs[i]
			}
		}
		if in.refused != nil && !known {
			return errRefused
		}
	}
	if g.own.needsLock {
		return errNeedsLock
	}
	return nil
}

// batch accepts all of a batch, or nothing. after is the session as it is after the change
// that fires the events; nil without a change.
func (g *acceptGroup) batch(b *store.Batch, after *callbackd.Session) ([]*callbackd.Event, error) {
	whole := token{b.Key, string(codec.BatchHash(b.Idempotency))}
	if b.Idempotency != "" {
		if r := g.repeats[whole]; r != nil {
			if !bytes.Equal(r.digest, b.Digest[:]) {
				return nil, store.ErrOtherEvent
			}
			return r.answer()
		}
	}
	if err := g.checkRepeats(b); err != nil {
		return nil, err
	}
	out := make([]*callbackd.Event, len(b.Events))
	for i := range b.Events {
		n := &b.Events[i]
		own := token{b.Key, string(codec.EventHash(n.Idempotency))}
		if n.Idempotency != "" {
			if r := g.repeats[own]; r != nil {
				out[i] = r.events[0]
				continue
			}
		}
		if err := b.Admitted(); err != nil {
			return nil, err
		}
		if n.Callback != nil {
			if _, err := g.give(store.SessionID{Key: b.Key, SessionKey: n.Session}, n.Callback, b.At); err != nil {
				g.own.refused = true
				return nil, err
			}
		}
		out[i] = g.accept(b, n, after)
		if n.Idempotency != "" {
			g.repeats[own] = &repeat{digest: codec.EventDigest(n), events: out[i : i+1], isNew: true}
		}
	}
	if b.Idempotency != "" {
		g.repeats[whole] = &repeat{digest: slices.Clone(b.Digest[:]), events: out, isNew: true}
	}
	return out, nil
}

// accept gives an event its sequence number, its ID and its targets.
func (g *acceptGroup) accept(b *store.Batch, n *store.NewEvent, after *callbackd.Session) *callbackd.Event {
	id := store.SessionID{Key: b.Key, SessionKey: n.Session}
	end := g.sessions[id]
	g.lastID = nextID(g.lastID, max(end.last, g.horizon), callbackd.FirstEventID(b.At))
	end.sequence, end.last, end.appended = end.sequence+1, g.lastID, true
	ev := &callbackd.Event{ID: g.lastID, Key: b.Key, Type: n.Type, Session: n.Session, Sequence: end.sequence, Data: n.Data, Test: n.IsTest(), ClockTime: callbackd.ClockTime(g.lastID, b.At), DeliverAt: callbackd.DeferredUntil(n.DeliverAt, b.At), ExpiresAt: n.ExpiresAt, Trace: b.Trace}
	var candidates *callbackd.Candidates
	if n.OnlyTo != 0 {
		ev.Targets = []callbackd.CallbackID{n.OnlyTo}
	} else {
		candidates = g.candidatesFor(id, n.Type)
		if candidates.UseSession() && after == nil {
			after = g.sessionNow(id)
		}
		ev.Targets, ev.Withheld = candidates.Choose(n.Data, after)
	}
	g.events = append(g.events, ev)
	for _, cb := range ev.Targets {
		g.deliveries = append(g.deliveries, callbackd.Delivery{
			ID: callbackd.DeliveryID{Event: ev.ID, Callback: cb}, Key: ev.Key, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test, AtOnce: n.OnlyTo != 0, Event: ev,
			Due: ev.DeliverAt, DeliverAt: ev.DeliverAt, ExpiresAt: ev.ExpiryOf(candidates.TTL(cb)),
		})
	}
	return ev
}

// idSpread is the range from which a node chooses its first ID of a millisecond:
// half of the IDs that fit in one.
const idSpread = 1 << 20

// nextID returns the ID of an event: after last, which is this node's last ID, and after
// floor, which another node may have set (the last ID of the session, or the horizon). In
// each new millisecond a node begins at a random ID, so that two nodes seldom choose the
// same one and the ID needs no node number. When they do, the primary key refuses the
// second one.
func nextID(last, floor, now callbackd.EventID) callbackd.EventID {
	switch {
	case floor > last && floor >= now: // the clock of another node is ahead
		return floor + 1 + callbackd.EventID(rand.N(idSpread))
	case now > last:
		return now + callbackd.EventID(rand.N(idSpread))
	}
	return last + 1
}

// sortedSessions returns the sessions in the order in which every node locks them, so
// that nodes cannot deadlock.
func (g *acceptGroup) sortedSessions() []store.SessionID {
	return slices.SortedFunc(maps.Keys(g.sessions), func(a, b store.SessionID) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.SessionKey, b.SessionKey))
	})
}
