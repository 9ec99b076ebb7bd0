package postgres

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// change is the change or the creation of a session that a request asks for.
type change struct {
	session string
	f       func(*callbackd.Session) (store.SessionChange, error)
	create  *callbackd.Session  // nil for a change of an existing session
	given   *callbackd.Callback // to a session that is created; nil for none
	made    *callbackd.Callback // what became of given
	out     *callbackd.Session
	once    *store.Once // nil for a change that has no idempotency key
	audit   *core.Auditor
}

// CreateSession is part of [store.Sessions].
func (s *Store) CreateSession(ctx context.Context, session *callbackd.Session, given *callbackd.Callback, fired ...store.NewEvent) error {
	if err := checkText(session.SessionKey); err != nil {
		return err
	}
	stored := *session
	in := &acceptRequest{
		command: newCommand(),
		batch:   store.Batch{Key: stored.Key, At: stored.CreatedAt, Events: core.EventsOfSession(stored.SessionKey, fired), Trace: store.TraceOf(ctx)},
		change:  &change{session: stored.SessionKey, create: &stored, given: given, once: store.OnceOf(ctx)},
	}
	return submit(ctx, s, s.accepts, in, &in.command)
}

// ChangeSession is part of [store.Sessions]. It joins the groups that accept events:
// what a change fires is accepted with everything else, and the session's row is locked
// like the sequence of its events.
func (s *Store) ChangeSession(ctx context.Context, key callbackd.KeyID, sessionKey string, at time.Time, f func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	if checkText(sessionKey) != nil {
		return nil, nil, core.NoSession(sessionKey)
	}
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, nil, err
	}
	in := &acceptRequest{
		command: newCommand(),
		batch:   store.Batch{Key: key, At: at, Trace: store.TraceOf(ctx)},
		change:  &change{session: sessionKey, f: f, once: store.OnceOf(ctx), audit: audit},
	}
	if err := submit(ctx, s, s.accepts, in, &in.command); err != nil {
		return nil, nil, err
	}
	return in.change.out, in.out, nil
}

// loadedSession is a session that a group changes, with the changes made so far.
type loadedSession struct {
	core.SessionWork
	writeToken int64 // as it was read; 0 when the session was not there
}

const (
	selectSessions = `SELECT s.no, s.key_no, s.session, s.status, s.created_at, s.ended_at, s.reference, NULL, s.document
		FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT * FROM sessions WHERE key_no = o.key_no AND session = o.session LIMIT 1) s`
	lockChangedSessions = `SELECT s.no, s.key_no, s.session, s.status, s.created_at, s.ended_at, s.reference, s.results, s.document, s.stamp
		FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT * FROM sessions WHERE key_no = o.key_no AND session = o.session FOR UPDATE) s`
	selectWriteToken = "SELECT coalesce((SELECT stamp FROM sessions WHERE key_no = $1 AND session = $2), 0)"
)

// loadSessions locks and reads the sessions that the group changes.
func (g *acceptGroup) loadSessions(p *pipeline) {
	var keys []int64
	var sessions []string
	for _, id := range g.sortedSessions() {
		if _, changes := g.loaded[id]; changes {
			keys, sessions = append(keys, int64(id.Key)), append(sessions, id.SessionKey)
		}
	}
	if len(keys) == 0 {
		return
	}
	p.add(lockChangedSessions, func(row pgx.CollectableRow) error {
		var token int64
		w, err := core.ScanSession(seamRow{row}, &token)
		if err == nil {
			g.loaded[store.SessionID{Key: w.Stored.Key, SessionKey: w.Stored.SessionKey}] = &loadedSession{*w, token}
		}
		return err
	}, keys, sessions)
}

// loadUnchanged reads the sessions that filters of callbacks use and that the group does
// not change. Most groups have none, and read nothing.
func (g *acceptGroup) loadUnchanged(ctx context.Context, conn *pgx.Conn) error {
	if !g.filtersUseSessions {
		return nil
	}
	g.unchanged = map[store.SessionID]*callbackd.Session{}
	var keys []int64
	var sessions []string
	for _, in := range g.group {
		for i := range in.batch.Events {
			n := &in.batch.Events[i]
			id := store.SessionID{Key: in.batch.Key, SessionKey: n.Session}
			_, known := g.unchanged[id]
			_, changes := g.loaded[id]
			if known || changes || n.OnlyTo != 0 || !g.own.byFilter[id] && !g.candidates[subject{in.batch.Key, n.Type}].UseSession() {
				continue
			}
			g.unchanged[id] = nil
			keys, sessions = append(keys, int64(id.Key)), append(sessions, id.SessionKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	var p pipeline
	p.add(selectSessions, func(row pgx.CollectableRow) error {
		w, err := core.ScanSession(seamRow{row})
		if err == nil {
			g.unchanged[store.SessionID{Key: w.Stored.Key, SessionKey: w.Stored.SessionKey}] = w.Stored
		}
		return err
	}, keys, sessions)
	return p.run(ctx, conn)
}

// sessionNow returns a session as the group has left it so far; nil when there is none.
func (g *acceptGroup) sessionNow(id store.SessionID) *callbackd.Session {
	if w := g.loaded[id]; w != nil {
		return w.Current
	}
	return g.unchanged[id]
}

// changeSession runs one change on the result of the changes before it.
func (g *acceptGroup) changeSession(in *acceptRequest) ([]*callbackd.Event, error) {
	c, id := in.change, store.SessionID{Key: in.batch.Key, SessionKey: in.change.session}
	w := g.loaded[id]
	if c.create != nil {
		if w != nil {
			return nil, core.SessionExists(c.session)
		}
		if c.given != nil {
			var err error
			if c.made, err = g.give(id, c.given, in.batch.At); err != nil {
				return nil, err
			}
		}
		events, err := g.batch(&in.batch, c.create)
		if err == nil {
			g.loaded[id] = &loadedSession{SessionWork: core.SessionWork{Current: c.create, Changed: true}}
		}
		return events, err
	}
	if w == nil || w.Stored == nil || w.Current == nil { // a session that this group creates does not exist yet either
		return nil, core.NoSession(c.session)
	}
	after, events, err := w.Apply(c.f, func(after *callbackd.Session, fired []store.NewEvent) ([]*callbackd.Event, error) {
		return g.batch(&store.Batch{Key: id.Key, At: in.batch.At, Events: fired, Trace: in.batch.Trace}, after)
	})
	c.out = after
	if err == nil {
		g.audits = append(g.audits, w.Audit(c.audit, after)...)
		g.auditor = c.audit
	}
	return events, err
}

// queueTx adds statements to a pipeline.
type queueTx struct{ p *pipeline }

// Exec is part of [core.Execer]. How many rows changed is not known yet: it
// returns 0.
func (t queueTx) Exec(sql string, args ...any) (int64, error) {
	plain, err := plainArgs(args)
	if err == nil {
		t.p.add(sql, nil, plain...)
	}
	return 0, err
}

// writeSessions queues the changes of the sessions. A session that was changed
// carries the group's token, by which a commit that was not answered is known.
func (g *acceptGroup) writeSessions(p *pipeline) error {
	token := core.Column{Name: "stamp", Value: g.writeToken}
	for _, id := range g.sortedSessions() {
		if w := g.loaded[id]; w != nil && w.Changed {
			if err := w.Write(queueTx{p}, token); err != nil {
				return err
			}
		}
	}
	return nil
}

// findCommitted queues a statement that tells whether a try whose commit was not answered
// was committed. It looks for an event of that try, or else for its token in a session.
// While that commit is still in progress, its locks make this statement wait, or the
// insert of a new session after it; then the next try asks again.
func (g *acceptGroup) findCommitted(p *pipeline, try *acceptGroup) {
	if len(try.events) > 0 {
		ev := try.events[0]
		p.add(selectCommitted, func(pgx.CollectableRow) error { g.committed = try; return nil }, int64(ev.ID), int64(ev.Key), ev.Session, ev.Sequence)
		return
	}
	id, w, changed := try.evidence()
	if w == nil {
		return
	}
	p.add(selectWriteToken, func(row pgx.CollectableRow) error {
		var token int64
		err := row.Scan(&token)
		switch {
		case token == try.writeToken, token == 0 && w.Current == nil && changed == 1:
			g.committed = try
		case token != w.writeToken: // another call has changed it since, after that try or without it
			g.unresolvable = true
		}
		return err
	}, int64(id.Key), id.SessionKey)
}

// evidence returns the changed session that best shows whether the group was committed,
// and how many it has changed. No other call can have changed a session that the group
// created. A session that it removed has no token any more.
func (g *acceptGroup) evidence() (best store.SessionID, work *loadedSession, changed int) {
	rank := func(w *loadedSession) int {
		switch {
		case w.Stored == nil:
			return 2
		case w.Current != nil:
			return 1
		}
		return 0
	}
	for id, w := range g.loaded {
		if w == nil || !w.Changed {
			continue
		}
		if changed++; work == nil || rank(w) > rank(work) {
			best, work = id, w
		}
	}
	return best, work, changed
}

// newWriteToken returns a random token. It is never 0, which means that there is no
// session.
func newWriteToken() int64 { return 1 + rand.Int64N(math.MaxInt64) }
