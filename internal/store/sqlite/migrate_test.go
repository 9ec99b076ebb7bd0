package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"
)

// tables returns every table, index and column of a database.
func tables(t *testing.T, s *Store) string {
	t.Helper()
	var out strings.Builder
	err := s.read(t.Context(), func(d *db) error {
		return d.query("SELECT m.type, m.name, p.name, p.type, p.\"notnull\" FROM sqlite_schema m LEFT JOIN pragma_table_xinfo(m.name) p ORDER BY 1, 2, p.cid", func(st *sqlite3.Stmt) error {
			for i := range 5 {
				fmt.Fprint(&out, st.ColumnText(i), " ")
			}
			out.WriteByte('\n')
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// earlier makes a data directory with version v of the schema, a key and an event.
func earlier(t *testing.T, v int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	d, err := openDB("file:"+filepath.Join(dir, dbFile), "journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for i, step := range steps[:v] {
		if err := d.conn.Exec(step + fmt.Sprintf("; PRAGMA user_version = %d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	sealer, err := seal.Open(filepath.Join(dir, KeysetFile), true)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Key(callbackd.Key{APIKey: "old key", Secret: "old secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.query("INSERT INTO keys (account, api_key, secret, name, live, created_at) VALUES ('acme', 'old key', ?, 'n', 1, 1000)", nil, sealed); err != nil {
		t.Fatal(err)
	}
	if err := d.query("INSERT INTO events (id, key_no, type, session, sequence, test, owed, data) VALUES (1, 1, 2, 'ACM-0123456789', 4, 0, x'', x'7b7d')", nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A database of each earlier version gets the present schema and keeps its content.
func TestEarlierSchemasAreUpgraded(t *testing.T) {
	fresh := open(t, Options{Dir: t.TempDir()})
	want := tables(t, fresh)
	fresh.Close()
	for v := 1; v < len(steps); v++ {
		t.Run(fmt.Sprint("from version ", v), func(t *testing.T) {
			t.Parallel()
			dir := earlier(t, v)
			for _, when := range []string{"at the first start", "at the second start"} {
				s := open(t, Options{Dir: dir})
				if diff := cmp.Diff(want, tables(t, s)); diff != "" {
					t.Errorf("%s: -new database +upgraded one\n%s", when, diff)
				}
				hasOldKey(t, s)
				s.Close()
			}
			s := open(t, Options{Dir: dir})
			defer s.Close()
			continuesOldSession(t, s)
		})
	}
}

// hasOldKey checks the key that earlier made.
func hasOldKey(t *testing.T, s *Store) {
	t.Helper()
	k, err := s.Key(t.Context(), "old key")
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Secret.Reveal(); got != "old secret" {
		t.Errorf("the secret is %q, want the old one", got)
	}
	if got := k.SessionTimeFrame(); got != callbackd.DefaultTimeFrame {
		t.Errorf("the time frame is %v, want %v", got, callbackd.DefaultTimeFrame)
	}
}

// continuesOldSession checks that the next event of a session follows the one that
// earlier made.
func continuesOldSession(t *testing.T, s *Store) {
	t.Helper()
	x := session.New(&callbackd.Key{ID: 1, Account: "acme"}, session.Now())
	x.SessionKey = "ACM-0123456789"
	if err := s.CreateSession(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	_, evs, err := session.Change(t.Context(), s, 1, x.SessionKey, session.Now(), func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Start(session.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	if evs[0].Sequence != 5 {
		t.Errorf("the next event has sequence %d, want 5", evs[0].Sequence)
	}
}

// Results that an earlier version stored are served in PAVE's form.
func TestEarlierResultsAreServedFlat(t *testing.T) {
	rows, err := os.ReadFile("testdata/results_7720c39.sql")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d, err := openDB("file:"+filepath.Join(dir, dbFile), "journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range append(slices.Clone(steps[:4]), string(rows)) {
		if err := d.conn.Exec(step + fmt.Sprintf("; PRAGMA user_version = %d", min(i+1, 4))); err != nil {
			t.Fatal(err)
		}
	}
	d.close()
	if _, err := seal.Open(filepath.Join(dir, KeysetFile), true); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Dir: dir})
	defer s.Close()
	storetest.EarlierResults(t, s, "ACM-4NNL6W3YR7", "ACM-J0SVYRG12P")
}

func TestANewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if err := s.write(t.Context(), func(t *tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	d, err := openDB("file:" + filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.conn.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	d.close()
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "newer callbackd (schema 99") {
		t.Errorf("got %v", err)
	}
}

// A migration that fails leaves the database as it was.
func TestAFailedMigrationLeavesTheDatabaseAsItWas(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{Dir: dir}).Close()
	defer func(old []string) { steps = old }(steps)
	steps = append(append([]string{}, steps...), "CREATE TABLE half (a INTEGER) STRICT; CREATE TABLE sessions (no INTEGER)")
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("to schema %d", len(steps))) {
		t.Fatalf("got %v", err)
	}
	steps = steps[:len(steps)-1]
	s := open(t, Options{Dir: dir})
	defer s.Close()
	if got := tables(t, s); strings.Contains(got, "half") {
		t.Errorf("part of the step was committed:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, dbFile)); err != nil {
		t.Error(err)
	}
}
