package sqlite

import (
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// db is one connection with its prepared statements. It is used by one
// goroutine at a time.
type db struct {
	conn  *sqlite3.Conn
	stmts map[string]*sqlite3.Stmt
}

func openDB(path string, pragmas ...string) (*db, error) {
	conn, err := sqlite3.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d := &db{conn: conn, stmts: map[string]*sqlite3.Stmt{}}
	// By default the last connection that closes copies the log into the database file.
	// After a failed sync it must not: it would assume that the pages of an earlier,
	// partial copy are synced, and drop the log that has them. A clean stop makes the
	// copy itself.
	if _, err := conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		d.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = conn.CreateFunction("add_counts", 2, sqlite3.DETERMINISTIC|sqlite3.INNOCUOUS, addCounts)
	if err == nil {
		err = d.pragmas(pragmas...)
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return d, nil
}

func (d *db) pragmas(pragmas ...string) error {
	for _, p := range pragmas {
		if err := d.conn.Exec("PRAGMA " + p); err != nil {
			return fmt.Errorf("PRAGMA %s: %w", p, err)
		}
	}
	return nil
}

func (d *db) close() error {
	for _, st := range d.stmts {
		st.Close()
	}
	return d.conn.Close()
}

// query binds args to the statement and calls row for each row of its
// result; row may be nil. Columns that are read raw are valid in row only.
func (d *db) query(sql string, row func(*sqlite3.Stmt) error, args ...any) error {
	st := d.stmts[sql]
	if st == nil {
		var err error
		if st, _, err = d.conn.Prepare(numbered(sql)); err != nil {
			return fmt.Errorf("prepare %q: %w", sql, err)
		}
		d.stmts[sql] = st
	}
	if err := bind(st, args); err != nil {
		return fmt.Errorf("bind %q: %w", sql, err)
	}
	for st.Step() {
		if row == nil {
			continue
		}
		if err := row(st); err != nil {
			st.Reset()
			return err
		}
	}
	if err := st.Reset(); err != nil { // Reset repeats the error of Step
		return fmt.Errorf("%q: %w", sql, err)
	}
	return nil
}

// exec runs a statement without a result and returns how many rows changed.
func (d *db) exec(sql string, args ...any) (int64, error) {
	if err := d.query(sql, nil, args...); err != nil {
		return 0, err
	}
	return d.conn.Changes(), nil
}

func bind(st *sqlite3.Stmt, args []any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case nil:
			err = st.BindNull(i + 1)
		case int64:
			err = st.BindInt64(i+1, v)
		case int:
			err = st.BindInt64(i+1, int64(v))
		case bool:
			err = st.BindBool(i+1, v)
		case float64:
			err = st.BindFloat(i+1, v)
		case string:
			err = st.BindText(i+1, v)
		case []byte:
			if v == nil {
				v = []byte{}
			}
			err = st.BindBlob(i+1, v)
		case time.Time: // the zero time is null
			if v.IsZero() {
				err = st.BindNull(i + 1)
			} else {
				err = st.BindInt64(i+1, v.UnixMilli())
			}
		case time.Duration:
			err = st.BindInt64(i+1, v.Microseconds())
		default:
			err = bindPlain(st, i+1, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// columnTime reads a column of milliseconds; null is the zero time.
func columnTime(st *sqlite3.Stmt, col int) time.Time {
	if st.ColumnType(col) == sqlite3.NULL {
		return time.Time{}
	}
	return time.UnixMilli(st.ColumnInt64(col)).UTC()
}

func columnMicros(st *sqlite3.Stmt, col int) time.Duration {
	return time.Duration(st.ColumnInt64(col)) * time.Microsecond
}
