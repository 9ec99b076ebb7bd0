package app

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/doctor"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/sqlite"

	"github.com/jackc/pgx/v5"
	"github.com/ncruces/go-sqlite3"
)

// examine runs all checks on a store by the clock of a machine, and returns the level and the
// message of each finding.
func examine(t *testing.T, at StoreConfig, ahead time.Duration) string {
	t.Helper()
	m := doctor.ThisMachine()
	m.Now = func() time.Time { return time.Now().Add(ahead) }
	m.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	m.Dial = new(net.Dialer).DialContext
	m.Answers = func(context.Context, string) error { return errors.New("no answer") }
	m.GoMemory, m.Units = math.MaxInt64, nil
	s := doctor.Settings{Data: at.Data, Keyset: at.KeysetFile, Database: at.DatabaseURL != "", Listen: "127.0.0.1:0", MaxInFlight: 1, Lease: time.Minute, NodeConnections: NodeConnections}
	if !s.Database && s.Keyset == "" {
		s.Keyset = filepath.Join(at.Data, sqlite.KeysetFile)
	}
	var out strings.Builder
	for _, f := range doctor.Run(t.Context(), s, m, at).Findings {
		out.WriteString(f.Check + " " + string(f.Level) + ": " + f.Message + "\n")
	}
	return out.String()
}

func wantFindings(t *testing.T, found string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(found, p) {
			t.Errorf("%q is not in\n%s", p, found)
		}
	}
}

func TestDoctorOfADataDirectory(t *testing.T) {
	t.Parallel()
	at := StoreConfig{Data: t.TempDir()}
	wantFindings(t, examine(t, at, 0), "store ok: there is none yet")
	s := openPlace(t, at)
	first, err := seal.List(filepath.Join(at.Data, sqlite.KeysetFile))
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	before := must(os.ReadDir(at.Data))
	wantFindings(t, examine(t, at, 0), "store ok: it opens", "keyset ok: it opens all ", "permissions ok", "clock ") // beside a server
	if after := must(os.ReadDir(at.Data)); len(after) != len(before) {
		t.Errorf("%d files, and %d before", len(after), len(before))
	}
	closeStore(t, s)
	wantFindings(t, examine(t, at, -time.Hour), "clock problem: the newest event in the store is ")

	other := t.TempDir()
	closeStore(t, openPlace(t, StoreConfig{Data: other}))
	wantFindings(t, examine(t, StoreConfig{Data: at.Data, KeysetFile: filepath.Join(other, sqlite.KeysetFile)}, 0), "keyset problem: ", "the key "+first.Primary.String()+" has sealed ")

	db, err := sqlite3.Open(filepath.Join(at.Data, "callbackd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for version, want := range map[string]string{"9": "store warning: an older callbackd wrote the store (schema 9, ", "9999": "store problem: the database was written by a newer callbackd (schema 9999"} {
		if err := db.Exec("PRAGMA user_version = " + version); err != nil {
			t.Fatal(err)
		}
		wantFindings(t, examine(t, at, 0), want)
	}
	if err := os.WriteFile(filepath.Join(other, "callbackd.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(other, "callbackd.db-wal"))
	wantFindings(t, examine(t, StoreConfig{Data: other}, 0), "store problem: ", "its database is missing or empty")
}

func TestDoctorOfPostgreSQL(t *testing.T) {
	t.Parallel()
	at := StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	wantFindings(t, examine(t, at, 0), "store problem: fsync is off") // of the server of the tests
	closeStore(t, openPlace(t, at))
	off := at
	off.DatabaseURL += "&options=-c%20synchronous_commit%3Doff"
	wantFindings(t, examine(t, off, time.Hour), "store problem: full_page_writes is off", "store warning: synchronous_commit is off", "clock problem: the clock of this machine is ", " ahead of that of the database", "keyset ok")
	wantFindings(t, examine(t, at, -time.Hour), " behind that of the database")
	away := at
	away.DatabaseURL = "postgres://127.0.0.1:1/x?connect_timeout=1"
	wantFindings(t, examine(t, away, 0), "store problem: the database cannot be reached")

	conn, err := pgx.Connect(t.Context(), at.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, c := range [][2]string{{"DELETE FROM schema_version WHERE version > 3", "store warning: an older callbackd wrote the store (schema 3, "}, {"INSERT INTO schema_version VALUES (9999)", "store problem: the database was written by a newer callbackd (schema 9999"}} {
		if _, err := conn.Exec(t.Context(), c[0]); err != nil {
			t.Fatal(err)
		}
		found := examine(t, at, 0)
		if wantFindings(t, found, c[1]); strings.Contains(found, "keyset ") {
			t.Errorf("a store of another version was read:\n%s", found)
		}
	}
}
