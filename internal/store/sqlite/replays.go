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

const replayColumns = "id, key_no, filter, rate, state, created_at, ended_at, total, due, skipped, created, delivered, failed, canceled"

func scanReplay(st *sqlite3.Stmt) (*callbackd.Replay, error) {
	r := &callbackd.Replay{
		ID: callbackd.ReplayID(st.ColumnInt64(0)), Key: callbackd.KeyID(st.ColumnInt64(1)), Rate: st.ColumnFloat(3),
		State: callbackd.ReplayState(st.ColumnText(4)), CreatedAt: columnTime(st, 5), EndedAt: columnTime(st, 6),
		Total: st.ColumnInt64(7), Due: st.ColumnInt64(8), Skipped: st.ColumnInt64(9), Created: st.ColumnInt64(10),
		Delivered: st.ColumnInt64(11), Failed: st.ColumnInt64(12), Canceled: st.ColumnInt64(13),
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
	if err == nil && (r == nil || r.Key != key) {
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
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+replayColumns+" FROM replays WHERE key_no = ? AND id < ? ORDER BY id DESC LIMIT ?", func(st *sqlite3.Stmt) error {
			r, err := scanReplay(st)
			if err == nil {
				out = append(out, *r)
			}
			return err
		}, int64(key), int64(after), limit+1)
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
		if store.Made(ctx, out); err != nil || out.State == state {
			return err
		}
		if out.State.Ended() {
			return callbackd.Errorf(callbackd.KindConflict, "Replay %s is %s and does not change any more; start another one.", id, out.State)
		}
		out.State = state
		if state.Ended() {
			out.EndedAt = at.UTC().Truncate(time.Millisecond)
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

// part is the share of a replay that goes to one callback.
type part struct {
	callback    callbackd.CallbackID
	total, done int64
}

func (d *db) openParts(id callbackd.ReplayID) (parts []part, err error) {
	err = d.query("SELECT callback_no, total, done FROM replay_parts WHERE replay_id = ? AND done < total ORDER BY callback_no", func(st *sqlite3.Stmt) error {
		parts = append(parts, part{callback: callbackd.CallbackID(st.ColumnInt64(0)), total: st.ColumnInt64(1), done: st.ColumnInt64(2)})
		return nil
	}, int64(id))
	return parts, err
}

// StepReplay is part of [store.Replays].
func (s *Store) StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error) {
	var parts []part
	err := s.read(ctx, func(d *db) (err error) { parts, err = d.openParts(id); return err })
	if err != nil {
		return store.ReplayStep{}, err
	}
	ended := map[callbackd.CallbackID]bool{}
	for _, p := range parts { // before the writer is entered: see Record
		if ended[p.callback], err = s.ended(ctx, p.callback); err != nil {
			return store.ReplayStep{}, err
		}
	}
	var step *replayStep
	err = s.deliver(ctx, func(t *tx) error {
		step = &replayStep{t: t, id: id, at: at, next: at}
		return step.run(ended)
	})
	if err != nil {
		return store.ReplayStep{}, err
	}
	return step.ReplayStep, nil
}

// replayStep is one step of a replay within a transaction.
type replayStep struct {
	store.ReplayStep
	t                     *tx
	id                    callbackd.ReplayID
	at, next              time.Time     // of the next delivery
	every                 time.Duration // between two; 0 without a rate
	hastens               bool
	done, skipped, create int64
}

// replaySlice bounds what one step makes due.
const replaySlice = 512

func (r *replayStep) run(ended map[callbackd.CallbackID]bool) error {
	var rate float64
	var notBefore time.Time
	var left, waiting int64
	err := r.t.query("SELECT state, rate, next_due, total - due, due - skipped - delivered - failed - canceled, filter FROM replays WHERE id = ?", func(st *sqlite3.Stmt) error {
		var f callbackd.ReplayFilter
		if err := json.Unmarshal(st.ColumnRawText(5), &f); err != nil {
			return fmt.Errorf("filter of replay %s: %w", r.id, err)
		}
		r.hastens = f.Hastens()
		r.State, rate, notBefore = callbackd.ReplayState(st.ColumnText(0)), st.ColumnFloat(1), columnTime(st, 2)
		left, waiting = st.ColumnInt64(3), st.ColumnInt64(4)
		return nil
	}, int64(r.id))
	switch {
	case err != nil:
		return err
	case r.State == "":
		return noReplay(r.id)
	case r.State != callbackd.ReplayRunning:
		return nil
	case left > 0 && notBefore.After(r.at):
		r.Next = notBefore
		return nil
	}
	budget := int64(replaySlice)
	if rate > 0 {
		r.every = time.Duration(float64(time.Second) / rate)
		budget = min(max(int64(rate), 1), replaySlice) // a second's worth
	}
	if left > 0 {
		if err := r.parts(ended, budget); err != nil {
			return err
		}
	}
	if left == r.done && waiting+r.done-r.skipped == 0 {
		r.State = callbackd.ReplayDone
		if err := r.t.forgetSet(r.id); err != nil {
			return err
		}
		return r.t.query("UPDATE replays SET due = due + ?, skipped = skipped + ?, state = ?, ended_at = ? WHERE id = ?", nil,
			r.done, r.skipped, string(r.State), r.at, int64(r.id))
	}
	if r.done == 0 {
		return nil
	}
	if rate > 0 {
		r.Next = r.next
	}
	return r.t.query("UPDATE replays SET due = due + ?, skipped = skipped + ?, created = created + ?, next_due = ? WHERE id = ?", nil,
		r.done, r.skipped, r.create, r.Next, int64(r.id))
}

// parts gives each callback its share of the budget.
func (r *replayStep) parts(ended map[callbackd.CallbackID]bool, budget int64) error {
	parts, err := r.t.openParts(r.id)
	if err != nil {
		return err
	}
	for i, p := range parts {
		over, known := ended[p.callback]
		if !known {
			continue
		}
		n := p.total - p.done
		if over {
			r.done += n
			r.skipped += n
		} else {
			share := max(1, budget/int64(len(parts)-i))
			if n, err = r.room(p, min(n, share)); err != nil || n == 0 {
				if err != nil {
					return err
				}
				continue
			}
			if err := r.makeDue(p, n); err != nil {
				return err
			}
			budget -= n
		}
		if err := r.t.query("UPDATE replay_parts SET done = done + ? WHERE replay_id = ? AND callback_no = ?", nil, n, int64(r.id), int64(p.callback)); err != nil {
			return err
		}
		if budget <= 0 {
			break
		}
	}
	return nil
}

// room is how many of n may be made due for a callback: all of them, or none
// while most of the window is still to be tried.
func (r *replayStep) room(p part, n int64) (int64, error) {
	untried := int64(0)
	err := r.t.query("SELECT count(*) FROM pending WHERE replay = ? AND replay != 0 AND callback_no = ? AND first_failed_at IS NULL", func(st *sqlite3.Stmt) error {
		untried = st.ColumnInt64(0)
		return nil
	}, int64(r.id), int64(p.callback))
	if room := store.ReplayWindow - untried; room < min(n, store.ReplayWindow/2) {
		return 0, err
	} else {
		return min(n, room), err
	}
}

// makeDue makes the part's next n deliveries due.
func (r *replayStep) makeDue(p part, n int64) error {
	ids, err := r.t.setSlice(r.id, p.callback, p.done, n)
	if err != nil {
		return err
	}
	for _, ev := range ids {
		d, err := r.one(callbackd.DeliveryID{Event: ev, Callback: p.callback})
		if err != nil {
			return err
		}
		r.done++
		if d == nil {
			r.skipped++
			continue
		}
		r.Due = append(r.Due, *d)
		r.next = r.next.Add(r.every)
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
	}, int64(d.ID.Callback), int64(d.ID.Event), d.Due, int64(r.id))
	return out, err
}

// one makes a delivery of the set due, and creates it when there is none. It
// returns nil for one that waits already and for one whose event is gone.
func (r *replayStep) one(id callbackd.DeliveryID) (*callbackd.Delivery, error) {
	t := r.t
	d := callbackd.Delivery{ID: id, Manual: true, Replay: r.id, Due: r.next.UTC().Truncate(time.Millisecond)}
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
	if err != nil || waits && !r.hastens {
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
		r.create += n
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
