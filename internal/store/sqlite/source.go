package sqlite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"callbackd"
	"callbackd/internal/store/transfer"
	"callbackd/internal/system"

	"github.com/ncruces/go-sqlite3"
)

// Source is the data directory of a stopped server whose rows are moved to another
// database. While it is open, no other process writes to it.
type Source struct {
	s   *Store
	dir string
}

var _ transfer.Origin = (*Source)(nil)

// OpenSource opens a data directory to move its rows, and checks that the keyset opens
// every secret there.
func OpenSource(o Options) (*Source, error) {
	if err := Holds(o.Dir); err != nil {
		return nil, err
	}
	src := &Source{s: newStore(o), dir: o.Dir}
	err := src.s.open(o)
	if err == nil {
		err = src.flush()
	}
	if err == nil {
		err = src.secretsOpen()
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return src, nil
}

// flush writes the rows of the whole buffer, and then keeps commands from
// writing until the source is closed.
func (src *Source) flush() error {
	s := src.s
	if len(s.buffer.events) > 0 {
		flush := &job{run: (*tx).flushAll, done: make(chan struct{})}
		s.commit(s.newTx(), &[]*job{flush})
		if flush.err != nil {
			return flush.err
		}
	}
	return s.w.query("BEGIN IMMEDIATE", nil)
}

// Close releases the directory.
func (src *Source) Close() error {
	if w := src.s.w.db; w != nil && !w.conn.GetAutocommit() {
		w.conn.Exec("ROLLBACK")
	}
	return src.s.release()
}

// secretsOpen unseals everything once.
func (src *Source) secretsOpen() error {
	w, sealer := src.s.w.db, src.s.sealer
	return errors.Join(
		w.query("SELECT api_key, secret, old_secret FROM keys", func(st *sqlite3.Stmt) error {
			_, err := sealer.OpenKey(st.ColumnRawBlob(1), st.ColumnText(0))
			if err == nil && st.ColumnType(2) != sqlite3.NULL {
				_, err = sealer.OpenKey(st.ColumnRawBlob(2), st.ColumnText(0))
			}
			return err
		}),
		w.query("SELECT no, secrets FROM callbacks", func(st *sqlite3.Stmt) error {
			return sealer.OpenSecrets(st.ColumnRawBlob(1), &callbackd.Callback{ID: callbackd.CallbackID(st.ColumnInt64(0))})
		}),
		w.query("SELECT callback_no, version, headers FROM callback_versions", func(st *sqlite3.Stmt) error {
			_, err := sealer.OpenHeaders(st.ColumnRawBlob(2), callbackd.CallbackID(st.ColumnInt64(0)), st.ColumnInt64(1))
			return err
		}),
	)
}

// Mark is part of [transfer.Origin]. The mark says that another database has the pending
// deliveries of the directory too.
func (src *Source) Mark(set bool) (string, error) {
	file := filepath.Join(src.dir, movedFile)
	raw, err := os.ReadFile(file)
	mark := strings.TrimSpace(string(raw))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil && mark == "" && set {
		mark = rand.Text()
		if err = writeSynced(file, mark+"\n"); err == nil {
			err = system.SyncDir(src.dir)
		}
	}
	if err != nil {
		return "", fmt.Errorf("mark the data directory: %w", err)
	}
	return mark, nil
}

func movedError(dir string) error {
	return callbackd.Errorf(callbackd.KindConflict, "what is in %s was moved to PostgreSQL, or a move has begun: let `callbackd move` end, and serve with --database-url. To go on with the directory instead, drop that database first and then remove %s",
		dir, filepath.Join(dir, movedFile))
}

func writeSynced(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// sessionSequences reads the last sequence number and id of each session from the
// index of events, because no table holds them.
const sessionSequences = "SELECT key_no, session, max(sequence), max(id) FROM session_events %s GROUP BY key_no, session ORDER BY key_no, session LIMIT ?"

// Rows is part of [transfer.Source].
func (src *Source) Rows(ctx context.Context, t *transfer.Table, after transfer.Row, limit int) (rows []transfer.Row, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sql, args := above(t, after, limit)
	full, size := errors.New("the page is full"), 0
	err = src.s.w.query(sql, func(st *sqlite3.Stmt) error {
		row := make(transfer.Row, len(t.Columns))
		for i := range row {
			row[i] = columnValue(st, i)
		}
		rows = append(rows, row)
		if size += row.Size(); size >= transfer.MaxPageBytes {
			return full
		}
		return nil
	}, args...)
	if err != nil && err != full {
		return nil, err
	}
	return rows, nil
}

// above returns the statement that reads up to limit rows of a table with keys above after, and
// its arguments.
func above(t *transfer.Table, after transfer.Row, limit int) (sql string, args []any) {
	key := strings.Join(t.Columns[:t.Key], ", ")
	sql = "SELECT " + strings.Join(t.Columns, ", ") + " FROM " + t.Name + " %s ORDER BY " + key + " LIMIT ?"
	if t.Name == "session_sequences" {
		sql = sessionSequences
	}
	where := ""
	if after != nil {
		where = "WHERE (" + key + ") > (?" + strings.Repeat(", ?", t.Key-1) + ")"
	}
	return fmt.Sprintf(sql, where), append(append([]any(nil), after...), limit)
}

// Count returns how many rows of a table have keys above after.
func (src *Source) Count(t *transfer.Table, after transfer.Row) (n int64, err error) {
	sql, args := above(t, after, -1) // a negative limit is none
	err = src.s.w.query("SELECT count(*) FROM ("+sql+")", func(st *sqlite3.Stmt) error {
		n = st.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}

func columnValue(st *sqlite3.Stmt, col int) any {
	switch st.ColumnType(col) {
	case sqlite3.INTEGER:
		return st.ColumnInt64(col)
	case sqlite3.FLOAT:
		return st.ColumnFloat(col)
	case sqlite3.TEXT:
		return st.ColumnText(col)
	case sqlite3.BLOB:
		return append([]byte{}, st.ColumnRawBlob(col)...)
	}
	return nil
}
