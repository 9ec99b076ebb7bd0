package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/sqlite"
	"callbackd/internal/store/storetest"
	"callbackd/internal/store/transfer"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/ncruces/go-sqlite3"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// usedDir is a data directory that was used at random, and its picture.
func usedDir(t *testing.T, seed uint64) (dir string, picture map[string]any) {
	t.Helper()
	return use(t, t.TempDir(), seed)
}

func use(t *testing.T, at string, seed uint64) (dir string, picture map[string]any) {
	t.Helper()
	dir = at
	s := openPlace(t, StoreConfig{Data: dir})
	storetest.Use(t, s, seed, 300)
	if seed%2 == 1 { // as a kill leaves it, with the newest events in the tail
		killed := t.TempDir()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		defer func() { dir = killed }()
	}
	closeStore(t, s) // and with it all that it knew by heart
	s = openPlace(t, StoreConfig{Data: dir})
	picture = storetest.Picture(t, s)
	closeStore(t, s)
	return dir, picture
}

// differences ignores how a driver writes an empty list, and the order of an event's
// targets.
func differences(a, b any) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(callbackd.Callback{}, "DeletedAt"), cmpopts.SortSlices(func(a, b callbackd.CallbackID) bool { return a < b }))
}

func openPlace(t *testing.T, p StoreConfig) store.Store {
	t.Helper()
	s, err := p.Open(t.Context(), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func target(t *testing.T) StoreConfig {
	t.Helper()
	return StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
}

func silent(Moved) {}

func TestMoveTakesEverything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		dir, want := usedDir(t, seed)
		to := target(t)
		rows := map[string]int64{}
		if err := Move(toldToTheEnd(t, t.Context()), dir, to, func(m Moved) {
			if m.Sum != nil {
				rows[m.Table] = m.Sum.Rows
			}
		}); err != nil {
			t.Fatal(err)
		}
		for _, table := range transfer.Tables {
			if rows[table.Name] == 0 {
				t.Errorf("seed %d: the test moves no row of %s", seed, table.Name)
			}
		}
		s := openPlace(t, to)
		if diff := differences(want, storetest.Picture(t, s)); diff != "" {
			t.Errorf("seed %d: -SQLite +PostgreSQL\n%s", seed, diff)
		}
		goesOn(t, s)
		closeStore(t, s)
	}
}

// toldToTheEnd returns a context for a move that is told of less than all rows until the last
// ones are compared.
func toldToTheEnd(t *testing.T, ctx context.Context) context.Context {
	var done, total int64
	t.Cleanup(func() {
		if done != total || total == 0 {
			t.Errorf("at the end the move told of %d of %d rows", done, total)
		}
	})
	return store.WithProgress(ctx, func(d, all int64) {
		if d < done || d > all || total != 0 && all != total {
			t.Errorf("the move told of %d of %d rows after %d of %d", d, all, done, total)
		}
		done, total = d, all
	})
}

// goesOn works on with what was moved.
func goesOn(t *testing.T, s store.Store) {
	t.Helper()
	ctx, at := t.Context(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.ListKeys(ctx)
	must(err)
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "acme", APIKey: "new", Secret: "s", CreatedAt: at})
	must(err)
	if last := keys[len(keys)-1].ID; k.ID <= last {
		t.Errorf("a new key has number %d after %d", k.ID, last)
	}
	r, err := s.Check(ctx)
	must(err)
	cb, created, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.StageChange, Name: "n", URL: "https://a.example/", Method: "POST", Payload: []byte("{}")}, at)
	must(err)
	if !created {
		t.Error("a new callback was not created, because it exists")
	}
	if last := r.Callbacks[len(r.Callbacks)-1].Callback.ID; cb.ID <= last {
		t.Errorf("a new callback has the id %d, want a higher one than %d", cb.ID, last)
	}
	story, err := s.SessionEvents(ctx, store.SessionEventQuery{Key: keys[0].ID, Session: "S1", Limit: 200})
	must(err)
	last := story[len(story)-1].Event
	evs, err := s.Accept(ctx, store.Batch{Key: keys[0].ID, At: at, Events: []store.NewEvent{{Type: callbackd.StageChange, Session: "S1", Data: []byte("{}")}}})
	must(err)
	if got, want := evs[0].Sequence, last.Sequence+1; got != want {
		t.Errorf("the next event of the session has the sequence number %d, want %d", got, want)
	}
	if evs[0].ID <= last.ID {
		t.Errorf("the next event has the id %s, want a later one than %s", evs[0].ID, last.ID)
	}
	must(s.CreateSession(ctx, session.New(&k, at), nil))
	running, err := s.ListReplays(ctx, store.ReplayQuery{Key: store.AllKeys, Running: true, Limit: 1})
	must(err)
	step, err := s.StepReplay(ctx, running.Replays[0].ID, at)
	must(err)
	if len(step.Due) == 0 {
		t.Error("a step of the running replay made nothing due")
	}
	if r, err := s.Check(ctx); err != nil || r.FaultN > 0 {
		t.Errorf("fsck: %v, %v; want no faults", r.Faults, err)
	}
}

// Whatever page it was broken off after, a move goes on to the same end, and
// no server starts before it.
func TestAMoveGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := useWithManyEvents(t, dir)
	other := t.TempDir() // sealed with the same keyset
	closeStore(t, openPlace(t, StoreConfig{Data: other, KeysetFile: filepath.Join(dir, sqlite.KeysetFile)}))
	if err := seal.Copy(filepath.Join(dir, sqlite.KeysetFile), filepath.Join(other, sqlite.KeysetFile)); err != nil {
		t.Fatal(err)
	}
	use(t, other, 10)
	to := target(t)
	pages, tries, done := 0, 0, false
	for ; tries < len(transfer.Tables)+8; tries++ {
		n, err := moveUntil(t, dir, to, transfer.Tables[tries%len(transfer.Tables)].Name)
		pages += n
		if done = err == nil; done {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("try %d: %v, want that it was canceled", tries, err)
		}
		_, err = to.Open(t.Context(), false, nil)
		wantError(t, "a server on what was moved in part", err, "run the same `callbackd move` again")
		wantError(t, "another directory into what was moved in part", Move(t.Context(), other, to, silent), "another data directory")
	}
	if !done { // it was broken off often enough
		if err := Move(toldToTheEnd(t, t.Context()), dir, to, silent); err != nil {
			t.Fatalf("the last try: %v", err)
		}
	}
	if pages < 2 {
		t.Errorf("%d pages of events, want 2 or more: the test breaks no table off", pages)
	}
	s := openPlace(t, to)
	defer s.Close()
	if diff := differences(want, storetest.Picture(t, s)); diff != "" {
		t.Errorf("after %d tries: -SQLite +PostgreSQL\n%s", tries, diff)
	}
}

// useWithManyEvents uses a data directory, whose events are more than one page, and
// returns its picture.
func useWithManyEvents(t *testing.T, dir string) (picture map[string]any) {
	t.Helper()
	s := openPlace(t, StoreConfig{Data: dir})
	storetest.Use(t, s, 9, 100)
	for i := range 9 {
		b := store.Batch{Key: 2, At: time.Now()}
		for j := range 1000 {
			b.Events = append(b.Events, store.NewEvent{Type: callbackd.SMSProcess, Session: fmt.Sprint("S", i, "-", j), Data: []byte("{}")})
		}
		if _, err := s.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	s = openPlace(t, StoreConfig{Data: dir})
	defer closeStore(t, s)
	return storetest.Picture(t, s)
}

// moveUntil moves until a page of rows, or the table, is complete. It returns how
// many pages of events were moved.
func moveUntil(t *testing.T, dir string, to StoreConfig, table string) (pages int, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = Move(ctx, dir, to, func(m Moved) {
		if m.Sum == nil && m.Table == "events" {
			pages++
		}
		if m.Sum == nil || m.Table == table {
			cancel()
		}
	})
	return pages, err
}

// wantError checks that there is an error, and what it says.
func wantError(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: the error is %v, want one that says %q", what, err, want)
	}
}

// What has begun keeps everybody else away from the directory.
func TestAMovedDirectoryIsNotServed(t *testing.T) {
	t.Parallel()
	dir, want := usedDir(t, 5)
	beside, err := sqlite3.Open(filepath.Join(dir, "callbackd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if err := Move(t.Context(), dir, target(t), func(Moved) {
		if err := beside.Exec("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE"); !errors.Is(err, sqlite3.BUSY) {
			t.Errorf("somebody may write to what is moved: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := (StoreConfig{Data: dir}).Open(t.Context(), false, nil); err == nil || !strings.Contains(err.Error(), "was moved to PostgreSQL") {
		t.Errorf("a server: %v", err)
	}
	s, err := (StoreConfig{Data: dir}).Open(t.Context(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := differences(want["check"], storetest.Balances(must(s.Check(t.Context())))); diff != "" {
		t.Errorf("fsck: %s", diff)
	}
	if _, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "late", CreatedAt: time.Now()}); callbackd.KindOf(err) != callbackd.KindConflict {
		t.Errorf("a new key: %v", err)
	}
	closeStore(t, s)
	again := target(t) // the database was lost, say
	if err := Move(t.Context(), dir, again, silent); err != nil {
		t.Errorf("to another database: %v", err)
	}
	if err := Move(t.Context(), dir, again, silent); err == nil || !strings.Contains(err.Error(), "the database is not empty") {
		t.Errorf("to one that is complete: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	dir, _ := usedDir(t, 6)
	otherKeys := t.TempDir()
	closeStore(t, openPlace(t, StoreConfig{Data: otherKeys}))
	refused := func(what, want, from string, to StoreConfig) {
		t.Helper()
		wantError(t, what, Move(t.Context(), from, to, silent), want)
	}
	refused("no data directory", "is not a data directory", t.TempDir(), target(t))

	running := openPlace(t, StoreConfig{Data: dir})
	refused("a server on the directory", "another callbackd runs on the data directory", dir, target(t))
	closeStore(t, running)

	to := StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(dir, sqlite.KeysetFile)}
	served := openPlace(t, to)
	refused("a server on the database", "stop every server on it", dir, to)
	closeStore(t, served)
	sealed := target(t)
	closeStore(t, openPlace(t, sealed))
	refused("a database with another keyset", "is not the one this database is sealed with", dir, StoreConfig{DatabaseURL: sealed.DatabaseURL, KeysetFile: to.KeysetFile})
	refused("another keyset", "which the keyset", dir, StoreConfig{DatabaseURL: target(t).DatabaseURL, KeysetFile: filepath.Join(otherKeys, sqlite.KeysetFile)})

	full := StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(dir, sqlite.KeysetFile)}
	s := openPlace(t, full)
	if _, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	refused("a database with a key", "the database is not empty, its table ", dir, full)
	refused("no database", "cannot be reached", dir, StoreConfig{DatabaseURL: "postgres://127.0.0.1:1/x?connect_timeout=1", KeysetFile: full.KeysetFile})

	// After all that the directory is as it was.
	beside, err := (StoreConfig{Data: dir}).Open(t.Context(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := beside.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()}); err != nil {
		t.Error(err)
	}
	closeStore(t, beside)
	closeStore(t, openPlace(t, StoreConfig{Data: dir}))
	closeStore(t, openPlace(t, full))
}

// What is not the same on both sides is found, and no server starts on it.
func TestMoveFindsADifference(t *testing.T) {
	t.Parallel()
	dir, _ := usedDir(t, 7)
	to := target(t)
	conn, err := pgx.Connect(t.Context(), to.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	once := false
	err = Move(t.Context(), dir, to, func(m Moved) {
		if m.Sum != nil && !once {
			once = true
			if _, err := conn.Exec(t.Context(), "UPDATE sessions SET search = search || 'x' WHERE no = (SELECT max(no) FROM sessions)"); err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil || !strings.Contains(err.Error(), "sessions: the ") {
		t.Errorf("%v", err)
	}
	if _, err := to.Open(t.Context(), false, nil); err == nil {
		t.Error("a server starts on it")
	}
	if _, err := conn.Exec(t.Context(), "DELETE FROM logs WHERE id = (SELECT min(id) FROM logs)"); err != nil {
		t.Fatal(err)
	}
	if err = Move(t.Context(), dir, to, silent); err == nil {
		t.Error("what is gone from the middle is not missed")
	}
}

// A table or column that is made later must be moved too, or be named here
// with the reason.
func TestEveryTableAndColumnIsMoved(t *testing.T) {
	derived := map[string]string{
		"session_events": "the index of events; session_sequences follows from it", "key_events": "the index of events", "meta": "the mark of the tail",
		"settings": "the target's own", "schema_version": "the target's own", "horizons": "of readers of the target",
		"nodes": "the target's own", "delivery_counts": "counted from the move on; what is pending then is found", "shards": "the target's own", "cluster": "the target's own",
		"keys.revision": "of the target", "callbacks.revision": "of the target", "sessions.stamp": "of a commit of the target",
		"session_sequences.callbacks": "follows from the callbacks of sessions",
		"pending.session":             "in the event", "pending.sequence": "in the event", "pending.test": "in the event",
	}
	known := map[string]bool{}
	for _, table := range transfer.Tables {
		for _, c := range table.Columns {
			known[table.Name+"."+c] = true
		}
	}
	for driver, columns := range map[string][]string{"SQLite": sqliteColumns(t), "PostgreSQL": postgresColumns(t)} {
		if len(columns) < 100 {
			t.Errorf("%s: %d columns", driver, len(columns))
		}
		for _, c := range columns {
			table, _, _ := strings.Cut(c, ".")
			if !known[c] && derived[c] == "" && derived[table] == "" {
				t.Errorf("%s has %s, which is not moved", driver, c)
			}
		}
		for c := range known {
			if !slices.Contains(columns, c) && !strings.HasPrefix(c, "session_sequences.") {
				t.Errorf("%s has no %s", driver, c)
			}
		}
	}
}

func sqliteColumns(t *testing.T) (out []string) {
	t.Helper()
	dir := t.TempDir()
	closeStore(t, openPlace(t, StoreConfig{Data: dir}))
	conn, err := sqlite3.Open(filepath.Join(dir, "callbackd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	st, _, err := conn.Prepare("SELECT m.name || '.' || p.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) p WHERE m.type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for st.Step() {
		out = append(out, st.ColumnText(0))
	}
	return out
}

func postgresColumns(t *testing.T) []string {
	t.Helper()
	to := target(t)
	closeStore(t, openPlace(t, to))
	conn, err := pgx.Connect(t.Context(), to.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = current_schema()")
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The keyset goes along: copied where it was not, and only there.
func TestMoveCopiesTheKeyset(t *testing.T) {
	t.Parallel()
	dir, _ := usedDir(t, 8)
	to := target(t)
	if err := Move(t.Context(), dir, to, silent); err != nil {
		t.Fatal(err)
	}
	own, copied := must(os.ReadFile(filepath.Join(dir, sqlite.KeysetFile))), must(os.ReadFile(to.KeysetFile))
	if string(own) != string(copied) {
		t.Error("the keysets differ")
	}
	if mode := must(os.Stat(to.KeysetFile)).Mode().Perm(); mode != 0o600 {
		t.Errorf("everybody may read it: %v", mode)
	}
}
