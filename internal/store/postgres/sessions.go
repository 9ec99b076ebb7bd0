package postgres

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// change is what ChangeSession asks of a group, or CreateSession when what it
// creates fires events.
type change struct {
	session string
	at      time.Time
	f       func(*callbackd.Session) (store.SessionChange, error)
	create  *callbackd.Session // nil: the session is there
	out     *callbackd.Session
	once    *store.Once // nil for a change that has no idempotency key
}

// ChangeSession is part of [store.Sessions]. It joins the groups of the
// intake: what a change fires is accepted with everything else, and the
// session's row is locked like the sequence of its events.
func (s *Store) ChangeSession(ctx context.Context, key callbackd.KeyID, sessionKey string, at time.Time, f func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	if checkText(sessionKey) != nil {
		return nil, nil, core.NoSession(sessionKey)
	}
	in := &acceptRequest{command: newCommand(), batch: store.Batch{Key: key, At: at}, change: &change{session: sessionKey, at: at, f: f, once: store.OnceOf(ctx)}}
	if err := submit(ctx, s, s.accepts, in, &in.command); err != nil {
		return nil, nil, err
	}
	return in.change.out, in.out, nil
}

// loadedSession is a session as a group has left it so far.
type loadedSession struct {
	no            int64
	writeToken    int64              // as it was read
	before, after *callbackd.Session // before is what is stored, nil when the group creates it; after is nil when it was removed
	notes         []callbackd.Note
	firstNote     int
	changed       bool
}

const (
	lockChangedSessions = `SELECT s.no, s.key_no, s.session, s.status, s.created_at, s.ended_at, s.reference, s.results, s.document, s.stamp
		FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT * FROM sessions WHERE key_no = o.key_no AND session = o.session FOR UPDATE) s`
	selectWriteToken = "SELECT coalesce((SELECT stamp FROM sessions WHERE no = $1), 0)"
	selectCreated    = "SELECT 1 FROM sessions WHERE key_no = $1 AND session = $2 AND stamp = $3"
	updateDocument   = "UPDATE sessions SET document = $2, stamp = $3 WHERE no = $1"
	updateSession    = "UPDATE sessions SET document = $2, stamp = $3, status = $4, ended_at = $5, due = $6, search = $7, reference = $8, results = $9 WHERE no = $1"
	insertNotes      = `INSERT INTO session_notes (session_no, n, title, description, inserted_by, inserted_at)
		SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[])`
	dropNotes      = "DELETE FROM session_notes WHERE session_no = ANY ($1::bigint[])"
	deleteSessions = "DELETE FROM sessions WHERE no = ANY ($1::bigint[])"

	insertSession = `INSERT INTO sessions (key_no, session, status, created_at, ended_at, due, search, reference, results, document, stamp)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
)

func scanSession(row pgx.CollectableRow) (*loadedSession, error) {
	w, err := core.ScanSession(seamRow{row})
	if err != nil {
		return nil, err
	}
	return &loadedSession{no: w.No, before: w.Stored, after: w.Current}, nil
}

// loadSessions locks and reads the sessions that the group changes.
func (g *acceptGroup) loadSessions(p *pipeline) {
	var keys []int64
	var sessions []string
	for _, id := range g.sortedSessions() {
		if _, changes := g.loaded[id]; changes {
			keys, sessions = append(keys, int64(id.key)), append(sessions, id.session)
		}
	}
	if len(keys) == 0 {
		return
	}
	p.add(lockChangedSessions, func(row pgx.CollectableRow) error {
		var stamp int64
		k, err := scanSession(withLast{row, &stamp})
		if err == nil {
			k.writeToken = stamp
			g.loaded[sessionID{k.before.Key, k.before.SessionKey}] = k
		}
		return err
	}, keys, sessions)
}

// changeSession runs one change on what the ones before it left.
func (g *acceptGroup) changeSession(in *acceptRequest) ([]*callbackd.Event, error) {
	c, id := in.change, sessionID{in.batch.Key, in.change.session}
	k := g.loaded[id]
	if c.create != nil {
		if k != nil {
			return nil, core.SessionExists(c.session)
		}
		events, err := g.batch(&in.batch)
		if err == nil {
			g.loaded[id] = &loadedSession{after: c.create, changed: true}
		}
		return events, err
	}
	if k == nil || k.before == nil || k.after == nil { // what the group creates is not there yet
		return nil, core.NoSession(c.session)
	}
	after := *k.after
	what, err := c.f(&after)
	if err != nil {
		return nil, err
	}
	c.out = &after
	if what.Unchanged {
		return nil, nil
	}
	b := store.Batch{Key: id.key, At: c.at, Events: slices.Clone(what.Events)}
	for i := range b.Events {
		b.Events[i].Session = c.session
	}
	events, err := g.batch(&b)
	if err != nil {
		return nil, err
	}
	k.changed = true
	if what.Remove {
		k.after, k.notes = nil, nil
		return events, nil
	}
	if len(k.notes) == 0 {
		k.firstNote = after.Notes - len(what.Notes) + 1
	}
	k.after, k.notes = &after, append(k.notes, what.Notes...)
	return events, nil
}

// writeSessions queues the changes of the sessions. Most changes are of the
// document alone, and then no index is touched. A session that was changed
// carries the group's stamp, by which a commit that was not answered is known.
func (g *acceptGroup) writeSessions(p *pipeline) {
	var removed []int64
	var notes noteRows
	for _, id := range g.sortedSessions() {
		k := g.loaded[id]
		switch {
		case k == nil || !k.changed:
			continue
		case k.before == nil:
			p.add(insertSession, nil, sessionRow(k.after, g.writeToken)...)
			continue
		case k.after == nil:
			removed = append(removed, k.no)
			continue
		}
		old, now, document := k.before, k.after, store.EncodeSession(k.after)
		if core.OnlyDocumentChanged(old, now) {
			p.add(updateDocument, nil, k.no, document, g.writeToken)
		} else {
			p.add(updateSession, nil, k.no, document, g.writeToken, string(now.Status), nullMillis(now.EndedAt), nullMillis(now.Due()), []byte(store.SessionText(now)), now.Reference, now.Results)
		}
		for i, n := range k.notes {
			notes.add(k.no, k.firstNote+i, &n)
		}
	}
	notes.insert(p)
	if len(removed) > 0 {
		p.add(dropNotes, nil, removed)
		p.add(deleteSessions, nil, removed)
	}
}

// findCommitted queues the question whether a try whose commit was not answered was
// committed: an event of it tells, or else the stamp of a session. What holds
// the locks of a commit under way keeps what comes before it in the pipeline,
// or the insert of a new session, waiting: what is not here is not to be.
func (g *acceptGroup) findCommitted(p *pipeline, try *acceptGroup) {
	if len(try.events) > 0 {
		ev := try.events[0]
		p.add(selectCommitted, func(pgx.CollectableRow) error { g.committed = try; return nil }, int64(ev.ID), int64(ev.Key), ev.Session, ev.Sequence)
		return
	}
	var kept *loadedSession
	changed := 0
	for _, k := range try.loaded {
		if k != nil && k.changed {
			changed++
			if kept == nil || kept.after == nil {
				kept = k
			}
		}
	}
	if kept == nil {
		return
	}
	p.add(selectWriteToken, func(row pgx.CollectableRow) error {
		var stamp int64
		err := row.Scan(&stamp)
		switch {
		case stamp == try.writeToken, stamp == 0 && kept.after == nil && changed == 1:
			g.committed = try
		case stamp != kept.writeToken: // somebody has changed it since, on top of that try or without it
			g.unresolvable = true
		}
		return err
	}, kept.no)
}

// newWriteToken returns a random token. It is never 0, which stands for no
// session.
func newWriteToken() int64 { return 1 + rand.Int64N(math.MaxInt64) }

// noteRows are the arrays of insertNotes.
type noteRows struct {
	sessions, at          []int64
	n                     []int32
	titles, texts, people [][]byte
}

func (r *noteRows) add(session int64, n int, note *callbackd.Note) {
	r.sessions, r.n, r.at = append(r.sessions, session), append(r.n, int32(n)), append(r.at, millis(note.InsertedAt))
	r.titles, r.texts, r.people = append(r.titles, []byte(note.Title)), append(r.texts, []byte(note.Description)), append(r.people, []byte(note.InsertedBy))
}

func (r *noteRows) insert(p *pipeline) {
	if len(r.sessions) > 0 {
		p.add(insertNotes, nil, r.sessions, r.n, r.titles, r.texts, r.people, r.at)
	}
}

// sessionRow returns the values of insertSession.
func sessionRow(s *callbackd.Session, stamp int64) []any {
	return []any{int64(s.Key), s.SessionKey, string(s.Status), millis(s.CreatedAt), nullMillis(s.EndedAt), nullMillis(s.Due()),
		[]byte(store.SessionText(s)), s.Reference, s.Results, store.EncodeSession(s), stamp}
}

// CreateSession is part of [store.Sessions]. One that fires events joins the
// groups of the intake, as a change does.
func (s *Store) CreateSession(ctx context.Context, session *callbackd.Session, fired ...store.NewEvent) error {
	if err := checkText(session.SessionKey); err != nil {
		return err
	}
	store.Made(ctx, store.Changed{Session: session})
	stored := *session
	if len(fired) > 0 {
		b := store.Batch{Key: stored.Key, At: stored.CreatedAt, Events: slices.Clone(fired)}
		for i := range b.Events {
			b.Events[i].Session = stored.SessionKey
		}
		in := &acceptRequest{command: newCommand(), batch: b, change: &change{session: stored.SessionKey, create: &stored, once: store.OnceOf(ctx)}}
		return submit(ctx, s, s.accepts, in, &in.command)
	}
	stamp, again := newWriteToken(), false
	return s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		if again { // the commit before may not have been answered
			var made int
			if err := tx.QueryRow(ctx, selectCreated, int64(stored.Key), stored.SessionKey, stamp).Scan(&made); err != pgx.ErrNoRows {
				return err
			}
		}
		again = true
		_, err := tx.Exec(ctx, insertSession, sessionRow(&stored, stamp)...)
		if violates(err) == "sessions_by_key" {
			return core.SessionExists(stored.SessionKey)
		}
		return err
	})
}
