package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"
	"callbackd/internal/store/memo"

	"github.com/ncruces/go-sqlite3"
)

// seam is the store as package core sees it.
type seam struct{ s *Store }

var dialect = core.Dialect{
	InList:    "IN (SELECT value FROM json_each(@))",
	PairsOf:   "(SELECT value ->> 0 AS COLUMN1, value ->> 1 AS COLUMN2 FROM json_each(@)) AS o",
	LookupIn:  " CROSS JOIN TABLE AS ALIAS ON COND",
	IndexedBy: " INDEXED BY INDEX_NAME",

	LookupOrNullIn: " LEFT JOIN TABLE AS ALIAS ON COND",

	KeyEvents:     "key_events CROSS JOIN events USING (key_no, id)",
	SessionEvents: "session_events CROSS JOIN events USING (key_no, session, sequence, id)",
	SessionIndex:  "session_events",
	SessionOrder:  "key_no, session, sequence",
	SessionVIN:    "substr(search, length(session) + 2, 17)",

	NextCallback: "UPDATE meta SET last_callback = last_callback + 1 RETURNING last_callback",
	Count:        "INSERT INTO delivery_counts (what, n) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET n = n + excluded.n",
	AddCounts:    "add_counts(slots.@, excluded.@)",
}

// Read is part of [core.Driver].
func (d seam) Read(ctx context.Context, f func(core.Tx) error) error {
	return d.s.read(ctx, func(d *db) error { return f(d) })
}

// ReadSettings is part of [core.Driver].
func (d seam) ReadSettings(ctx context.Context, f func(core.Tx) error) error { return d.Read(ctx, f) }

// Write is part of [core.Driver].
func (d seam) Write(ctx context.Context, mode core.Mode, f func(core.Tx) error) error {
	write := d.s.write
	if mode&core.Deliveries != 0 {
		write = d.s.deliver
	}
	return write(ctx, func(t *tx) error {
		if mode&core.Settings != 0 {
			t.settings = true
		}
		if err := f(t); err != nil {
			return err
		}
		if mode&core.Settings != 0 {
			t.after = append(t.after, d.s.forgetTargets)
		}
		return nil
	})
}

// Snapshot is part of [core.Driver].
func (d seam) Snapshot(ctx context.Context, f func(core.Tx) error) error { return d.Read(ctx, f) }

// Enqueue is part of [core.Driver].
func (d seam) Enqueue(t core.Tx, ds []callbackd.Delivery) (added []callbackd.Delivery, err error) {
	for _, delivery := range ds {
		if err := t.(*tx).insertPending(delivery); err != nil {
			return nil, err
		}
	}
	return ds, nil
}

// Flush is part of [core.Driver]. It flushes in pieces, so that events need not
// wait for all of them, and no more than was buffered before the call.
func (d seam) Flush(ctx context.Context) error {
	if d.s.dir.secondary {
		return nil
	}
	for last := d.s.buffer.last(); d.s.buffer.hasUpTo(last); {
		flush := func(t *tx) error { return t.flush(1, min(flushBatch, len(d.s.buffer.events)-t.flushed)) }
		if err := d.s.do(ctx, &job{run: flush, deferred: true, done: make(chan struct{})}); err != nil {
			return err
		}
	}
	return nil
}

// errReadOnly ends the command of a read, so that its transaction is rolled back.
var errReadOnly = errors.New("this transaction is rolled back")

// ReadFlushed is part of [core.Driver]. When the flush finds the disk full, f reads
// in the writer's transaction, which has the rows of the buffer and is rolled back:
// until a commit such rows are in memory alone.
func (d seam) ReadFlushed(ctx context.Context, f func(core.Tx) error) error {
	err := d.Flush(ctx)
	if err == nil {
		return d.Read(ctx, f)
	}
	if !isFull(err) {
		return err
	}
	err = d.s.write(store.WithOnce(ctx, nil), func(t *tx) error {
		if err := t.flushAll(); err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
		return errReadOnly
	})
	if errors.Is(err, errReadOnly) {
		return nil
	}
	return err
}

// Horizon is part of [core.Driver]. IDs grow in the order of commits, so no event with a
// smaller ID than the newest one is committed later. It returns the newest event of the
// key, or the newest one that retention removed. The newest of all keys would reveal how
// often others publish.
func (d seam) Horizon(ctx context.Context, key callbackd.KeyID, _ callbackd.EventID) (newest callbackd.EventID, err error) {
	sql := `SELECT max(coalesce((SELECT max(id) FROM key_events WHERE key_no = $1), 0), coalesce((SELECT newest FROM removed_events WHERE key_no = $1), 0),
		coalesce((SELECT max(id) FROM events WHERE id > (SELECT mark FROM meta) AND key_no = $1), 0))`
	if key == store.AllKeys {
		sql = "SELECT max(coalesce((SELECT max(id) FROM events WHERE $1 = 0), 0), coalesce((SELECT max(newest) FROM removed_events), 0))"
	}
	err = d.ReadFlushed(ctx, func(tx core.Tx) error {
		return tx.Query(sql, func(row core.Row) error { return row.Scan(&newest) }, key)
	})
	return newest, err
}

// FlushedUpTo is part of [core.Driver].
func (d seam) FlushedUpTo(tx core.Tx) (id callbackd.EventID, err error) {
	err = tx.Query("SELECT mark FROM meta", func(row core.Row) error { return row.Scan(&id) })
	return id, err
}

// RemoveIndexes is part of [core.Driver].
func (d seam) RemoveIndexes(tx core.Tx, evs []*callbackd.Event) error {
	for _, ev := range evs {
		if _, err := tx.Exec("DELETE FROM key_events WHERE key_no = $1 AND id = $2", ev.Key, ev.ID); err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM session_events WHERE key_no = $1 AND session = $2 AND sequence = $3", ev.Key, ev.Session, ev.Sequence); err != nil {
			return err
		}
	}
	return nil
}

// RemoveSessions is part of [core.Driver].
func (d seam) RemoveSessions(t core.Tx, ids []store.SessionID) {
	for _, id := range ids {
		t.(*tx).sessions[id] = core.SessionWork{}
	}
}

// EndSessions is part of [core.Driver].
func (d seam) EndSessions(core.Tx, []store.SessionID) error { return nil }

// ChangeSession is part of [core.Driver].
func (d seam) ChangeSession(t core.Tx, id store.SessionID, change func(*callbackd.Session)) (found bool, err error) {
	w, err := t.(*tx).session(id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	next := *w.Current
	change(&next)
	w.Current, w.Changed = &next, true
	return true, t.(*tx).writeSession(id, w)
}

// Overwrite is part of [core.Driver]. What is deleted is overwritten at once
// (secure_delete), but the log still has the pages as they were: all of it must be copied
// into the database file, and then cut off. A reader that began before keeps the log.
func (d seam) Overwrite(ctx context.Context) (done bool, err error) {
	var cut error
	err = d.s.write(store.WithOnce(ctx, nil), func(t *tx) error {
		t.after = append(t.after, func() { cut = d.s.cutLog() })
		// Without a change the group would have no commit.
		return t.query("UPDATE meta SET mark = mark", nil)
	})
	if errors.Is(cut, sqlite3.BUSY) || errors.Is(cut, sqlite3.LOCKED) {
		return false, nil
	}
	return err == nil && cut == nil, errors.Join(err, cut)
}

// Refresh is part of [core.Driver]. Other processes change keys only, and SQLite does not
// say which. While the writer commits, it sees whether they have changed anything;
// otherwise the keys are dropped when they may be too old.
func (d seam) Refresh(context.Context) error {
	k := &d.s.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.askedAt = now
	old := func(t time.Time) bool { return now.Sub(t) >= store.MaxKeyAge }
	if k.version != k.known || old(k.checkedAt) && old(k.readAt) {
		d.s.DropKeys()
		k.known, k.readAt = k.version, now
	}
	return nil
}

// versionEvery is how often a writer that has nothing to commit looks whether another
// process has committed something, and watchKeysFor for how long it does so after the last
// use of a key.
const (
	versionEvery = store.MaxKeyAge / 2
	watchKeysFor = 10 * time.Second
)

// inUse reports whether keys were asked for lately.
func (k *keyAge) inUse() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.askedAt) < watchKeysFor
}

// noteVersion notes whether another process has committed something. A transaction of the
// writer's connection, if there is one, began after at.
func (k *keyAge) noteVersion(writer *db, at time.Time) error {
	var version int64
	err := writer.query("PRAGMA data_version", func(st *sqlite3.Stmt) error { version = st.ColumnInt64(0); return nil })
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version, k.checkedAt = version, at
	return nil
}

// currentVersion returns what noteVersion noted last.
func (k *keyAge) currentVersion() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version
}

// newTargetsCache returns an empty cache of callbacks in force. The one callback that most
// subjects have takes about 150 bytes.
func newTargetsCache() *memo.Sized[subject, *callbackd.Candidates] {
	return memo.NewSized[subject](maxTargetsCached, func(c *callbackd.Candidates) int { return 140 + c.Bytes() })
}

// forgetTargets drops the cache of callbacks in force. It runs on the writer's goroutine.
func (s *Store) forgetTargets() {
	s.w.candidates = newTargetsCache()
}

// addCounts makes the SQL function of this name: it adds two columns of [store.Counts].
func addCounts(ctx sqlite3.Context, args ...sqlite3.Value) {
	ctx.ResultBlob(codec.AddCounts([]byte{}, args[0].RawBlob(), args[1].RawBlob()))
}

// Query is part of [core.Tx].
func (d *db) Query(sql string, row func(core.Row) error, args ...any) error {
	err := d.query(sql, func(st *sqlite3.Stmt) error { return row(stmtRow{st}) }, args...)
	if errors.Is(err, core.ErrStop) {
		return nil
	}
	return err
}

// Exec is part of [core.Tx].
func (d *db) Exec(sql string, args ...any) (int64, error) {
	before := d.conn.TotalChanges()
	err := d.query(sql, nil, args...)
	return d.conn.TotalChanges() - before, err
}

// Batch is part of [core.Tx].
func (d *db) Batch(sql string, row func(core.Row) error, args [][]any) error {
	for _, a := range args {
		err := d.query(sql, func(st *sqlite3.Stmt) error {
			if row == nil {
				return nil
			}
			return row(stmtRow{st})
		}, a...)
		if err != nil {
			return err
		}
	}
	return nil
}

// numbered turns the parameters $1, $2, … of a statement into ?1, ?2, …: to
// SQLite $1 is the name of a parameter, not its number.
func numbered(sql string) string {
	var b strings.Builder
	for i := 0; i < len(sql); i++ {
		if sql[i] == '$' && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' {
			b.WriteByte('?')
			continue
		}
		b.WriteByte(sql[i])
	}
	return b.String()
}

// bindPlain binds an argument of a type that only core's statements use.
func bindPlain(st *sqlite3.Stmt, i int, arg any) error {
	plain, err := core.Plain(arg)
	if err != nil {
		return err
	}
	switch v := plain.(type) {
	case nil:
		return st.BindNull(i)
	case int64:
		return st.BindInt64(i, v)
	case float64:
		return st.BindFloat(i, v)
	case bool:
		return st.BindBool(i, v)
	case string:
		return st.BindText(i, v)
	case core.Text:
		return st.BindText(i, string(v))
	case []byte:
		return st.BindBlob(i, v)
	case store.Counts:
		return st.BindBlob(i, codec.AppendCounts([]byte{}, v))
	case []int64, []string:
		list, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return st.BindText(i, string(list))
	}
	return fmt.Errorf("argument %d has type %T", i, arg)
}

// stmtRow is the present row of a statement.
type stmtRow struct{ st *sqlite3.Stmt }

// Scan is part of [core.Row].
func (r stmtRow) Scan(dest ...any) error {
	for i, d := range dest {
		if err := r.column(i, d); err != nil {
			return err
		}
	}
	return nil
}

func (r stmtRow) column(i int, dest any) error {
	isNull := r.st.ColumnType(i) == sqlite3.NULL
	switch d := dest.(type) {
	case *[]byte:
		*d = nil
		if !isNull {
			*d = append([]byte{}, r.st.ColumnRawBlob(i)...)
		}
		return nil
	case *time.Time:
		*d = columnTime(r.st, i)
		return nil
	case store.Counts:
		codec.ReadCounts(r.st.ColumnRawBlob(i), d)
		return nil
	}
	v := reflect.ValueOf(dest).Elem()
	if v.Kind() == reflect.Pointer {
		if isNull {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return r.column(i, v.Interface())
	}
	if isNull {
		return fmt.Errorf("column %d is NULL and is read as %s", i, v.Type())
	}
	if d, ok := dest.(*time.Duration); ok {
		*d = columnMicros(r.st, i)
		return nil
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.st.ColumnInt64(i))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(r.st.ColumnInt64(i)))
	case reflect.Bool:
		v.SetBool(r.st.ColumnBool(i))
	case reflect.String:
		v.SetString(r.st.ColumnText(i))
	case reflect.Float64:
		v.SetFloat(r.st.ColumnFloat(i))
	default:
		return fmt.Errorf("column %d cannot be read as %s", i, v.Type())
	}
	return nil
}

// countUnsent adds deliveries that were canceled or expired without an attempt, which no
// outcome counts.
func (t *tx) countUnsent(cb callbackd.CallbackID, at time.Time, state callbackd.State, n int) error {
	if n == 0 {
		return nil
	}
	var key callbackd.KeyID
	err := t.query("SELECT key_no FROM callbacks WHERE no = ?", func(st *sqlite3.Stmt) error {
		key = callbackd.KeyID(st.ColumnInt64(0))
		return nil
	}, int64(cb))
	if err != nil {
		return err
	}
	sums := core.Sums{}
	sums.Add(key, cb, at, store.Unsent(state, int64(n)))
	return t.s.AddSums(t, sums)
}
