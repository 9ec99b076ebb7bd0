package sqlite

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

const logColumns = "key_no, id, method, path, status, duration, message, address, count"

func scanLog(st *sqlite3.Stmt) store.LogEntry {
	e := store.LogEntry{
		Key: callbackd.KeyID(st.ColumnInt64(0)), ID: store.LogID(st.ColumnInt64(1)), Method: st.ColumnText(2), Path: st.ColumnText(3),
		Status: st.ColumnInt(4), Duration: columnMicros(st, 5), Message: st.ColumnText(6), Address: st.ColumnText(7), Count: st.ColumnInt64(8),
	}
	e.At = callbackd.EventID(e.ID).Time()
	return e
}

// AppendLogs is part of [store.Logs].
func (s *Store) AppendLogs(ctx context.Context, entries []store.LogEntry) error {
	return s.write(ctx, func(t *tx) error {
		for i := range entries {
			if err := t.appendLog(&entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) appendLog(e *store.LogEntry) error {
	at := e.At
	if e.Count > 0 {
		at = at.Truncate(time.Minute)
		n, err := t.exec(`UPDATE logs SET count = count + ?, duration = duration + ?, address = ?
			WHERE key_no = ? AND id >= ? AND id < ? AND method = ? AND path = ? AND status = ? AND count > 0`,
			e.Count, e.Duration, e.Address, int64(e.Key), firstLog(at), firstLog(at.Add(time.Millisecond)), e.Method, e.Path, e.Status)
		if err != nil || n > 0 {
			return err
		}
	}
	id := firstLog(at)
	err := t.query("SELECT max(id) FROM logs WHERE key_no = ? AND id >= ? AND id < ?", func(st *sqlite3.Stmt) error {
		if st.ColumnType(0) != sqlite3.NULL {
			id = st.ColumnInt64(0) + 1
		}
		return nil
	}, int64(e.Key), id, firstLog(at.Add(time.Millisecond)))
	if err != nil {
		return err
	}
	return t.query("INSERT INTO logs ("+logColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		int64(e.Key), id, e.Method, e.Path, e.Status, e.Duration, e.Message, e.Address, e.Count)
}

// firstLog is the first id of an entry at a time.
func firstLog(at time.Time) int64 { return int64(callbackd.FirstEventID(at)) }

// ListLogs is part of [store.Logs].
func (s *Store) ListLogs(ctx context.Context, q store.LogQuery) (page store.LogPage, err error) {
	lo, hi := store.IDRange(q.Since, q.Until, 0)
	where, args := "key_no = ? AND id >= ? AND id < ? ORDER BY id DESC", []any{int64(q.Key), lo, hi}
	if q.Key == store.AllKeys {
		id, key := hi, callbackd.KeyID(0)
		if q.After.ID != 0 && int64(q.After.ID) < hi {
			id, key = int64(q.After.ID), q.After.Key
		}
		where, args = "id >= ? AND (id, key_no) < (?, ?) ORDER BY id DESC, key_no DESC", []any{lo, id, int64(key)}
	} else if q.After.ID != 0 {
		args[2] = min(hi, int64(q.After.ID))
	}
	limit := min(max(q.Limit, 1), store.MaxPage)
	enough := callbackd.Errorf(callbackd.KindInternal, "enough")
	seen, last := 0, store.LogCursor{}
	err = s.read(ctx, func(d *db) error {
		return only(d.query("SELECT "+logColumns+" FROM logs WHERE "+where, func(st *sqlite3.Stmt) error {
			if len(page.Entries) == limit || seen == store.MaxScan {
				page.Next = last
				return enough
			}
			seen++
			e := scanLog(st)
			if last.ID = e.ID; q.Key == store.AllKeys {
				last.Key = e.Key
			}
			if q.Fits(&e) {
				page.Entries = append(page.Entries, e)
			}
			return nil
		}, args...), enough)
	})
	return page, err
}

// Prune is part of [store.Stats].
func (s *Store) Prune(ctx context.Context, p store.Prune, limit int) (n int, err error) {
	var keys []int64
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT no FROM keys WHERE EXISTS (SELECT 1 FROM logs WHERE key_no = no AND id < ?)", func(st *sqlite3.Stmt) error {
			keys = append(keys, st.ColumnInt64(0))
			return nil
		}, firstLog(p.Logs))
	})
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(t *tx) error {
		n = 0
		count := func(sql string, args ...any) error {
			gone, err := t.exec(sql, append(args, limit)...)
			n += int(gone)
			return err
		}
		for _, key := range keys {
			if err := count("DELETE FROM logs WHERE key_no = ?1 AND id IN (SELECT id FROM logs WHERE key_no = ?1 AND id < ?2 ORDER BY id LIMIT ?3)", key, firstLog(p.Logs)); err != nil {
				return err
			}
		}
		for width, before := range map[store.Interval]time.Time{store.Minute: p.Minutes, store.Hour: p.Hours} {
			err := count("DELETE FROM slots WHERE (subject, no, width, at) IN (SELECT subject, no, width, at FROM slots INDEXED BY slots_by_age WHERE width = ? AND at < ? LIMIT ?)",
				time.Duration(width).Milliseconds(), before)
			if err != nil {
				return err
			}
		}
		return count("DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE id < ? AND ended_at < ? AND due = skipped + delivered + failed + canceled ORDER BY id LIMIT ?)",
			firstLog(p.Replays), p.Replays)
	})
	return n, err
}
