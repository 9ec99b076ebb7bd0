package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"callbackd/internal/doctor"
)

// The doctor runs beside a server, changes no file of it, and exits with 1 exactly when there
// is a problem.
func TestDoctor(t *testing.T) {
	t.Parallel()
	dir, srv, _ := begin(t, newSink(t))
	keyset := filepath.Join(dir, "secret-keys.json")
	problems := func(args ...string) (n int) {
		t.Helper()
		out, errs, code := run(t, append([]string{"doctor", "--json", "--data", dir, "--listen", srv.url[len("http://"):]}, args...)...)
		var r doctor.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s %s", err, out, errs)
		}
		if want := min(1, r.Problems); code != want {
			t.Errorf("exit code %d with %d problems", code, r.Problems)
		}
		return r.Problems
	}
	before := problems()
	if err := os.Chmod(keyset, 0o644); err != nil {
		t.Fatal(err)
	}
	if n := problems("--max-connections", "1"); n != before+2 {
		t.Errorf("%d problems with an open keyset and a wrong setting, and %d without", n, before)
	}
	wrong := command("doctor", "--data", dir)
	wrong.Env = append(wrong.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318")
	out, errs, code := runCmd(t, wrong)
	wantExit(t, "doctor", code, 1, out+errs, `problem  settings      OTEL_EXPORTER_OTLP_ENDPOINT is "localhost:4318"`)
	out, errs, code = run(t, "doctor", "--data", dir)
	wantExit(t, "doctor", code, 1, out+errs, "problem  permissions   the keyset "+keyset+" has the mode 0644", "→ chmod 600 "+keyset)
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	fsck(t, dir)
	tamper(t, dir, "UPDATE audit SET actor_name = 'nobody' WHERE key_no = 1 AND n = 1")
	out, errs, code = run(t, "doctor", "--data", dir)
	wantExit(t, "doctor", code, 1, out+errs, "problem  audit         entry 1 of the audit log of API key 1 was changed", "→ Somebody changed the database")
}
