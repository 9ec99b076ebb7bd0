package core

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Prune is part of [store.Upkeep]. Each kind has a short transaction of its own.
func (s *Store) Prune(ctx context.Context, p store.Prune, limit int) (removed int, err error) {
	var keys []callbackd.KeyID // that have old logs
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		keys, err = keysWith(tx, "logs WHERE key_no = k.no AND id < $1 ORDER BY key_no, id", firstLog(p.Logs))
		return err
	})
	if err != nil {
		return 0, err
	}
	var audit *Auditor
	if !p.Audit.IsZero() {
		if audit, err = s.Auditor(ctx); err != nil {
			return 0, err
		}
	}
	for _, kind := range []struct {
		before time.Time
		prune  func(tx Tx, before time.Time, limit int) (int, error)
	}{
		{p.Sessions, s.pruneSessions},
		{p.Answers, s.pruneAnswers},
		{p.Logs, func(tx Tx, before time.Time, limit int) (int, error) { return pruneLogs(tx, keys, before, limit) }},
		{p.Minutes, s.pruneCounters(store.Minute)},
		{p.Hours, s.pruneCounters(store.Hour)},
		{p.Replays, s.pruneReplays},
		{p.Audit, func(tx Tx, before time.Time, limit int) (int, error) { return audit.prune(tx, before, limit) }},
		{p.Incidents, s.pruneIncidents},
	} {
		if kind.before.IsZero() {
			continue
		}
		n := 0
		err := s.db.Write(ctx, Repeatable, func(tx Tx) (err error) {
			n, err = kind.prune(tx, kind.before, limit)
			return err
		})
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

func (s *Store) pruneSessions(tx Tx, before time.Time, limit int) (int, error) {
	var rows []int64
	var ids []store.SessionID
	err := tx.Query("SELECT no, key_no, session FROM sessions WHERE ended_at < $1 ORDER BY ended_at LIMIT $2"+s.d.SkipLocked, func(row Row) error {
		var rowID int64
		var id store.SessionID
		err := row.Scan(&rowID, &id.Key, &id.SessionKey)
		rows, ids = append(rows, rowID), append(ids, id)
		return err
	}, NotEarlier(before), limit)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	for _, sql := range []string{"DELETE FROM session_notes WHERE session_no ", "DELETE FROM sessions WHERE no "} {
		if _, err := tx.Exec(sql+s.d.In("$1"), rows); err != nil {
			return 0, err
		}
	}
	s.db.RemoveSessions(tx, ids)
	return len(rows), nil
}

func (s *Store) pruneAnswers(tx Tx, before time.Time, limit int) (int, error) {
	n, err := tx.Exec("DELETE FROM answers WHERE (key_no, hash) IN (SELECT key_no, hash FROM answers WHERE at < $1 ORDER BY at LIMIT $2"+s.d.SkipLocked+")", before, limit)
	return int(n), err
}

// pruneLogs removes up to limit entries of the keys.
func pruneLogs(tx Tx, keys []callbackd.KeyID, before time.Time, limit int) (removed int, err error) {
	for _, key := range keys {
		n, err := tx.Exec("DELETE FROM logs WHERE key_no = $1 AND id < coalesce((SELECT id FROM logs WHERE key_no = $1 AND id < $2 ORDER BY key_no, id LIMIT 1 OFFSET $3), $2)",
			key, firstLog(before), limit-removed)
		if removed += int(n); err != nil || removed == limit {
			return removed, err
		}
	}
	return removed, nil
}

// pruneCounters removes buckets of an interval by their primary key: for a list of
// four columns PostgreSQL may walk the table.
func (s *Store) pruneCounters(interval store.Interval) func(Tx, time.Time, int) (int, error) {
	width := time.Duration(interval).Milliseconds()
	return func(tx Tx, before time.Time, limit int) (int, error) {
		var rows [][]any
		err := tx.Query("SELECT subject, no, at FROM slots WHERE width = $1 AND at < $2 ORDER BY width, at LIMIT $3"+s.d.SkipLocked, func(row Row) error {
			var subject, id, at int64
			err := row.Scan(&subject, &id, &at)
			rows = append(rows, []any{subject, id, width, at})
			return err
		}, width, before, limit)
		if err != nil {
			return 0, err
		}
		return len(rows), tx.Batch("DELETE FROM slots WHERE subject = $1 AND no = $2 AND width = $3 AND at = $4", nil, rows)
	}
}

func (s *Store) pruneReplays(tx Tx, before time.Time, limit int) (int, error) {
	n, err := tx.Exec("DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE id < $1 AND ended_at < $2 AND due = skipped + delivered + failed + canceled ORDER BY id LIMIT $3"+s.d.SkipLocked+")",
		firstLog(before), before, limit)
	return int(n), err
}
