package core

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const replayColumns = "id, key_no, filter, rate, state, created_at, ended_at, next_due, total, due, skipped, created, delivered, failed, canceled"

func scanReplay(row Row) (*callbackd.Replay, error) {
	var r callbackd.Replay
	var filter string
	err := row.Scan(&r.ID, &r.Key, &filter, &r.Rate, &r.State, &r.CreatedAt, &r.EndedAt, &r.NextDue,
		&r.Total, &r.Due, &r.Skipped, &r.Created, &r.Delivered, &r.Failed, &r.Canceled)
	if err != nil {
		return nil, err
	}
	var order replayOrder
	if err := json.Unmarshal([]byte(filter), &order); err != nil {
		return nil, damaged(fmt.Errorf("the filter of replay %s: %w", r.ID, err))
	}
	r.Filter, r.Cancel = order.ReplayFilter, order.Cancel
	return &r, nil
}

// replayOrder is what the column filter of a replay has: which deliveries it chooses, and
// what it does with them.
type replayOrder struct {
	callbackd.ReplayFilter
	Cancel *callbackd.Cancellation `json:",omitempty"`
}

// readReplay reads a replay of a key; AllKeys is possible. lock is the Lock of
// the dialect or empty.
func readReplay(tx Tx, key callbackd.KeyID, id callbackd.ReplayID, lock string) (r *callbackd.Replay, err error) {
	err = tx.Query("SELECT "+replayColumns+" FROM replays WHERE id = $1"+lock, func(row Row) (err error) {
		r, err = scanReplay(row)
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	if r == nil || key != store.AllKeys && r.Key != key {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "There is no replay %s; replays are removed some time after they ended.", id)
	}
	return r, nil
}

// Replay is part of [store.Replays].
func (s *Store) Replay(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID) (r *callbackd.Replay, err error) {
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		r, err = readReplay(tx, key, id, "")
		return err
	})
	return r, err
}

// ListReplays is part of [store.Replays].
func (s *Store) ListReplays(ctx context.Context, q store.ReplayQuery) (page store.ReplayPage, err error) {
	more, further := "", false
	if q.Running { // the first condition is that of an index
		more = " AND state IN ('running', 'paused') AND state = 'running'"
	}
	page.Replays, further, err = newestRows(ctx, s, replayColumns, "replays", more, q.Key, int64(q.After), q.Limit, scanReplay)
	if further {
		page.Next = page.Replays[len(page.Replays)-1].ID
	}
	return page, err
}

// CountReplay is part of [store.Replays].
func (s *Store) CountReplay(ctx context.Context, key callbackd.KeyID, f callbackd.ReplayFilter) (int64, error) {
	set, err := s.chooseReplaySet(ctx, key, &f)
	if err != nil {
		return 0, err
	}
	return set.Total(), nil
}

// CreateReplay is part of [store.Replays].
func (s *Store) CreateReplay(ctx context.Context, r callbackd.Replay) (out *callbackd.Replay, err error) {
	filter, err := json.Marshal(replayOrder{r.Filter, r.Cancel})
	if err != nil {
		return nil, err
	}
	set, err := s.chooseReplaySet(ctx, r.Key, &r.Filter)
	if err != nil {
		return nil, err
	}
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, 0, func(tx Tx) error {
		id, err := s.nextReplayID(tx, r.Key, r.CreatedAt)
		if err != nil {
			return err
		}
		n, err := tx.Exec("INSERT INTO replays (id, key_no, filter, rate, state, created_at, total) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
			id, r.Key, string(filter), r.Rate, callbackd.ReplayRunning, r.CreatedAt, set.Total())
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrRace
		}
		if err := writeReplaySet(tx, id, set); err != nil {
			return err
		}
		if out, err = readReplay(tx, r.Key, id, ""); err != nil {
			return err
		}
		store.Made(ctx, out)
		return audit.Write(tx, replayEntry(out, true), nil, out.AuditState())
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// nextReplayID returns the id of a key's next replay. It refuses one more than
// [callbackd.MaxReplays], and locks the key so that no other one begins meanwhile.
func (s *Store) nextReplayID(tx Tx, key callbackd.KeyID, at time.Time) (callbackd.ReplayID, error) {
	if err := tx.Query("SELECT no FROM keys WHERE no = $1"+s.d.Lock, func(Row) error { return nil }, key); err != nil {
		return 0, err
	}
	var open int
	err := tx.Query("SELECT count(*) FROM replays WHERE key_no = $1 AND state IN ('running', 'paused')", func(row Row) error { return row.Scan(&open) }, key)
	if err != nil {
		return 0, err
	}
	if open >= callbackd.MaxReplays {
		return 0, callbackd.Errorf(callbackd.KindLimited, "%d replays of this API key have not ended, which is the limit; wait for one, or cancel one.", open)
	}
	var last callbackd.EventID
	err = tx.Query("SELECT id FROM replays ORDER BY id DESC LIMIT 1", func(row Row) error { return row.Scan(&last) })
	return callbackd.ReplayID(callbackd.NextEventID(last, at)), err
}

// SetReplayState is part of [store.Replays].
func (s *Store) SetReplayState(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID, state callbackd.ReplayState, at time.Time) (r *callbackd.Replay, err error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, Repeatable, func(tx Tx) error {
		r, err = readReplay(tx, key, id, s.d.Lock)
		if err != nil {
			return err
		}
		store.Made(ctx, r)
		before := callbackd.AuditState{"state": string(r.State)}
		changed, err := r.SetState(state, at)
		if err != nil || !changed {
			return err
		}
		if err := writeReplay(tx, r); err != nil {
			return err
		}
		return audit.Write(tx, replayEntry(r, false), before, callbackd.AuditState{"state": string(r.State)})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// replayEntry returns an entry about a replay, which was started or changed.
func replayEntry(r *callbackd.Replay, started bool) callbackd.AuditEntry {
	return callbackd.AuditEntry{Key: r.Key, Action: callbackd.AuditActionOfReplay(r, started), Target: r.Filter.Callback, Subject: r.ID.String()}
}

// writeReplay stores what a step or a change of the state changes. The set of a
// replay that ended is removed. The counts of outcomes are not written, because
// records add to them.
func writeReplay(tx Tx, r *callbackd.Replay) error {
	if r.State.Ended() {
		for _, sql := range []string{"DELETE FROM replay_parts WHERE replay_id = $1", "DELETE FROM replay_events WHERE replay_id = $1"} {
			if _, err := tx.Exec(sql, r.ID); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec("UPDATE replays SET state = $2, ended_at = $3, next_due = $4, due = $5, skipped = $6, created = $7 WHERE id = $1",
		r.ID, r.State, r.EndedAt, r.NextDue, r.Due, r.Skipped, r.Created)
	return err
}
