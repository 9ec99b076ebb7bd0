package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

const replayColumns = "id, key_no, filter, rate, state, created_at, ended_at, total, due, skipped, created, delivered, failed, canceled, next_due"

func scanReplay(row pgx.CollectableRow) (r callbackd.Replay, err error) {
	var created int64
	var ended, next *int64
	var filter string
	err = row.Scan((*int64)(&r.ID), (*int64)(&r.Key), &filter, &r.Rate, (*string)(&r.State), &created, &ended,
		&r.Total, &r.Due, &r.Skipped, &r.Created, &r.Delivered, &r.Failed, &r.Canceled, &next)
	if err != nil {
		return r, err
	}
	r.CreatedAt, r.EndedAt, r.NextDue = fromMillis(created), fromNullMillis(ended), fromNullMillis(next)
	if err := json.Unmarshal([]byte(filter), &r.Filter); err != nil {
		return r, damaged(fmt.Errorf("filter of replay %s: %w", r.ID, err))
	}
	return r, nil
}

func noReplay(id callbackd.ReplayID) error {
	return callbackd.Errorf(callbackd.KindNotFound, "There is no replay %s; replays are removed some time after they ended.", id)
}

// replay reads a replay of a key, or of any when key is 0; more may lock it.
func replay(ctx context.Context, q querier, key callbackd.KeyID, id callbackd.ReplayID, more string) (*callbackd.Replay, error) {
	rows, err := q.Query(ctx, "SELECT "+replayColumns+" FROM replays WHERE id = $1"+more, int64(id))
	if err != nil {
		return nil, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReplay)
	if err == pgx.ErrNoRows || err == nil && key != store.AllKeys && r.Key != key {
		return nil, noReplay(id)
	}
	return &r, err
}

// Replay is part of [store.Replays].
func (s *Store) Replay(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID) (r *callbackd.Replay, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		r, err = replay(ctx, conn, key, id, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ListReplays is part of [store.Replays].
func (s *Store) ListReplays(ctx context.Context, key callbackd.KeyID, after callbackd.ReplayID, limit int) (out []callbackd.Replay, next callbackd.ReplayID, err error) {
	limit = min(max(limit, 1), store.MaxPage)
	if after == 0 {
		after = 1<<63 - 1
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		sql, args := "SELECT "+replayColumns+" FROM replays WHERE id < $1 ORDER BY id DESC LIMIT $2", []any{int64(after), limit + 1}
		if key != store.AllKeys {
			sql, args = "SELECT "+replayColumns+" FROM replays WHERE key_no = $3 AND id < $1 ORDER BY key_no DESC, id DESC LIMIT $2", append(args, int64(key))
		}
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanReplay)
		return err
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		next = out[limit-1].ID
	}
	return out, next, err
}

// RunningReplays is part of [store.Replays].
func (s *Store) RunningReplays(ctx context.Context) (ids []callbackd.ReplayID, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT id FROM replays WHERE state IN ('running', 'paused') AND state = 'running' ORDER BY id")
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[callbackd.ReplayID])
		return err
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
	err = s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		// The key's row is locked, so that no more than the limit are made.
		var open, last int64
		if _, err := tx.Exec(ctx, "SELECT 1 FROM keys WHERE no = $1 FOR UPDATE", int64(r.Key)); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "SELECT (SELECT count(*) FROM replays WHERE key_no = $1 AND state IN ('running', 'paused')), coalesce((SELECT id FROM replays ORDER BY id DESC LIMIT 1), 0)", int64(r.Key)).Scan(&open, &last)
		if err != nil {
			return err
		}
		if open >= callbackd.MaxReplays {
			return callbackd.Errorf(callbackd.KindLimited, "%d replays of this API key have not ended, which is the limit; wait for one, or cancel one.", open)
		}
		id := callbackd.ReplayID(callbackd.NextEventID(callbackd.EventID(last), r.CreatedAt))
		_, err = tx.Exec(ctx, "INSERT INTO replays (id, key_no, filter, rate, state, created_at, total) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			int64(id), int64(r.Key), string(filter), r.Rate, string(callbackd.ReplayRunning), millis(r.CreatedAt), c.Total())
		if violates(err) == "replays_pkey" {
			return errTaken
		}
		if err == nil {
			err = c.write(ctx, tx, id)
		}
		if err != nil {
			return err
		}
		out, err = replay(ctx, tx, r.Key, id, "")
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
	err := s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) (err error) {
		out, err = replay(ctx, tx, key, id, " FOR UPDATE")
		if store.Made(ctx, out); err != nil {
			return err
		}
		changed, err := out.SetState(state, at)
		if err != nil || !changed {
			return err
		}
		if state.Ended() {
			if err := forgetSet(ctx, tx, id); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "UPDATE replays SET state = $2, ended_at = $3 WHERE id = $1", int64(id), string(state), nullMillis(out.EndedAt))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// forgetSet removes what a replay that ended no longer needs.
func forgetSet(ctx context.Context, tx pgx.Tx, id callbackd.ReplayID) error {
	var b pgx.Batch
	b.Queue("DELETE FROM replay_parts WHERE replay_id = $1", int64(id))
	b.Queue("DELETE FROM replay_events WHERE replay_id = $1", int64(id))
	return tx.SendBatch(ctx, &b).Close()
}
