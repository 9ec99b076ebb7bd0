package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/ncruces/go-sqlite3"
)

// listedEntry is a line of `callbackd audit list --json`.
type listedEntry struct {
	APIKey  string `json:"api_key"`
	Action  string `json:"action"`
	Subject string `json:"subject"`
	Actor   struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"actor"`
	Before map[string]any `json:"before"`
	After  map[string]any `json:"after"`
}

// auditList returns what audit list --json prints, newest first.
func auditList(t *testing.T, args ...string) (entries []listedEntry) {
	t.Helper()
	out, errs, code := run(t, append([]string{"audit", "list", "--json"}, args...)...)
	wantExit(t, "audit list", code, 0, out+errs)
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var e listedEntry
		if err := d.Decode(&e); err != nil {
			t.Fatalf("audit list prints no JSON: %v\n%s", err, out)
		}
		entries = append(entries, e)
	}
	return entries
}

// verified is what audit verify --json prints.
type verified struct {
	Entries int64 `json:"entries"`
	Chains  []struct {
		APIKey  string `json:"api_key"`
		Entries int64  `json:"entries"`
		Removed int64  `json:"removed"`
		Head    string `json:"head"`
	} `json:"chains"`
	Faults     []string `json:"faults"`
	FaultCount int64    `json:"fault_count"`
}

func auditVerify(t *testing.T, want int, args ...string) (v verified) {
	t.Helper()
	out, errs, code := run(t, append([]string{"audit", "verify", "--json"}, args...)...)
	wantExit(t, "audit verify", code, want, out+errs)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("audit verify prints no JSON: %v\n%s", err, out)
	}
	return v
}

// tamper changes the database behind callbackd's back.
func tamper(t *testing.T, dir, sql string) {
	t.Helper()
	conn, err := sqlite3.Open(filepath.Join(dir, "callbackd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(sql); err != nil {
		t.Fatal(err)
	}
	if conn.Changes() == 0 {
		t.Fatalf("%s changes nothing", sql)
	}
}

// Whoever changes, removes or adds an entry of the audit log with the database's own means is
// found: by the exit code, and by a sentence that names the entry.
func TestABrokenAuditLogIsFound(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	if _, err := cl.ReplaceCallback(t.Context(), event, "", client.NewCallback{URL: sk.URL + "/next"}); err != nil {
		t.Fatal(err)
	}
	entries := auditList(t, "--data", dir, "--key", cl.APIKey)
	if len(entries) != 3 || entries[0].Action != "callback.replaced" || entries[0].APIKey != cl.APIKey || entries[0].Actor.Kind != "api_key" ||
		entries[0].Before["url"] != sk.URL || entries[0].After["url"] != sk.URL+"/next" || entries[2].Action != "key.created" || entries[2].Actor.Kind != "command_line" {
		t.Errorf("audit list prints %+v", entries)
	}
	sound := auditVerify(t, 0, "--data", dir)
	last := sound.Chains[len(sound.Chains)-1]
	if sound.FaultCount != 0 || len(sound.Faults) != 0 || last.APIKey != cl.APIKey || last.Entries != 3 || last.Removed != 0 || !strings.HasPrefix(last.Head, "1.3.") {
		t.Errorf("audit verify prints %+v", sound)
	}
	if code := srv.term(t); code != 0 {
		t.Fatalf("stop: %d: %s", code, srv.log)
	}
	for name, c := range map[string]struct{ sql, want string }{
		"changed": {"UPDATE audit SET actor_name = 'somebody else' WHERE key_no = 1 AND n = 2", "entry 2 of the audit log of API key 1 was changed"},
		"removed": {"DELETE FROM audit WHERE key_no = 1 AND n = 3", "entry 3 of the audit log of API key 1 is missing"},
		"added": {"INSERT INTO audit SELECT key_no, 4, at, action, actor_kind, actor_name, actor_address, subject, target, old_state, new_state, hash FROM audit WHERE key_no = 1 AND n = 3",
			"entry 4 of the audit log of API key 1 does not belong there"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := t.TempDir()
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			tamper(t, broken, c.sql)
			v := auditVerify(t, 1, "--data", broken)
			if v.FaultCount != 1 || len(v.Faults) != 1 || !strings.Contains(v.Faults[0], c.want) {
				t.Errorf("the faults are %q, want %q", v.Faults, c.want)
			}
			out, errs, code := run(t, "audit", "verify", "--data", broken)
			wantExit(t, "audit verify", code, 1, out+errs, "FAULT: "+c.want, "1 fault")
			out, errs, code = run(t, "fsck", "--data", broken)
			wantExit(t, "fsck", code, 1, out+errs, c.want)
		})
	}
}

// The options of a server are in the audit log when they are others than those of its last
// start, with secrets as hashes, and so is what the operator changes of its log. Both are in
// the chain that audit verify checks.
func TestOptionsAndLogLevelAreAudited(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Stop() })
	pg, keyset := db.Schema(t), filepath.Join(t.TempDir(), "keyset.json")
	for name, store := range map[string][]string{
		"SQLite":     {"--data", t.TempDir()},
		"PostgreSQL": {"--database-url", pg, "--secret-keys", keyset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(args ...string) *server {
				args = append(append([]string{"serve", "--listen", "127.0.0.1:0", "--log-level", "error"}, store...), args...)
				return listening(t, start(t, command(args...)))
			}
			stop := func(srv *server) {
				if code := srv.term(t); code != 0 {
					t.Errorf("stop: %d: %s", code, srv.log)
				}
			}
			const token, next = "a-hidden-token-of-the-operator", "the-next-hidden-token"
			stop(serve("--operator-token", token))
			stop(serve("--operator-token", token))
			srv := serve("--operator-token", next, "--retention", "3d")
			out, errs, code := run(t, "log-level", "debug", "--server", srv.url, "--operator-token", next)
			wantExit(t, "log-level", code, 0, out+errs)
			stop(srv)

			entries := auditList(t, store...)
			if len(entries) != 3 {
				t.Fatalf("%d entries, want 3: %+v", len(entries), entries)
			}
			level, changed, first := entries[0], entries[1], entries[2]
			host, _ := os.Hostname()
			if level.Action != "server.log_level_changed" || level.Before["log_level"] != "error" || level.After["log_level"] != "debug" || level.Actor.Kind != "operator" || level.Subject != host {
				t.Errorf("the entry about the log level is %+v", level)
			}
			if first.Action != "server.options_changed" || first.Before != nil || first.After["retention"] != "30d" || first.After["grace"] != "20s" || first.After["log-level"] != "error" {
				t.Errorf("the first start is %+v", first)
			}
			if changed.Action != "server.options_changed" || len(changed.Before) != 2 || len(changed.After) != 2 || changed.Before["retention"] != "30d" || changed.After["retention"] != "3d" ||
				changed.Before["operator-token"] != first.After["operator-token"] || changed.Before["operator-token"] == changed.After["operator-token"] ||
				changed.Actor.Kind != "command_line" || changed.Subject != host {
				t.Errorf("the start with other options is %+v", changed)
			}
			out, errs, code = run(t, append([]string{"audit", "list"}, store...)...)
			wantExit(t, "audit list", code, 0, out+errs, "operator-token: hmac-sha256:", "retention: 30d → 3d", "log_level: error → debug")
			for _, secret := range []string{token, next, pg} {
				if strings.Contains(out, secret) {
					t.Errorf("the log has the secret %q:\n%s", secret, out)
				}
			}
			if v := auditVerify(t, 0, store...); v.Entries != 3 || len(v.Chains) != 1 || v.Chains[0].APIKey != "" || v.FaultCount != 0 {
				t.Errorf("audit verify prints %+v", v)
			}
		})
	}
}
