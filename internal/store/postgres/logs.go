package postgres

import (
	"cmp"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

const logColumns = "key_no, id, method, path, status, duration, message, address, count"

func scanLog(row pgx.CollectableRow) (e store.LogEntry, err error) {
	var micros int64
	var method, path, message, address []byte
	err = row.Scan((*int64)(&e.Key), (*int64)(&e.ID), &method, &path, &e.Status, &micros, &message, &address, &e.Count)
	e.Method, e.Path, e.Message, e.Address = string(method), string(path), string(message), string(address)
	e.Duration, e.At = time.Duration(micros)*time.Microsecond, callbackd.EventID(e.ID).Time()
	return e, err
}

func firstLog(at time.Time) int64 { return int64(callbackd.FirstEventID(at)) }

// Within a millisecond the lower half of the ids is for calls, from a place
// of each commit's own on; the upper half for sums, at the place that their
// kind gives, so that all nodes add to one row. Two kinds at one place are
// one in a million; the sum of the second is then not kept.
const sumPlaces = 1 << 20

func placeOf(e *store.LogEntry) int64 {
	h := fnv.New32a()
	h.Write([]byte(e.Method + "\x00" + e.Path + "\x00"))
	h.Write([]byte{byte(e.Status), byte(e.Status >> 8)})
	return firstLog(e.At.Truncate(time.Minute)) + sumPlaces + int64(h.Sum32()%sumPlaces)
}

// logRows are the arrays of a statement.
type logRows struct {
	keys, ids, durations, counts        []int64
	statuses                            []int32
	methods, paths, messages, addresses [][]byte
}

func (r *logRows) add(e *store.LogEntry) {
	r.keys, r.ids = append(r.keys, int64(e.Key)), append(r.ids, int64(e.ID))
	r.durations, r.counts, r.statuses = append(r.durations, e.Duration.Microseconds()), append(r.counts, e.Count), append(r.statuses, int32(e.Status))
	r.methods, r.paths = append(r.methods, []byte(e.Method)), append(r.paths, []byte(e.Path))
	r.messages, r.addresses = append(r.messages, []byte(e.Message)), append(r.addresses, []byte(e.Address))
}

func (r *logRows) args() []any {
	return []any{r.keys, r.ids, r.methods, r.paths, r.statuses, r.durations, r.messages, r.addresses, r.counts}
}

const (
	insertLogs = "INSERT INTO logs AS l (" + logColumns + `) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::integer[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bigint[])`
	addLogSums = insertLogs + ` ON CONFLICT (key_no, id) DO UPDATE SET count = l.count + excluded.count, duration = l.duration + excluded.duration, address = excluded.address
		WHERE l.method = excluded.method AND l.path = excluded.path AND l.status = excluded.status`
)

// AppendLogs is part of [store.Logs].
func (s *Store) AppendLogs(ctx context.Context, entries []store.LogEntry) error {
	return s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		calls, sums := logsOf(entries)
		var b pgx.Batch
		if len(calls.ids) > 0 {
			b.Queue(insertLogs, calls.args()...)
		}
		if len(sums.ids) > 0 {
			b.Queue(addLogSums, sums.args()...)
		}
		err := tx.SendBatch(ctx, &b).Close()
		if violates(err) == "logs_pkey" {
			return errTaken // two commits began at one place: at another one then
		}
		return err
	})
}

// logsOf gives entries their ids, and adds up the sums of one kind.
func logsOf(entries []store.LogEntry) (calls, sums logRows) {
	type place struct {
		key callbackd.KeyID
		id  store.LogID
	}
	at := rand.Int64N(sumPlaces / 2)
	added := map[place]*store.LogEntry{}
	var ordered []*store.LogEntry
	for i := range entries {
		e := entries[i]
		if e.Count == 0 {
			e.ID = store.LogID(firstLog(e.At) + at)
			at++
			calls.add(&e)
			continue
		}
		e.ID = store.LogID(placeOf(&e))
		if sum := added[place{e.Key, e.ID}]; sum != nil {
			sum.Count, sum.Duration, sum.Address = sum.Count+e.Count, sum.Duration+e.Duration, e.Address
			continue
		}
		added[place{e.Key, e.ID}] = &e
		ordered = append(ordered, &e)
	}
	slices.SortFunc(ordered, func(a, b *store.LogEntry) int { // the order in which all nodes lock
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
	for _, e := range ordered {
		sums.add(e)
	}
	return calls, sums
}

const (
	selectLogs    = "SELECT " + logColumns + " FROM logs WHERE key_no = $1 AND id >= $2 AND id < $3 ORDER BY key_no DESC, id DESC LIMIT $4"
	selectAllLogs = "SELECT " + logColumns + " FROM logs WHERE id >= $2 AND (id, key_no) < ($3, $1) ORDER BY id DESC, key_no DESC LIMIT $4"
	logChunk      = 256
)

// ListLogs is part of [store.Logs].
func (s *Store) ListLogs(ctx context.Context, q store.LogQuery) (page store.LogPage, err error) {
	limit := min(max(q.Limit, 1), store.MaxPage)
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		page = store.LogPage{}
		lo, hi := store.IDRange(q.Since, q.Until, 0)
		key := callbackd.KeyID(0)
		if q.After.ID != 0 && int64(q.After.ID) < hi {
			hi, key = int64(q.After.ID), q.After.Key
		}
		for seen := 0; ; {
			n := 0
			sql, args := selectLogs, []any{int64(q.Key), lo, hi, logChunk}
			if q.Key == store.AllKeys {
				sql, args[0] = selectAllLogs, int64(key)
			}
			err := each(ctx, conn, sql, func(row pgx.CollectableRow) error {
				e, err := scanLog(row)
				if err != nil || page.Next.ID != 0 {
					return err
				}
				if len(page.Entries) == limit || seen == store.MaxScan {
					page.Next = store.LogCursor{ID: store.LogID(hi), Key: key}
					return nil
				}
				n, seen, hi = n+1, seen+1, int64(e.ID)
				if q.Key == store.AllKeys {
					key = e.Key
				}
				if q.Fits(&e) {
					page.Entries = append(page.Entries, e)
				}
				return nil
			}, args...)
			if err != nil || page.Next.ID != 0 || n < logChunk {
				return err
			}
		}
	})
	return page, err
}

// The statements of the prune: rows are found by index and reached by place.
const (
	pruneLogs = `DELETE FROM logs WHERE ctid = ANY (ARRAY (SELECT l.place FROM (SELECT no FROM keys ORDER BY no) k
		CROSS JOIN LATERAL (SELECT ctid AS place FROM logs WHERE key_no = k.no AND id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) l LIMIT $2))`
	pruneSlots   = "DELETE FROM slots WHERE ctid = ANY (ARRAY (SELECT ctid FROM slots WHERE width = $1 AND at < $2 ORDER BY width, at LIMIT $3 FOR UPDATE SKIP LOCKED))"
	pruneReplays = `DELETE FROM replays WHERE id = ANY (ARRAY (SELECT id FROM replays WHERE id < $1 AND ended_at < $2 AND due = skipped + delivered + failed + canceled
		ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED))`
)

// Prune is part of [store.Stats].
func (s *Store) Prune(ctx context.Context, p store.Prune, limit int) (n int, err error) {
	err = s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		n = 0
		for _, c := range []struct {
			sql  string
			args []any
		}{
			{pruneLogs, []any{firstLog(p.Logs), limit}},
			{pruneSlots, []any{time.Duration(store.Minute).Milliseconds(), millis(p.Minutes), limit}},
			{pruneSlots, []any{time.Duration(store.Hour).Milliseconds(), millis(p.Hours), limit}},
			{pruneReplays, []any{firstLog(p.Replays), millis(p.Replays), limit}},
		} {
			tag, err := tx.Exec(ctx, c.sql, c.args...)
			if err != nil {
				return err
			}
			n += int(tag.RowsAffected())
		}
		return nil
	})
	return n, err
}
