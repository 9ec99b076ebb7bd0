package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/clock"
	"callbackd/internal/store/transfer"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Target is a database that a move fills, while no node runs on it and none can start.
// The table moving holds the mark of the rows' origin. It exists from the first row until
// all rows have been compared.
type Target struct {
	conn  *pgx.Conn
	types map[string][]uint32 // of the columns of a table
}

var _ transfer.Target = (*Target)(nil)

var errMoving = callbackd.Errorf(callbackd.KindConflict, "a move into this database has begun and has not ended: run the same `callbackd move` again, which continues where it stopped, or drop the database and start again")

// moving returns the mark of the move that is in progress; empty when there is none.
func moving(ctx context.Context, tx pgx.Tx) (mark string, err error) {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('moving') IS NOT NULL").Scan(&there); err != nil || !there {
		return "", err
	}
	err = tx.QueryRow(ctx, "SELECT mark FROM moving").Scan(&mark)
	return mark, err
}

// OpenTarget opens an empty database to fill it, or one that a move from the
// same origin did not finish. When it refuses, nothing was changed.
func OpenTarget(ctx context.Context, o Options, from transfer.Origin) (*Target, error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, badURL(err)
	}
	configure(config)
	config.RuntimeParams["statement_timeout"] = "0"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be reached: %w", err)
	}
	t := &Target{conn: conn, types: map[string][]uint32{}}
	if err = useAlone(ctx, conn); err == nil {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return begin(ctx, tx, o.KeysetFile, from) })
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// PostgreSQL still sees a server that was just stopped, or a command that just ended,
// until it has ended their connections.
const (
	useAloneWait  = 5 * time.Second
	useAlonePause = 50 * time.Millisecond
)

// useAlone takes the lock that every connection of a server holds shared. It does not
// wait in the lock's queue, because there it would keep new connections from getting the
// lock.
func useAlone(ctx context.Context, conn *pgx.Conn) error {
	for begun := time.Now(); ; {
		var alone bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock("+inUse+")").Scan(&alone); err != nil || alone {
			return err
		}
		if time.Since(begun) >= useAloneWait {
			return callbackd.Errorf(callbackd.KindConflict, "a callbackd works on the database: stop every server on it, or wait until the command ends, and try again")
		}
		if !clock.Sleep(ctx, useAlonePause) {
			return ctx.Err()
		}
	}
}

func begin(ctx context.Context, tx pgx.Tx, keyset string, from transfer.Origin) error {
	if _, err := tx.Exec(ctx, lockSetup); err != nil {
		return err
	}
	have, err := moving(ctx, tx)
	if err != nil {
		return err
	}
	mark, err := from.Mark(false)
	if err != nil {
		return err
	}
	if have != "" && have != mark {
		return callbackd.Errorf(callbackd.KindConflict, "the database holds part of another data directory, whose move has not ended: name that directory to finish it, or name an empty database")
	}
	if err := migrate(ctx, tx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := openKeyset(ctx, tx, keyset, true); err != nil {
		return err
	}
	if have != "" {
		return nil
	}
	for _, t := range transfer.Tables {
		var holds bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+t.Name+")").Scan(&holds); err != nil {
			return err
		}
		if holds {
			return callbackd.Errorf(callbackd.KindConflict, "the database is not empty, its table %s has rows: name an empty one; nothing was changed", t.Name)
		}
	}
	if mark, err = from.Mark(true); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE moving (mark text NOT NULL)"); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO moving VALUES ($1)", mark)
	return err
}

// Close ends the connection.
func (t *Target) Close() error { return t.conn.Close(context.Background()) }

// Finish lets nodes start: it sets the sequences of IDs above the IDs in use, counts the
// pending deliveries, and removes the mark of the move.
func (t *Target) Finish(ctx context.Context) error {
	return pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')",
			"SELECT setval(pg_get_serial_sequence('keys', 'no'), max(no)) FROM keys HAVING max(no) > 0",
			"SELECT setval(pg_get_serial_sequence('callbacks', 'no'), max(no)) FROM callbacks HAVING max(no) > 0",
			"SELECT setval(pg_get_serial_sequence('sessions', 'no'), max(no)) FROM sessions HAVING max(no) > 0",
			"INSERT INTO delivery_counts (what, n) VALUES ('recount', 0)",
			`INSERT INTO session_sequences (key_no, session, sequence, last_id, callbacks)
				SELECT DISTINCT key_no, session, 0, 0, true FROM callbacks WHERE session IS NOT NULL
				ON CONFLICT (key_no, session) DO UPDATE SET callbacks = true`,
			"DROP TABLE moving",
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return fillCounts(seamTx{ctx, tx}, &dialect)
	})
}

// filled names, by table, the column that only PostgreSQL has. It is filled with
// zeros.
var filled = map[string]string{"keys": "revision", "callbacks": "revision", "sessions": "stamp"}

// Append is part of [transfer.Target]. It is one COPY, so all rows are added or
// none.
func (t *Target) Append(ctx context.Context, table *transfer.Table, rows []transfer.Row) error {
	types, err := t.typesOf(ctx, table)
	if err != nil {
		return err
	}
	columns := append([]string(nil), table.Columns...)
	if filled[table.Name] != "" {
		columns = append(columns, filled[table.Name])
	}
	_, err = t.conn.CopyFrom(ctx, pgx.Identifier{table.Name}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		values := make([]any, len(table.Columns), len(columns))
		for c, v := range rows[i] {
			values[c] = toColumn(v, types[c])
		}
		if len(columns) > len(values) {
			values = append(values, int64(0))
		}
		return values, nil
	}))
	return err
}

func (t *Target) typesOf(ctx context.Context, table *transfer.Table) ([]uint32, error) {
	if known := t.types[table.Name]; known != nil {
		return known, nil
	}
	d, err := t.conn.Prepare(ctx, "", "SELECT "+strings.Join(table.Columns, ", ")+" FROM "+table.Name)
	if err != nil {
		return nil, err
	}
	types := make([]uint32, len(d.Fields))
	for i, f := range d.Fields {
		types[i] = f.DataTypeOID
	}
	t.types[table.Name] = types
	return types, nil
}

// toColumn converts a value of a row to the type of its column.
func toColumn(v any, oid uint32) any {
	switch v := v.(type) {
	case int64:
		if oid == pgtype.BoolOID {
			return v != 0
		}
	case string:
		if oid == pgtype.ByteaOID {
			return []byte(v)
		}
	case []byte:
		if oid == pgtype.Int8ArrayOID {
			counts := []int64{}
			for len(v) > 0 {
				n, size := binary.Uvarint(v)
				if size <= 0 {
					break // Compare then finds the difference
				}
				counts, v = append(counts, int64(n)), v[size:]
			}
			return counts
		}
	}
	return v
}

// Last is part of [transfer.Target].
func (t *Target) Last(ctx context.Context, table *transfer.Table) (last transfer.Row, err error) {
	key := table.Columns[:table.Key]
	err = t.query(ctx, func(r transfer.Row) bool { last = r; return true },
		"SELECT "+strings.Join(key, ", ")+" FROM "+table.Name+" ORDER BY "+strings.Join(key, " DESC, ")+" DESC LIMIT 1")
	return last, err
}

// Rows is part of [transfer.Source].
func (t *Target) Rows(ctx context.Context, table *transfer.Table, after transfer.Row, limit int) (rows []transfer.Row, err error) {
	key, where := strings.Join(table.Columns[:table.Key], ", "), ""
	if after != nil {
		var places []string
		for i := range after {
			places = append(places, fmt.Sprintf("$%d", i+2))
		}
		where = " WHERE (" + key + ") > (" + strings.Join(places, ", ") + ")"
	}
	size := 0
	err = t.query(ctx, func(r transfer.Row) bool {
		rows = append(rows, r)
		size += r.Size()
		return size < transfer.MaxPageBytes
	}, "SELECT "+strings.Join(table.Columns, ", ")+" FROM "+table.Name+where+" ORDER BY "+key+" LIMIT $1", append([]any{limit}, after...)...)
	return rows, err
}

// query calls f for the rows of an answer until it returns false.
func (t *Target) query(ctx context.Context, f func(transfer.Row) bool, sql string, args ...any) error {
	rows, err := t.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for more := true; more && rows.Next(); {
		row, err := rows.Values()
		if err != nil {
			return err
		}
		for i, v := range row {
			row[i] = fromColumn(v)
		}
		more = f(row)
	}
	rows.Close()
	return rows.Err()
}

// fromColumn converts a value of a column to the form that rows have.
func fromColumn(v any) any {
	switch v := v.(type) {
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case []any: // counts
		b := []byte{}
		for _, n := range v {
			b = binary.AppendUvarint(b, uint64(n.(int64)))
		}
		return b
	}
	return v
}
