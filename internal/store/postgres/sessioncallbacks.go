package postgres

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

// ofSessions is what a group knows of callbacks that are for one session. Of most groups it
// is empty: their sessions have none, which the rows of their sequences say.
type ofSessions struct {
	inForce   map[store.SessionID][]*callbackd.Callback
	newIDs    []callbackd.CallbackID                   // for those that the group makes
	given     map[callbackd.CallbackID]callbackd.Given // those that it makes or changes
	byFilter  map[store.SessionID]bool                 // sessions whose own callbacks have a filter that uses the session
	locked    bool                                     // the group may change callbacks that are stored
	needsLock bool                                     // it must, and has to start over
	refused   bool                                     // a request that gave one is refused after it changed the group
}

// errNeedsLock makes a group start over that changes callbacks that are stored. Such changes
// run one after the other, see [core.Settings], and those that only make callbacks need not.
const errNeedsLock = errTry("the group changes a callback")

const (
	newCallbackIDs = "SELECT nextval(pg_get_serial_sequence('callbacks', 'no')) FROM generate_series(1, $1::bigint)"
	// callbacksForSessions reads them session by session, by the index of sessions.
	callbacksForSessions = "SELECT " + core.ForSessions + ` FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT * FROM callbacks WHERE key_no = o.key_no AND session = o.session AND session IS NOT NULL AND deleted_at IS NULL) c ORDER BY c.no`
	markSessions = `UPDATE session_sequences SET callbacks = true WHERE ctid = ANY (ARRAY (SELECT s.place FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT ctid AS place FROM session_sequences WHERE key_no = o.key_no AND session = o.session LIMIT 1) s))`
)

// loadCallbacks reads the callbacks that are for sessions of the group.
func (g *acceptGroup) loadCallbacks(ctx context.Context, conn *pgx.Conn) error {
	made := 0
	g.own.given = map[callbackd.CallbackID]callbackd.Given{}
	note := func(id store.SessionID, cb *callbackd.Callback) {
		if f := cb.Policy.Filter; f != nil && f.UsesSession() {
			g.own.byFilter[id], g.filtersUseSessions = true, true
		}
	}
	g.own.byFilter = map[store.SessionID]bool{}
	gets := map[store.SessionID]bool{}
	for _, in := range g.group {
		for i := range in.batch.Events {
			if n := &in.batch.Events[i]; n.Callback != nil {
				made++
				id := store.SessionID{Key: in.batch.Key, SessionKey: n.Session}
				gets[id] = true
				note(id, n.Callback)
			}
		}
		if c := in.change; c != nil && c.given != nil {
			made++
			id := store.SessionID{Key: in.batch.Key, SessionKey: c.session}
			gets[id] = true
			note(id, c.given)
		}
	}
	tx := seamTx{ctx, conn}
	if err := g.loadInForce(tx, gets); err != nil {
		return err
	}
	for id, found := range g.own.inForce {
		for _, cb := range found {
			note(id, cb)
		}
	}
	if made == 0 {
		return nil
	}
	return tx.Query(newCallbackIDs, func(row core.Row) error {
		var id callbackd.CallbackID
		err := row.Scan(&id)
		g.own.newIDs = append(g.own.newIDs, id)
		return err
	}, made)
}

// loadInForce reads the callbacks in force of the group's sessions: whole ones for sessions
// that get another callback, and what choosing targets needs for the others.
func (g *acceptGroup) loadInForce(tx seamTx, gets map[store.SessionID]bool) (err error) {
	g.own.inForce = map[store.SessionID][]*callbackd.Callback{}
	var keys []int64
	var sessions []string
	for id, end := range g.sessions {
		switch {
		case !end.callbacks:
		case gets[id]:
			if g.own.inForce[id], err = g.store.SessionCallbacks(tx, id); err != nil {
				return err
			}
		default:
			keys, sessions = append(keys, int64(id.Key)), append(sessions, id.SessionKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return tx.Query(callbacksForSessions, func(row core.Row) error {
		cb, err := g.store.ScanForSession(row)
		if err != nil {
			return err
		}
		id := store.SessionID{Key: cb.Key, SessionKey: cb.Session}
		g.own.inForce[id] = append(g.own.inForce[id], cb)
		return nil
	}, keys, sessions)
}

// give gives a session a callback. It must be the first that a request does to the group.
func (g *acceptGroup) give(id store.SessionID, given *callbackd.Callback, at time.Time) (*callbackd.Callback, error) {
	inForce := g.own.inForce[id]
	out, err := g.store.Give(id, inForce, given, at, func() (callbackd.CallbackID, error) {
		next := g.own.newIDs[0]
		g.own.newIDs = g.own.newIDs[1:]
		return next, nil
	})
	if err != nil || out.Unchanged {
		return out.Callback, err
	}
	cb := out.Callback
	end := g.sessions[id]
	end.callbacks = true
	end.appended = end.appended || !end.stored
	if out.Before == nil {
		g.own.inForce[id] = append(slices.Clone(inForce), cb)
		g.own.given[cb.ID] = out
		return cb, nil
	}
	if first, ok := g.own.given[cb.ID]; ok {
		out.Before = first.Before
	}
	if out.Before != nil && !g.own.locked {
		g.own.needsLock = true
	}
	g.own.given[cb.ID] = out
	replaced := slices.Clone(inForce)
	replaced[slices.IndexFunc(replaced, func(o *callbackd.Callback) bool { return o.ID == cb.ID })] = cb
	g.own.inForce[id] = replaced
	return cb, nil
}

// candidatesFor returns the callbacks that an event may go to.
func (g *acceptGroup) candidatesFor(id store.SessionID, t callbackd.EventType) *callbackd.Candidates {
	candidates := g.candidates[subject{id.Key, t}]
	if own := g.own.inForce[id]; len(own) > 0 {
		return candidates.With(own, t)
	}
	return candidates
}

// sortedGiven returns the callbacks that the group makes or changes, by ID.
func (g *acceptGroup) sortedGiven() []callbackd.Given {
	out := make([]callbackd.Given, 0, len(g.own.given))
	for _, given := range g.own.given {
		out = append(out, given)
	}
	slices.SortFunc(out, func(a, b callbackd.Given) int { return int(a.Callback.ID - b.Callback.ID) })
	return out
}

// writeCallbacks queues the callbacks that the group gives to sessions.
func (g *acceptGroup) writeCallbacks(p *pipeline) error {
	var keys []int64
	var sessions []string
	for _, given := range g.sortedGiven() {
		if err := g.store.WriteGiven(queueTx{p}, given); err != nil {
			return err
		}
		if given.Before == nil {
			keys, sessions = append(keys, int64(given.Callback.Key)), append(sessions, given.Callback.Session)
		}
	}
	if len(keys) > 0 {
		p.add(markSessions, nil, keys, sessions)
	}
	return nil
}

// dropChanged drops the callbacks that the group has changed from the cache.
func (g *acceptGroup) dropChanged() {
	for id, given := range g.own.given {
		if given.Before != nil {
			g.store.DropCallbacks(id)
		}
	}
}
