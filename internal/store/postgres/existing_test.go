package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// This version reads the same from a database of an earlier version as that version did,
// also after a restart.
func TestExistingDatabaseIsRead(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	conn, err := pgx.Connect(t.Context(), o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var schema string
	if err := conn.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	sql, want := storetest.ExistingDatabase(t, schema, o.KeysetFile)
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at the first start", "at the second start"} {
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, storetest.Inventory(t, s)); diff != "" {
			t.Errorf("%s: -earlier version +this version\n%s", when, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A command creates no store and no keyset, and upgrades nothing.
func TestCommandsMakeNoStore(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json"), Existing: true}
	conn, err := pgx.Connect(t.Context(), o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	refused := func(what, want string) {
		t.Helper()
		s, err := Open(t.Context(), o)
		if err == nil {
			s.Close()
		}
		if callbackd.KindOf(err) != callbackd.KindSetting || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	refused("an empty database", "holds no store")
	tables := 0
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables were made, %v", tables, err)
	}
	if _, err := os.Stat(o.KeysetFile); err == nil {
		t.Error("a keyset was made")
	}
	server := o
	server.Existing = false
	s, err := Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := conn.Exec(t.Context(), "DELETE FROM schema_version WHERE version = (SELECT max(version) FROM schema_version)"); err != nil {
		t.Fatal(err)
	}
	refused("an older version", "older callbackd")
	if _, err := conn.Exec(t.Context(), "INSERT INTO schema_version VALUES (999)"); err != nil {
		t.Fatal(err)
	}
	refused("a newer version", "newer callbackd")
}
