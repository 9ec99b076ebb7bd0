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
)

// intake is one batch on its way into the database.
type intake struct {
	command
	batch  store.Batch // without events when it changes a session
	change *change     // of a session, or its creation; nil for a batch
	out    []*callbackd.Event
}

// Accept is part of [store.Events].
func (s *Store) Accept(ctx context.Context, b store.Batch) ([]*callbackd.Event, error) {
	for i := range b.Events {
		if err := textIsKept(b.Events[i].Session); err != nil {
			return nil, err
		}
	}
	in := &intake{command: newCommand(), batch: b}
	if err := submit(ctx, s, s.intakes, in, &in.command); err != nil {
		return nil, err
	}
	return in.out, nil
}

// textIsKept refuses a session key, or the text of an API key, that PostgreSQL
// cannot hold. One such text would fail a whole group.
func textIsKept(text string) error {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return callbackd.Errorf(callbackd.KindInvalid, "a session key has bytes that are not UTF-8, or a zero")
	}
	return nil
}

func (in *intake) size() int {
	if in.change != nil {
		return callbackd.MaxEventData // what it fires is not known yet
	}
	n := 0
	for i := range in.batch.Events {
		n += len(in.batch.Events[i].Data)
	}
	return n
}

// takeIn is the goroutine of the intake: one group after the other, so that
// what it hands over is in commit order.
func (s *Store) takeIn() {
	commitGroups(s.closing, s.intakes, (*intake).size, func(group []*intake) {
		s.acceptGroup(group)
		for _, in := range group {
			close(in.done)
		}
	})
}

// acceptGroup commits the batches together. When one of them cannot be
// stored, it does not take the others with it.
func (s *Store) acceptGroup(group []*intake) {
	var doubts []*acceptance // whose commit was not answered
	var tokens []token       // that changes of sessions turned out to use
	var g *acceptance
	err := s.insist(context.Background(), true, func(ctx context.Context) (bool, error) {
		g = newAcceptance(s, group, doubts)
		for _, t := range tokens {
			g.repeats[t] = nil
		}
		committing, err := s.tryAccept(ctx, g)
		tokens = append(tokens, g.unread...)
		if g.made != nil && err == nil {
			g = g.made
			return false, nil
		}
		if err != nil && committing && judge(err, true) == unknown {
			doubts = append(doubts, g)
		}
		switch violates(err) {
		case "events_pkey", "pending_pkey": // another node gave out the same id: take others
			s.lastID = max(s.lastID, g.lastID) + callbackd.EventID(rand.N(idSpread))
			return false, errTaken
		case "session_sequences_pkey", "idempotency_pkey", "answers_pkey", "sessions_by_key":
			return false, errTaken // another node was faster: now its row is there to be read
		}
		return committing, err
	})
	if err != nil && callbackd.KindOf(err) == callbackd.KindInternal && len(doubts) > 0 {
		err = answer(err, unknown)
	}
	if err != nil && callbackd.KindOf(err) == callbackd.KindInternal && len(group) > 1 {
		for _, in := range group {
			s.acceptGroup([]*intake{in})
		}
		return
	}
	if err != nil {
		s.refusals.Refuse(len(group), err)
		for _, in := range group {
			in.err = err
		}
		return
	}
	s.publish(g, group)
}

// errUnsure ends a group of which nobody can tell whether it was committed.
const errUnsure = errTry("the session was changed by somebody else meanwhile")

// errTaken makes a try start over, with nothing committed.
const errTaken = errTry("another node was faster")

type errTry string

func (e errTry) Error() string { return string(e) }

// publish makes a durable group visible in memory, in commit order.
func (s *Store) publish(g *acceptance, group []*intake) {
	s.lastID = g.lastID
	s.follow(g)
	for i, in := range group {
		in.out, in.err = g.outs[i], g.errs[i]
	}
	if len(g.handover) > 0 && s.handover != nil {
		s.handover(g.handover)
	}
	s.hub.Committed(g.events)
	s.refusals.Committed(len(group), true)
}

// follow marks the deliveries whose session another node may have given a
// number last.
func (s *Store) follow(g *acceptance) {
	next := 0
	for _, ev := range g.events {
		id := sessionID{ev.Key, ev.Session}
		before, _ := s.chain.Get(id)
		for ; next < len(g.handover) && g.handover[next].ID.Event == ev.ID; next++ {
			g.handover[next].ReadLane = before != ev.Sequence-1
		}
		s.chain.Put(id, ev.Sequence)
	}
}

// tryAccept is one try of the transaction. committing tells whether the
// commit had been sent.
func (s *Store) tryAccept(ctx context.Context, g *acceptance) (committing bool, err error) {
	defer resetWhenLate(ctx, s.hot)
	conn, err := s.hot.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer giveBack(ctx, conn)
	if err := g.read(ctx, conn.Conn()); err != nil {
		return false, err
	}
	if g.made != nil {
		// Made on this machine. This commit has locked rows after it, so it
		// ends when the standbys have both.
		_, err := conn.Exec(ctx, "COMMIT")
		return true, err
	}
	if g.unsure {
		return false, answer(errUnsure, unknown)
	}
	if err := g.loadRepeats(ctx, conn.Conn()); err != nil {
		return false, err
	}
	g.decide()
	var p pipeline
	g.write(&p)
	p.add("COMMIT", nil)
	return true, p.run(ctx, conn.Conn())
}

// sessionID is a session of one API key.
type sessionID struct {
	key     callbackd.KeyID
	session string
}

// subject is what callbacks are registered for.
type subject struct {
	key callbackd.KeyID
	typ callbackd.EventType
}

// token names an idempotency key.
type token struct {
	key  callbackd.KeyID
	hash string
}

// sessionEnd is where a session's events end.
type sessionEnd struct {
	sequence int64
	last     callbackd.EventID
	stored   bool // has a row
	grown    bool
}

// repeat is the answer that an idempotency key stands for.
type repeat struct {
	digest []byte
	ids    []callbackd.EventID // of a stored answer
	events []*callbackd.Event
	fresh  bool // made by this group
}

// acceptance is one try of a group: what it read, and what follows from it.
type acceptance struct {
	group    []*intake
	lastID   callbackd.EventID
	doubts   []*acceptance // tries whose commit was not answered
	made     *acceptance   // the one of them that was committed
	unsure   bool          // one of them may have been, and nothing tells any more
	stamp    int64
	horizon  callbackd.EventID // ids up to it were promised not to come any more
	sessions map[sessionID]*sessionEnd
	kept     map[sessionID]*keptSession
	owed     map[subject][]callbackd.CallbackID
	repeats  map[token]*repeat
	answers  map[token]*storedAnswer
	store    *Store
	unread   []token // that are not among repeats

	events   []*callbackd.Event
	handover []callbackd.Delivery
	outs     [][]*callbackd.Event
	errs     []error
}

func newAcceptance(s *Store, group []*intake, doubts []*acceptance) *acceptance {
	g := &acceptance{
		group: group, lastID: s.lastID, doubts: doubts,
		stamp: newStamp(), kept: map[sessionID]*keptSession{},
		sessions: map[sessionID]*sessionEnd{}, owed: map[subject][]callbackd.CallbackID{}, repeats: map[token]*repeat{},
		answers: map[token]*storedAnswer{}, store: s,
		outs: make([][]*callbackd.Event, len(group)), errs: make([]error, len(group)),
	}
	for _, in := range group {
		b := &in.batch
		if in.change != nil {
			id := sessionID{b.Key, in.change.session}
			g.sessions[id], g.kept[id] = &sessionEnd{}, nil
			if o := in.change.once; o != nil {
				g.answers[tokenOf(o)] = nil
			}
			for _, t := range callbackd.EventTypes { // a change may fire any of them
				g.owed[subject{b.Key, t}] = nil
			}
		}
		if b.Idempotency != "" {
			g.repeats[token{b.Key, string(codec.BatchHash(b.Idempotency))}] = nil
		}
		for i := range b.Events {
			n := &b.Events[i]
			g.sessions[sessionID{b.Key, n.Session}] = &sessionEnd{}
			if n.OnlyTo == 0 {
				g.owed[subject{b.Key, n.Type}] = nil
			}
			if n.Idempotency != "" {
				g.repeats[token{b.Key, string(codec.EventHash(n.Idempotency))}] = nil
			}
		}
	}
	return g
}

// decide runs the batches in order, in memory: numbers, ids, what is owed.
func (g *acceptance) decide() {
	for i, in := range g.group {
		if in.change != nil {
			g.outs[i], g.errs[i] = g.changeOnce(in)
		} else {
			g.outs[i], g.errs[i] = g.batch(&in.batch)
		}
	}
}

var errOtherBody = callbackd.Errorf(callbackd.KindConflict, "this idempotency key was used with another body; use a new key for a new event")

// batch accepts all of a batch, or nothing.
func (g *acceptance) batch(b *store.Batch) ([]*callbackd.Event, error) {
	whole := token{b.Key, string(codec.BatchHash(b.Idempotency))}
	if b.Idempotency != "" {
		if r := g.repeats[whole]; r != nil {
			if !bytes.Equal(r.digest, b.Digest[:]) {
				return nil, errOtherBody
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
		out[i] = g.accept(b, n)
		if n.Idempotency != "" {
			g.repeats[own] = &repeat{digest: codec.EventDigest(n), events: out[i : i+1], fresh: true}
		}
	}
	if b.Idempotency != "" {
		g.repeats[whole] = &repeat{digest: slices.Clone(b.Digest[:]), events: out, fresh: true}
	}
	return out, nil
}

// checkRepeats finds what contradicts the batch, before any of it is
// accepted.
func (g *acceptance) checkRepeats(b *store.Batch) error {
	within := map[token][]byte{}
	g.needRepeats(b)
	for i := range b.Events {
		n := &b.Events[i]
		if n.Idempotency == "" {
			continue
		}
		own, digest := token{b.Key, string(codec.EventHash(n.Idempotency))}, codec.EventDigest(n)
		before, ok := within[own]
		if r := g.repeats[own]; r != nil {
			before, ok = r.digest, true
			if _, err := r.answer(); err != nil {
				return err
			}
		}
		if ok && !bytes.Equal(before, digest) {
			return errOtherBody
		}
		within[own] = digest
	}
	return nil
}

// needRepeats notes idempotency keys that were not known when the group was
// read: those of what changes of sessions fire. When one of them was used
// before, the commit fails on it, and the next try reads them too.
func (g *acceptance) needRepeats(b *store.Batch) {
	for i := range b.Events {
		key := b.Events[i].Idempotency
		if key == "" {
			continue
		}
		t := token{b.Key, string(codec.EventHash(key))}
		if _, known := g.repeats[t]; !known {
			g.unread = append(g.unread, t)
		}
	}
}

func (r *repeat) answer() ([]*callbackd.Event, error) {
	if !r.fresh && len(r.events) != len(r.ids) {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "the event that this idempotency key made was removed; events are removed some time after they ended")
	}
	return r.events, nil
}

// accept gives one event its place.
func (g *acceptance) accept(b *store.Batch, n *store.NewEvent) *callbackd.Event {
	end := g.sessions[sessionID{b.Key, n.Session}]
	g.lastID = nextID(g.lastID, max(end.last, g.horizon), callbackd.FirstEventID(b.At))
	end.sequence, end.last, end.grown = end.sequence+1, g.lastID, true
	ev := &callbackd.Event{ID: g.lastID, Key: b.Key, Type: n.Type, Session: n.Session, Sequence: end.sequence, Data: n.Data, Test: n.OnlyTo != 0, ClockTime: callbackd.ClockTime(g.lastID, b.At)}
	if ev.Targets = g.owed[subject{b.Key, n.Type}]; ev.Test {
		ev.Targets = []callbackd.CallbackID{n.OnlyTo}
	}
	g.events = append(g.events, ev)
	for _, no := range ev.Targets {
		g.handover = append(g.handover, callbackd.Delivery{
			ID: callbackd.DeliveryID{Event: ev.ID, Callback: no}, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test, Event: ev,
		})
	}
	return ev
}

// idSpread is how far apart, at most, nodes begin within a millisecond: half
// of what fits.
const idSpread = 1 << 20

// nextID is the id of an event after last, which is this node's last, and
// after floor, which another node may have set: its session's last id, or the
// horizon. In each new
// millisecond a node begins at a place of its own choice, so that nodes
// seldom meet, without a number that each of them would have to hold; the
// primary key is the judge when they do.
func nextID(last, floor, now callbackd.EventID) callbackd.EventID {
	switch {
	case floor > last && floor >= now: // another node's clock is ahead
		return floor + 1 + callbackd.EventID(rand.N(idSpread))
	case now > last:
		return now + callbackd.EventID(rand.N(idSpread))
	}
	return last + 1
}

// sortedSessions is the order in which every node locks: none waits for one
// that waits for it.
func (g *acceptance) sortedSessions() []sessionID {
	return slices.SortedFunc(maps.Keys(g.sessions), func(a, b sessionID) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.session, b.session))
	})
}

func sortedTokens(repeats map[token]*repeat) []token {
	return slices.SortedFunc(maps.Keys(repeats), compareTokens)
}
