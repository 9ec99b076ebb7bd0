package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

const replayColumns = "id, key_no, filter, rate, state, created_at, ended_at, total, due, skipped, created, delivered, failed, canceled, next_due"

func scanReplay(st *sqlite3.Stmt) (*callbackd.Replay, error) {
	r := &callbackd.Replay{
		ID: callbackd.ReplayID(st.ColumnInt64(0)), Key: callbackd.KeyID(st.ColumnInt64(1)), Rate: st.ColumnFloat(3),
		State: callbackd.ReplayState(st.ColumnText(4)), CreatedAt: columnTime(st, 5), EndedAt: columnTime(st, 6),
		Total: st.ColumnInt64(7), Due: st.ColumnInt64(8), Skipped: st.ColumnInt64(9), Created: st.ColumnInt64(10),
		Delivered: st.ColumnInt64(11), Failed: st.ColumnInt64(12), Canceled: st.ColumnInt64(13), NextDue: columnTime(st, 14),
	}
	if err := json.Unmarshal(st.ColumnRawText(2), &r.Filter); err != nil {
		return nil, fmt.Errorf("filter of replay %s: %w", r.ID, err)
	}
	return r, nil
}

func noReplay(id callbackd.ReplayID) error {
	return callbackd.Errorf(callbackd.KindNotFound, "There is no replay %s; replays are removed some time after they ended.", id)
}

// replay reads a replay of a key.
func (d *db) replay(key callbackd.KeyID, id callbackd.ReplayID) (r *callbackd.Replay, err error) {
	err = d.query("SELECT "+replayColumns+" FROM replays WHERE id = ?", func(st *sqlite3.Stmt) (err error) { r, err = scanReplay(st); return err }, int64(id))
	if err == nil && (r == nil || key != store.AllKeys && r.Key != key) {
		return nil, noReplay(id)
	}
	return r, err
}

// Replay is part of [store.Replays].
func (s *Store) Replay(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID) (r *callbackd.Replay, err error) {
	err = s.read(ctx, func(d *db) (err error) { r, err = d.replay(key, id); return err })
	return r, err
}

// ListReplays is part of [store.Replays].
func (s *Store) ListReplays(ctx context.Context, key callbackd.KeyID, after callbackd.ReplayID, limit int) (out []callbackd.Replay, next callbackd.ReplayID, err error) {
	limit = min(max(limit, 1), store.MaxPage)
	if after == 0 {
		after = 1<<63 - 1
	}
	where, args := "id < ?", []any{int64(after)}
	if key != store.AllKeys {
		where, args = "key_no = ? AND id < ?", []any{int64(key), int64(after)}
	}
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+replayColumns+" FROM replays WHERE "+where+" ORDER BY id DESC LIMIT ?", func(st *sqlite3.Stmt) error {
			r, err := scanReplay(st)
			if err == nil {
				out = append(out, *r)
			}
			return err
		}, append(args, limit+1)...)
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		next = out[limit-1].ID
	}
	return out, next, err
}

// RunningReplays is part of [store.Replays].
func (s *Store) RunningReplays(ctx context.Context) (ids []callbackd.ReplayID, err error) {
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT id FROM replays INDEXED BY replays_open WHERE state IN ('running', 'paused') AND state = 'running' ORDER BY id", func(st *sqlite3.Stmt) error {
			ids = append(ids, callbackd.ReplayID(st.ColumnInt64(0)))
			return nil
		})
	})
	return ids, err
}

// CountReplay is part of [store.Replays].
func (s *Store) CountReplay(ctx context.Context, key callbackd.KeyID, f callbackd.ReplayFilter) (int64, error) {
	c, err := s.chooseSet(ctx, key, f)
	if err != nil {
		return 0, err
	}
	return c.Total(), nil
}

// CreateReplay is part of [store.Replays].
func (s *Store) CreateReplay(ctx context.Context, r callbackd.Replay) (*callbackd.Replay, error) {
	c, err := s.chooseSet(ctx, r.Key, r.Filter)
	if err != nil {
		return nil, err
	}
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return nil, err
	}
	var out *callbackd.Replay
	err = s.write(ctx, func(t *tx) error {
		var open, last int64
		err := t.query("SELECT (SELECT count(*) FROM replays WHERE key_no = ? AND state IN ('running', 'paused')), (SELECT max(id) FROM replays)", func(st *sqlite3.Stmt) error {
			open, last = st.ColumnInt64(0), st.ColumnInt64(1)
			return nil
		}, int64(r.Key))
		if err != nil {
			return err
		}
		if open >= callbackd.MaxReplays {
			return callbackd.Errorf(callbackd.KindLimited, "%d replays of this API key have not ended, which is the limit; wait for one, or cancel one.", open)
		}
		id := callbackd.ReplayID(callbackd.NextEventID(callbackd.EventID(last), r.CreatedAt))
		err = t.query("INSERT INTO replays (id, key_no, filter, rate, state, created_at, total) VALUES (?, ?, ?, ?, ?, ?, ?)", nil,
			int64(id), int64(r.Key), string(filter), r.Rate, string(callbackd.ReplayRunning), r.CreatedAt, c.Total())
		if err == nil {
			err = c.write(t, id)
		}
		if err != nil {
			return err
		}
		out, err = t.replay(r.Key, id)
		store.Made(ctx, out)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetReplayState is part of [store.Replays].
func (s *Store) SetReplayState(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID, state callbackd.ReplayState, at time.Time) (*callbackd.Replay, error) {
	var out *callbackd.Replay
	err := s.write(ctx, func(t *tx) (err error) {
		out, err = t.replay(key, id)
		if store.Made(ctx, out); err != nil {
			return err
		}
		changed, err := out.SetState(state, at)
		if err != nil || !changed {
			return err
		}
		if state.Ended() {
			if err := t.forgetSet(id); err != nil {
				return err
			}
		}
		return t.query("UPDATE replays SET state = ?, ended_at = ? WHERE id = ?", nil, string(state), out.EndedAt, int64(id))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// forgetSet removes what a replay that ended no longer needs.
func (t *tx) forgetSet(id callbackd.ReplayID) error {
	if err := t.query("DELETE FROM replay_parts WHERE replay_id = ?", nil, int64(id)); err != nil {
		return err
	}
	return t.query("DELETE FROM replay_events WHERE replay_id = ?", nil, int64(id))
}

const selectParts = `SELECT p.callback_no, p.total, p.done,
		(SELECT count(*) FROM pending WHERE replay = ?1 AND replay != 0 AND callback_no = p.callback_no AND first_failed_at IS NULL),
		c.deleted_at IS NOT NULL OR k.revoked_at IS NOT NULL
	FROM replay_parts p CROSS JOIN callbacks c ON c.no = p.callback_no CROSS JOIN keys k ON k.no = c.key_no
	WHERE p.replay_id = ?1 AND p.done < p.total ORDER BY p.callback_no`

// openParts reads the parts of a replay that have deliveries left.
func (d *db) openParts(id callbackd.ReplayID) (parts []callbackd.ReplayPart, err error) {
	err = d.query(selectParts, func(st *sqlite3.Stmt) error {
		parts = append(parts, callbackd.ReplayPart{
			Callback: callbackd.CallbackID(st.ColumnInt64(0)), Total: st.ColumnInt64(1), Done: st.ColumnInt64(2),
			Untried: st.ColumnInt64(3), Ended: st.ColumnBool(4),
		})
		return nil
	}, int64(id))
	return parts, err
}

// StepReplay is part of [store.Replays].
func (s *Store) StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error) {
	var step *replayStep
	err := s.deliver(ctx, func(t *tx) error {
		step = &replayStep{t: t, at: at}
		return step.run(id)
	})
	if err != nil {
		return store.ReplayStep{}, err
	}
	return step.ReplayStep, nil
}

// replayStep is one step of a replay within a transaction.
type replayStep struct {
	store.ReplayStep
	t      *tx
	at     time.Time
	replay *callbackd.Replay
	done   callbackd.ReplayProgress
}

func (r *replayStep) run(id callbackd.ReplayID) error {
	err := r.t.query("SELECT "+replayColumns+" FROM replays WHERE id = ?", func(st *sqlite3.Stmt) (err error) {
		r.replay, err = scanReplay(st)
		return err
	}, int64(id))
	if err == nil && r.replay == nil {
		err = noReplay(id)
	}
	if err != nil {
		return err
	}
	r.State = r.replay.State
	ok, next := r.replay.CanStep(r.at)
	if r.Next = next; !ok {
		return nil
	}
	if err := r.parts(); err != nil {
		return err
	}
	if !r.replay.Advance(r.done, r.at) {
		return nil
	}
	r.State, r.Next = r.replay.State, r.replay.NextDue
	if r.State.Ended() {
		if err := r.t.forgetSet(id); err != nil {
			return err
		}
	}
	return r.t.query("UPDATE replays SET due = ?, skipped = ?, created = ?, next_due = ?, state = ?, ended_at = ? WHERE id = ?", nil,
		r.replay.Due, r.replay.Skipped, r.replay.Created, r.replay.NextDue, string(r.replay.State), r.replay.EndedAt, int64(id))
}

// parts takes from each part what the step may take.
func (r *replayStep) parts() error {
	parts, err := r.t.openParts(r.replay.ID)
	if err != nil {
		return err
	}
	for i, n := range r.replay.Divide(parts) {
		p := &parts[i]
		if n == 0 {
			continue
		}
		if p.Ended {
			r.done.Taken += n
			r.done.Skipped += n
		} else if err := r.makeDue(p, n); err != nil {
			return err
		}
		err := r.t.query("UPDATE replay_parts SET done = done + ? WHERE replay_id = ? AND callback_no = ?", nil, n, int64(r.replay.ID), int64(p.Callback))
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDue makes the part's next n deliveries due.
func (r *replayStep) makeDue(p *callbackd.ReplayPart, n int64) error {
	ids, err := r.t.setSlice(r.replay.ID, p.Callback, p.Done, n)
	if err != nil {
		return err
	}
	for _, ev := range ids {
		d, err := r.one(callbackd.DeliveryID{Event: ev, Callback: p.Callback})
		if err != nil {
			return err
		}
		r.done.Taken++
		if d == nil {
			r.done.Skipped++
			continue
		}
		r.Due = append(r.Due, *d)
	}
	return nil
}

// hasten makes a pending delivery due that waits for a later time; nil when it
// does not.
func (r *replayStep) hasten(d callbackd.Delivery) (out *callbackd.Delivery, err error) {
	err = r.t.query(`UPDATE pending SET step = 0, manual = 1, due = ?3, first_failed_at = NULL, holds_until = NULL, replay = ?4
		WHERE callback_no = ?1 AND event_id = ?2 AND due > ?3 AND replay = 0 RETURNING attempts`, func(st *sqlite3.Stmt) error {
		d.Attempts, out = st.ColumnInt(0), &d
		return nil
	}, int64(d.ID.Callback), int64(d.ID.Event), d.Due, int64(r.replay.ID))
	return out, err
}

// one makes a delivery of the set due, and creates it when there is none. It
// returns nil for one that waits already and for one whose event is gone.
func (r *replayStep) one(id callbackd.DeliveryID) (*callbackd.Delivery, error) {
	t := r.t
	d := callbackd.Delivery{ID: id, Manual: true, Replay: r.replay.ID, Due: r.replay.DueAt(r.at, int64(len(r.Due))).UTC().Truncate(time.Millisecond)}
	found, owed := false, false
	err := t.query("SELECT session, sequence, test, owed FROM events WHERE id = ?", func(st *sqlite3.Stmt) error {
		d.Session, d.Sequence, d.Test, found = st.ColumnText(0), st.ColumnInt64(1), st.ColumnBool(2), true
		for _, no := range codec.Owed(st.ColumnRawBlob(3)) {
			owed = owed || no == id.Callback
		}
		return nil
	}, int64(id.Event))
	if err != nil || !found || t.isYoung(id) {
		return nil, err
	}
	waits := false
	err = t.query("SELECT 1 FROM pending WHERE callback_no = ? AND event_id = ?", func(*sqlite3.Stmt) error { waits = true; return nil }, int64(id.Callback), int64(id.Event))
	if err != nil || waits && !r.replay.Filter.Hastens() {
		return nil, err
	}
	if waits {
		return r.hasten(d)
	}
	if !owed {
		n, err := t.exec("INSERT INTO owed_later (event_id, callback_no) VALUES (?, ?) ON CONFLICT DO NOTHING", int64(id.Event), int64(id.Callback))
		if err != nil {
			return nil, err
		}
		r.done.Created += n
	}
	err = t.query("SELECT coalesce(max(n), 0) FROM attempts WHERE event_id = ? AND callback_no = ?", func(st *sqlite3.Stmt) error { d.Attempts = st.ColumnInt(0); return nil }, int64(id.Event), int64(id.Callback))
	if err != nil {
		return nil, err
	}
	return &d, t.insertPending(d)
}

// replayEnded counts n ends of deliveries that a replay made due.
func (t *tx) replayEnded(id callbackd.ReplayID, state callbackd.State, n int) error {
	if id == 0 {
		return nil
	}
	sql := map[callbackd.State]string{
		callbackd.Delivered: "UPDATE replays SET delivered = delivered + ? WHERE id = ?",
		callbackd.Failed:    "UPDATE replays SET failed = failed + ? WHERE id = ?",
		callbackd.Canceled:  "UPDATE replays SET canceled = canceled + ? WHERE id = ?",
	}[state]
	return t.query(sql, nil, n, int64(id))
}
