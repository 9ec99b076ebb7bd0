package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
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

// The counts of a database whose version did not count, or lost counts, are corrected by the
// job that adds them up.
func TestCountsOfAnEarlierVersionAreRecounted(t *testing.T) {
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
	sql, _ := storetest.ExistingDatabase(t, schema, o.KeysetFile)
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	start := func() store.Store {
		s, err := Open(t.Context(), o)
		if err == nil {
			err = s.AddUpCounts(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Recounts(t, start, map[string][]string{
		"were lost":    {"DELETE FROM delivery_counts"},
		"became wrong": {"UPDATE delivery_counts SET n = n + 7 WHERE what = 'found'", "INSERT INTO delivery_counts VALUES ('recount', 0)"},
	}, func(sql string) error {
		_, err := conn.Exec(t.Context(), sql)
		return err
	})
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

// While there is a node of an older version, which changes deliveries and does not count, the
// counts are corrected again and again, and once more after it has ended.
func TestWhatAnOlderNodeDoesIsRecounted(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, pgtest.URL(t), 1)
	ctx, s := t.Context(), nodes[0]
	node := d.join(s)
	evs, err := d.accept(s, time.Now(), "S", "S", "S")
	d.must(err)
	balanced := func(when string, pending int64) {
		t.Helper()
		d.must(s.AddUpCounts(ctx))
		f, err := s.Figures(ctx)
		d.must(err)
		d.equal("pending deliveries by the counts "+when, f.Counts.Pending(), pending)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := s.shared.Exec(ctx, sql, args...)
		d.must(err)
	}
	older := func(ev callbackd.EventID) { // records a success, as a node that does not count
		exec("DELETE FROM pending WHERE event_id = $1", int64(ev))
		exec("INSERT INTO attempts VALUES ($1, $2, 1, 1, 'delivered', '')", int64(ev), int64(d.cb.ID))
	}
	balanced("before", 3)
	exec("UPDATE nodes SET counts = false WHERE no = $1", int64(node))
	balanced("with an older node", 3)
	older(evs[0].ID)
	balanced("after the older node has delivered", 2)
	older(evs[1].ID)
	exec("DELETE FROM nodes WHERE no = $1", int64(node))
	balanced("after the older node has ended", 1)
	balanced("later", 1)
}
