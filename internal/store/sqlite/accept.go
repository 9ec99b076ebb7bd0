package sqlite

import (
	"bytes"
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/ncruces/go-sqlite3"
)

// Accept is part of [store.Events].
func (s *Store) Accept(ctx context.Context, b store.Batch) ([]*callbackd.Event, error) {
	if err := s.CheckEventTypes(b.Events); err != nil {
		return nil, err
	}
	var out []*callbackd.Event
	b.Trace = store.TraceOf(ctx)
	err := s.deliver(ctx, func(t *tx) (err error) {
		out, err = s.accept(t, &b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) accept(t *tx, b *store.Batch) ([]*callbackd.Event, error) {
	if b.Idempotency != "" {
		hash := codec.BatchHash(b.Idempotency)
		if first, err := t.repeated(b.Key, hash, b.Digest[:]); err != nil || first != nil {
			return first, err
		}
	}
	out, err := s.acceptAll(t, b, nil)
	if err != nil {
		return nil, err
	}
	if b.Idempotency != "" {
		if err := t.remember(b.Key, codec.BatchHash(b.Idempotency), b.Digest[:], out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// acceptAll accepts each event of a batch, without the batch's own idempotency key. after
// is the session as it is after the change that fires the events; nil without a change.
func (s *Store) acceptAll(t *tx, b *store.Batch, after *callbackd.Session) ([]*callbackd.Event, error) {
	out := make([]*callbackd.Event, len(b.Events))
	for i := range b.Events {
		ev, err := s.acceptOne(t, b, &b.Events[i], after)
		if err != nil {
			return nil, err
		}
		out[i] = ev
	}
	return out, nil
}

func (s *Store) acceptOne(t *tx, b *store.Batch, n *store.NewEvent, after *callbackd.Session) (*callbackd.Event, error) {
	if err := t.checkSpace(); err != nil {
		return nil, err
	}
	var hash, digest []byte
	if n.Idempotency != "" {
		hash, digest = codec.EventHash(n.Idempotency), codec.EventDigest(n)
		if first, err := t.repeated(b.Key, hash, digest); err != nil {
			return nil, err
		} else if len(first) == 1 {
			return first[0], nil
		}
	}
	if err := b.Admitted(); err != nil {
		return nil, err
	}
	id := store.SessionID{Key: b.Key, SessionKey: n.Session}
	if n.Callback != nil {
		if _, err := s.give(t, id, n.Callback, b.At); err != nil {
			return nil, err
		}
	}
	end, err := t.sessionEnd(id)
	if err != nil {
		return nil, err
	}
	candidates, targets, withheld, err := s.chooseTargets(t, id, n, end, after)
	if err != nil {
		return nil, err
	}
	end.sequence++
	t.ends[id] = end
	seq := end.sequence
	t.lastID = callbackd.NextEventID(t.lastID, b.At)
	ev := &callbackd.Event{ID: t.lastID, Key: b.Key, Type: n.Type, Session: n.Session, Sequence: seq, Data: n.Data, Test: n.IsTest(), Targets: targets, Withheld: withheld, ClockTime: callbackd.ClockTime(t.lastID, b.At), DeliverAt: callbackd.DeferredUntil(n.DeliverAt, b.At), ExpiresAt: n.ExpiresAt, Trace: b.Trace}
	if err := t.insertEvent(ev, candidates, n.OnlyTo != 0); err != nil {
		return nil, err
	}
	t.countDeliveries(string(callbackd.AcceptedEvent), len(targets))
	if hash != nil {
		err = t.remember(b.Key, hash, digest, []*callbackd.Event{ev})
	}
	return ev, err
}

// insertEvent stores an event. atOnce says that it is a test-send. A delivery that is deferred or expires gets its row at once,
// because the buffer does not have these times.
func (t *tx) insertEvent(ev *callbackd.Event, candidates *callbackd.Candidates, atOnce bool) error {
	err := t.query("INSERT INTO events (id, key_no, type, session, sequence, test, owed, accepted_at, withheld, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		int64(ev.ID), int64(ev.Key), t.s.EventTypes.Number(ev.Type), ev.Session, ev.Sequence, ev.Test, codec.AppendTargets(nil, ev.Targets), ev.ClockTime, codec.WithheldColumn(ev.Withheld), ev.Data)
	if err != nil {
		return err
	}
	// Most events have none of these, and a longer INSERT would cost all of them.
	if !ev.DeliverAt.IsZero() || !ev.ExpiresAt.IsZero() || ev.Trace != nil {
		if err := t.query("UPDATE events SET deliver_at = ?, expires_at = ?, trace = ? WHERE id = ?", nil, ev.DeliverAt, ev.ExpiresAt, nullBytes(codec.TraceColumn(ev.Trace)), int64(ev.ID)); err != nil {
			return err
		}
	}
	t.accepted = append(t.accepted, ev)
	t.bytes += len(ev.Data)
	for _, cb := range ev.Targets {
		d := untriedDelivery(ev, cb)
		d.Due, d.DeliverAt, d.ExpiresAt = ev.DeliverAt, ev.DeliverAt, ev.ExpiryOf(candidates.TTL(cb))
		if !d.Due.IsZero() || !d.ExpiresAt.IsZero() {
			if err := t.insertPending(d); err != nil {
				return err
			}
		}
		d.Key, d.Event, d.AtOnce = ev.Key, ev, atOnce
		t.deliveries = append(t.deliveries, d)
	}
	return nil
}

// chooseTargets returns the targets of an event, and the callbacks that it is withheld
// from, out of the candidates. after is the session after the change that fires the event, or nil.
func (s *Store) chooseTargets(t *tx, id store.SessionID, n *store.NewEvent, end sessionEnd, after *callbackd.Session) (candidates *callbackd.Candidates, targets []callbackd.CallbackID, withheld []callbackd.Withheld, err error) {
	if n.OnlyTo != 0 {
		return nil, []callbackd.CallbackID{n.OnlyTo}, nil, nil
	}
	if candidates, err = s.candidatesOf(t, subject{id.Key, n.Type}); err != nil {
		return nil, nil, nil, err
	}
	if end.callbacks {
		ofSession, err := s.callbacksFor(t, id)
		if err != nil {
			return nil, nil, nil, err
		}
		candidates = candidates.With(ofSession, n.Type)
	}
	if candidates.UseSession() && after == nil {
		w, err := t.session(id)
		if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
			return nil, nil, nil, err
		}
		after = w.Current
	}
	targets, withheld = candidates.Choose(n.Data, after)
	return candidates, targets, withheld, nil
}

// callbacksFor returns the callbacks in force that are for a session, as far as
// [core.Store.ScanForSession] reads them.
func (s *Store) callbacksFor(t *tx, id store.SessionID) (found []*callbackd.Callback, err error) {
	err = t.Query("SELECT "+core.ForSessions+" FROM callbacks c WHERE c.key_no = ?1 AND c.session = ?2 AND c.session IS NOT NULL AND c.deleted_at IS NULL ORDER BY c.no", func(row core.Row) error {
		cb, err := s.ScanForSession(row)
		found = append(found, cb)
		return err
	}, id.Key, id.SessionKey)
	return found, err
}

// candidatesOf returns the callbacks in force for sub. It sees a change of them in the same
// group, because both use the same connection. The cache is dropped when that change is
// durable, and is not filled before.
func (s *Store) candidatesOf(t *tx, sub subject) (*callbackd.Candidates, error) {
	if !t.settings {
		if candidates, ok := s.w.candidates.Get(sub); ok {
			return candidates, nil
		}
	}
	candidates := &callbackd.Candidates{}
	err := core.ReadCandidates(t, sub.key, s.EventTypes.Number(sub.typ), candidates)
	if err == nil && !t.settings {
		s.w.candidates.Put(sub, candidates)
	}
	return candidates, err
}

// sessionEnd is what accepting an event must know of its session.
type sessionEnd struct {
	sequence  int64 // of its last event
	callbacks bool  // it may have callbacks of its own
}

// sessionEnd returns the end of a session. The cache has those of sessions that were active
// recently. All sessions of the buffer are among them, because the cache holds more sessions
// than the buffer holds events.
func (t *tx) sessionEnd(id store.SessionID) (end sessionEnd, err error) {
	end, ok := t.ends[id]
	if !ok {
		end, ok = t.s.w.ends.Get(id)
	}
	if !ok {
		err = t.query("SELECT max(sequence), EXISTS (SELECT 1 FROM callbacks WHERE key_no = ?1 AND session = ?2 AND session IS NOT NULL) FROM session_events WHERE key_no = ?1 AND session = ?2", func(st *sqlite3.Stmt) error {
			end = sessionEnd{st.ColumnInt64(0), st.ColumnBool(1)}
			return nil
		}, int64(id.Key), id.SessionKey)
	}
	return end, err
}

// give gives a session a callback.
func (s *Store) give(t *tx, id store.SessionID, given *callbackd.Callback, at time.Time) (*callbackd.Callback, error) {
	inForce, err := s.SessionCallbacks(t, id)
	if err != nil {
		return nil, err
	}
	g, err := s.Give(id, inForce, given, at, func() (callbackd.CallbackID, error) { return s.NextCallback(t) })
	if err != nil || g.Unchanged {
		return g.Callback, err
	}
	end, err := t.sessionEnd(id)
	if err != nil {
		return nil, err
	}
	end.callbacks = true
	t.ends[id] = end
	if g.Before != nil {
		t.after = append(t.after, func() { s.DropCallbacks(g.Callback.ID) })
	}
	return g.Callback, s.WriteGiven(t, g)
}

// repeated returns the events that an idempotency key has made already; nil when there
// are none.
func (t *tx) repeated(key callbackd.KeyID, hash, digest []byte) ([]*callbackd.Event, error) {
	var ids []byte
	same := true
	err := t.query("SELECT digest, events FROM idempotency WHERE key_no = ? AND hash = ?", func(st *sqlite3.Stmt) error {
		same = bytes.Equal(st.ColumnRawBlob(0), digest)
		ids = st.ColumnBlob(1, nil)
		return nil
	}, int64(key), hash)
	switch {
	case err != nil:
		return nil, err
	case !same:
		return nil, store.ErrOtherEvent
	}
	var out []*callbackd.Event
	for _, id := range codec.IDs(ids) {
		ev, err := t.event(t.s.EventTypes, id)
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

func (t *tx) remember(key callbackd.KeyID, hash, digest []byte, evs []*callbackd.Event) error {
	return t.query("INSERT INTO idempotency (key_no, hash, digest, first, events) VALUES (?, ?, ?, ?, ?)", nil,
		int64(key), hash, digest, int64(evs[0].ID), codec.AppendIDs(nil, evs))
}

// nullBytes returns nil, which is NULL, for no bytes.
func nullBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

const eventColumns = "id, key_no, type, session, sequence, test, owed, accepted_at, deliver_at, expires_at, erased_at, trace"

func scanEvent(types *codec.EventTypes, st *sqlite3.Stmt) (*callbackd.Event, error) {
	typ, err := types.Name(st.ColumnInt64(2))
	return &callbackd.Event{
		ID: callbackd.EventID(st.ColumnInt64(0)), Key: callbackd.KeyID(st.ColumnInt64(1)), Type: typ,
		Session: st.ColumnText(3), Sequence: st.ColumnInt64(4), Test: st.ColumnBool(5), Targets: codec.Targets(st.ColumnRawBlob(6)), ClockTime: columnTime(st, 7),
		DeliverAt: columnTime(st, 8), ExpiresAt: columnTime(st, 9), ErasedAt: columnTime(st, 10), Trace: codec.Trace(st.ColumnRawBlob(11)),
	}, err
}

// event reads one event with its data.
func (d *db) event(types *codec.EventTypes, id callbackd.EventID) (ev *callbackd.Event, err error) {
	err = d.query("SELECT "+eventColumns+", data FROM events WHERE id = ?", func(st *sqlite3.Stmt) error {
		ev, err = scanEvent(types, st)
		ev.Data = st.ColumnBlob(12, nil)
		return err
	}, int64(id))
	if err == nil && ev == nil {
		err = core.NoEvent(id)
	}
	return ev, err
}
