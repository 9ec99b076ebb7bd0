package core

import (
	"cmp"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const logColumns = "key_no, id, method, path, status, duration, message, address, count"

func scanLog(row Row) (e store.LogEntry, err error) {
	err = row.Scan(&e.Key, &e.ID, (*Text)(&e.Method), (*Text)(&e.Path), &e.Status, &e.Duration, (*Text)(&e.Message), (*Text)(&e.Address), &e.Count)
	e.At = callbackd.EventID(e.ID).Time()
	return e, err
}

func logArgs(e *store.LogEntry) []any {
	return []any{e.Key, e.ID, Text(e.Method), Text(e.Path), e.Status, e.Duration, Text(e.Message), Text(e.Address), e.Count}
}

// firstLog returns the lowest id of an entry at a time.
func firstLog(at time.Time) store.LogID { return store.LogID(callbackd.FirstEventID(at)) }

// sumPlaces is half the number of ids in a millisecond. Calls take ids in the lower half,
// from a random one on. The kind of a sum gives its id in the upper half, so that all
// nodes add to one row. One time in a million two kinds get the same id, and the sum of
// the second is lost.
const sumPlaces = 1 << 20

// placeOfSum returns the id of the sum to which an entry is added.
func placeOfSum(e *store.LogEntry) store.LogID {
	h := fnv.New32a()
	h.Write([]byte(e.Method + "\x00" + e.Path + "\x00"))
	h.Write([]byte{byte(e.Status), byte(e.Status >> 8)})
	return firstLog(e.At.Truncate(time.Minute)) + sumPlaces + store.LogID(h.Sum32()%sumPlaces)
}

const (
	insertLog = "INSERT INTO logs (" + logColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
	addLogSum = insertLog + ` ON CONFLICT (key_no, id) DO UPDATE SET count = logs.count + excluded.count, duration = logs.duration + excluded.duration, address = excluded.address
		WHERE logs.method = excluded.method AND logs.path = excluded.path AND logs.status = excluded.status`
)

// AppendLogs is part of [store.Logs].
func (s *Store) AppendLogs(ctx context.Context, entries []store.LogEntry) error {
	return s.db.Write(ctx, 0, func(tx Tx) error {
		calls, sums := placeLogs(entries)
		inserted := 0
		err := tx.Batch(insertLog+" ON CONFLICT DO NOTHING RETURNING id", func(Row) error {
			inserted++
			return nil
		}, calls)
		if err != nil {
			return err
		}
		if inserted < len(calls) { // another commit has one of the ids: try others
			return ErrRace
		}
		return tx.Batch(addLogSum, nil, sums)
	})
}

// placeLogs gives entries their ids and adds up the sums of one kind. It
// returns the arguments of the statements. Sums are in the order in which all
// nodes lock their rows.
func placeLogs(entries []store.LogEntry) (calls, sums [][]any) {
	type place struct {
		key callbackd.KeyID
		id  store.LogID
	}
	next := store.LogID(rand.Int64N(sumPlaces / 2))
	added := map[place]*store.LogEntry{}
	var ordered []*store.LogEntry
	for i := range entries {
		e := entries[i]
		if e.Count == 0 {
			e.ID = firstLog(e.At) + next
			next++
			calls = append(calls, logArgs(&e))
			continue
		}
		e.ID = placeOfSum(&e)
		if sum := added[place{e.Key, e.ID}]; sum != nil {
			sum.Count += e.Count
			sum.Duration += e.Duration
			sum.Address = e.Address
			continue
		}
		added[place{e.Key, e.ID}] = &e
		ordered = append(ordered, &e)
	}
	slices.SortFunc(ordered, func(a, b *store.LogEntry) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
	for _, e := range ordered {
		sums = append(sums, logArgs(e))
	}
	return calls, sums
}

const (
	selectLogs    = "SELECT " + logColumns + " FROM logs WHERE key_no = $1 AND id >= $2 AND id < $3 ORDER BY key_no DESC, id DESC LIMIT $4"
	selectAllLogs = "SELECT " + logColumns + " FROM logs WHERE id >= $2 AND (id, key_no) < ($3, $1) ORDER BY id DESC, key_no DESC LIMIT $4"
	// logChunk is how many entries are read at once.
	logChunk = 256
)

// ListLogs is part of [store.Logs].
func (s *Store) ListLogs(ctx context.Context, q store.LogQuery) (page store.LogPage, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		page, err = listLogs(tx, q)
		return err
	})
	return page, err
}

func listLogs(tx Tx, q store.LogQuery) (page store.LogPage, err error) {
	limit := min(max(q.Limit, 1), store.MaxPage)
	lo, hi := store.IDRange(q.Since, q.Until, 0)
	last := store.LogCursor{ID: store.LogID(hi)}
	if q.After.ID != 0 && int64(q.After.ID) < hi {
		last = q.After
	}
	for seen := 0; ; {
		n := 0
		sql, key := selectLogs, q.Key
		if q.Key == store.AllKeys {
			sql, key = selectAllLogs, last.Key
		}
		err := tx.Query(sql, func(row Row) error {
			if len(page.Entries) == limit || seen == store.MaxScan {
				page.Next = last
				return ErrStop
			}
			e, err := scanLog(row)
			if err != nil {
				return err
			}
			n++
			seen++
			last.ID = e.ID
			if q.Key == store.AllKeys {
				last.Key = e.Key
			}
			if q.Fits(&e) {
				page.Entries = append(page.Entries, e)
			}
			return nil
		}, key, lo, last.ID, logChunk)
		if err != nil || page.Next.ID != 0 || n < logChunk {
			return page, err
		}
	}
}
