// Package transfer copies everything from one database to another, row by row. The
// drivers read and write rows of the same tables in the same form, and do not know
// each other.
//
// Rows are copied in the order of their keys, in pages of a bounded size, each page
// in one transaction. So the target always holds the beginning of a table, and an
// interrupted transfer continues after the last row there.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
)

// Table is a table that all drivers have.
type Table struct {
	Name    string
	Columns []string
	Key     int // how many of the columns, from the first, are the primary key
}

// Tables lists the tables of a store. All other tables of a driver (indexes that are
// tables, counters, marks) can be made from these.
var Tables = []Table{
	{"event_types", []string{"no", "name"}, 1},
	{"callbacks", []string{"no", "key_no", "type", "name", "version", "policy", "secrets", "created_at", "updated_at", "deleted_at", "pause_reason", "paused_at", "failing_since", "closed_until", "proven", "released_at", "release_after", "filter", "ttl", "session", "types", "own_types"}, 1},
	{"callback_versions", []string{"callback_no", "version", "url", "method", "headers", "payload", "at", "fields", "format"}, 2},
	{"session_sequences", []string{"key_no", "session", "sequence", "last_id"}, 2},
	{"events", []string{"id", "key_no", "type", "session", "sequence", "test", "owed", "data", "accepted_at", "withheld", "deliver_at", "expires_at", "erased_at", "trace"}, 1},
	{"owed_later", []string{"event_id", "callback_no"}, 2},
	{"attempts", []string{"event_id", "callback_no", "n", "version", "state", "detail"}, 3},
	{"last_errors", []string{"event_id", "callback_no", "error"}, 2},
	{"pending", []string{"callback_no", "event_id", "attempts", "step", "manual", "first_failed_at", "due", "holds_until", "replay", "deliver_at", "expires_at"}, 2},
	{"idempotency", []string{"key_no", "hash", "digest", "first", "events"}, 2},
	{"removed_events", []string{"key_no", "newest", "removals"}, 1},
	{"answers", []string{"key_no", "hash", "digest", "at", "status", "answer"}, 2},
	{"sessions", []string{"no", "key_no", "session", "status", "created_at", "ended_at", "due", "search", "reference", "results", "document"}, 1},
	{"session_notes", []string{"session_no", "n", "title", "description", "inserted_by", "inserted_at"}, 2},
	{"replays", []string{"id", "key_no", "filter", "rate", "state", "created_at", "ended_at", "next_due", "total", "due", "skipped", "created", "delivered", "failed", "canceled"}, 1},
	{"replay_parts", []string{"replay_id", "callback_no", "total", "done"}, 2},
	{"replay_events", []string{"replay_id", "callback_no", "chunk", "ids"}, 3},
	{"logs", []string{"key_no", "id", "method", "path", "status", "duration", "message", "address", "count"}, 2},
	{"slots", []string{"subject", "no", "width", "at", "delivered", "failed", "canceled", "attempts", "faults", "repeats", "latency", "expired", "by_fault"}, 4},
	{"receivers", []string{"callback_no", "last_success", "last_failure", "last_fault", "last_status", "cert_not_after"}, 1},
	{"logins", []string{"hash", "key_no", "link", "proof", "created_at", "expires_at", "role", "return_to", "lasts"}, 1},
	{"operator_tokens", []string{"id", "hash", "name", "role", "created_at", "expires_at", "last_used_at", "revoked_at"}, 1},
	{"audit_key", []string{"no", "sealed"}, 1},
	{"audit_chains", []string{"key_no", "first", "last", "start_hash", "head_hash", "at", "chains", "seal"}, 1},
	{"audit", []string{"key_no", "n", "at", "action", "actor_kind", "actor_name", "actor_address", "subject", "target", "old_state", "new_state", "hash"}, 2},
	{"server_options", []string{"server", "at", "options"}, 1},
	{"incidents", []string{"id", "key_no", "topic", "name", "kind", "callback_no", "opened_at", "gone_at", "closed_at", "count", "flaps", "facts", "acked_at", "acked_by", "muted_until", "stage", "told_key", "told_operator", "told_mail", "mail_failed", "mail_at"}, 1},
	{"erases", []string{"id", "key_no", "selected_by", "subject", "dry_run", "created_at", "ended_at", "up_to", "phase", "progress", "salt", "match", "receipt", "group_id", "group_size"}, 1},
	{"erase_sessions", []string{"erase_id", "session"}, 2},
	// The keys come last: without them nobody can use an incomplete copy.
	{"keys", []string{"no", "account", "api_key", "secret", "name", "live", "created_at", "revoked_at", "time_frame", "old_secret", "old_until", "capture_url", "expires_at", "limits", "callback_policy", "retention", "retention_events"}, 1},
}

// Row holds the values of a table's columns, in their order: nil, int64 (also for
// false and true: 0 and 1), float64, string or []byte. A string and the []byte of
// it are the same value. Values that a driver stores as another type have the form
// of package codec.
type Row []any

// Source reads the rows of a database that does not change meanwhile.
type Source interface {
	// Rows returns up to limit rows with keys above after, or from the first
	// row when after is nil, in the order of the keys, which compare byte by
	// byte. It ends a page at MaxPageBytes. An empty page means the end.
	Rows(ctx context.Context, t *Table, after Row, limit int) ([]Row, error)
}

// Origin is a source that can be marked as moved.
type Origin interface {
	Source
	// Mark returns the mark of the source, or an empty text. With set it stores
	// a mark first: from then on no server changes the source or sends its
	// deliveries.
	Mark(set bool) (string, error)
}

// Target is a database that receives the rows.
type Target interface {
	Source
	// Last returns the greatest key of a table; nil when it is empty.
	Last(ctx context.Context, t *Table) (Row, error)
	// Append adds all rows or none.
	Append(ctx context.Context, t *Table, rows []Row) error
}

// Bounds of a page.
const (
	maxPageRows  = 8192
	MaxPageBytes = 4 << 20
)

// Size returns what the row adds to a page, in the bytes of MaxPageBytes.
func (r Row) Size() int {
	n := 8 * len(r)
	for _, v := range r {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}

// each calls f for the pages of a table above a key.
func each(ctx context.Context, s Source, t *Table, after Row, f func([]Row) error) error {
	for limit := maxPageRows; ; {
		rows, err := s.Rows(ctx, t, after, limit)
		if err != nil || len(rows) == 0 {
			return err
		}
		size := 0
		for _, r := range rows {
			size += r.Size()
		}
		after = rows[len(rows)-1][:t.Key]
		// A source drops the rows beyond MaxPageBytes after reading them, so ask only for
		// as many as fit.
		limit = min(max(MaxPageBytes/(size/len(rows)+1), 1), maxPageRows)
		if err := f(rows); err != nil {
			return err
		}
	}
}

// Copy appends the rows of a table that the target does not have yet, and calls
// report with the number of rows after each page. It reads the next page while it
// writes one.
func Copy(ctx context.Context, from Source, to Target, t *Table, report func(rows int)) error {
	after, err := to.Last(ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages, read := make(chan []Row), make(chan error, 1)
	go func() {
		defer close(pages)
		read <- each(ctx, from, t, after, func(rows []Row) error {
			select {
			case pages <- rows:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for rows := range pages {
		if err == nil {
			if err = to.Append(ctx, t, rows); err == nil {
				report(len(rows))
			} else {
				cancel()
			}
		}
	}
	if failed := <-read; err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	return nil
}

// Sum is the number of a table's rows and a hash of all of them.
type Sum struct {
	Rows int64
	Hash [sha256.Size]byte
}

// SumOf reads a whole table.
func SumOf(ctx context.Context, s Source, t *Table) (sum Sum, err error) {
	h := sha256.New()
	var buf []byte
	err = each(ctx, s, t, nil, func(rows []Row) error {
		sum.Rows += int64(len(rows))
		for _, r := range rows {
			buf = r.append(buf[:0])
			h.Write(buf)
		}
		return nil
	})
	return finish(sum, h), err
}

func finish(sum Sum, h hash.Hash) Sum {
	h.Sum(sum.Hash[:0])
	return sum
}

// append appends the row in a form that differs for different rows.
func (r Row) append(b []byte) []byte {
	for _, v := range r {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case string:
			b = append(binary.AppendUvarint(append(b, 'b'), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'b'), uint64(len(v))), v...)
		default:
			panic(fmt.Sprintf("a row with a %T", v))
		}
	}
	return b
}

// ErrDiffers means that the copy differs from the original.
var ErrDiffers = errors.New("do not use the new database: drop it and start the move again")

// Compare checks that a table is the same on both sides, and returns its sum. The
// error says what differs.
func Compare(ctx context.Context, a, b Source, t *Table) (Sum, error) {
	type side struct {
		sum Sum
		err error
	}
	other := make(chan side, 1)
	go func() {
		sum, err := SumOf(ctx, b, t)
		other <- side{sum, err}
	}()
	mine, err := SumOf(ctx, a, t)
	theirs := <-other
	switch {
	case err != nil:
		return mine, fmt.Errorf("%s: %w", t.Name, err)
	case theirs.err != nil:
		return mine, fmt.Errorf("%s: %w", t.Name, theirs.err)
	case mine.Rows != theirs.sum.Rows:
		return mine, fmt.Errorf("%s: %d rows became %d: %w", t.Name, mine.Rows, theirs.sum.Rows, ErrDiffers)
	case mine != theirs.sum:
		return mine, fmt.Errorf("%s: the %d rows are not the same on both sides: %w", t.Name, mine.Rows, ErrDiffers)
	}
	return mine, nil
}
