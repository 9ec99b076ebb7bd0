package e2e

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/archive"
)

// The commands of an archive: their output and exit codes.
func TestArchiveCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "archive")
	_, errs, code := run(t, "archive", "verify", dir)
	wantExit(t, "no directory", code, 78, errs, "the archive cannot be read", "give the directory of `callbackd serve --archive`")
	w := archive.NewWriter(dir, func() string { return "local" })
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	id := callbackd.FirstEventID(at) + 1
	line := `{"api_key":"k","id":"` + id.String() + `","accepted_at":"2026-01-31T00:00:00Z","deliveries":[]}` + "\n"
	err := w.Add(at, func(to io.Writer) (archive.Added, error) {
		_, err := io.WriteString(to, line)
		return archive.Added{Counts: archive.Counts{Events: 1}, First: id, Last: id}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, errs, code := run(t, "archive", "verify", dir)
	wantExit(t, "a sound archive", code, 0, errs)
	wantExit(t, "its report", code, 0, out, "1 file,", "events: 1, deliveries: 0, attempts: 0, faults: 0")
	for since, want := range map[string]string{"2026-01-31T00:00:00Z": line, "2026-01-31T00:00:01Z": ""} {
		out, errs, code = run(t, "archive", "cat", dir, "--since", since, "--key", "k")
		if wantExit(t, "printing", code, 0, errs); out != want {
			t.Errorf("since %s it prints %q", since, out)
		}
	}
	tty := openTerminal(t)
	verify := command("archive", "verify", dir)
	tty.runClearing(t, verify)
	tty.until(t, "[..............................] 0/1 files")
	tty.until(t, "faults: 0")
	if err := verify.Wait(); err != nil {
		t.Error(err)
	}
	_, errs, code = run(t, "archive", "cat", dir, "--until", "soon")
	wantExit(t, "a wrong time", code, 78, errs, "--until")
	file := filepath.Join(dir, "2026-01-31.local.jsonl.zst")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code = run(t, "archive", "verify", dir)
	wantExit(t, "a flipped byte", code, 1, out+errs, "2026-01-31.local.jsonl.zst: has another SHA-256")
	out, _, code = run(t, "archive", "verify", dir, "--json")
	var r archive.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Message, "SHA-256") {
		t.Errorf("the report as JSON is %s, exit code %d, %v", out, code, err)
	}
	_, errs, code = run(t, "archive", "cat", dir)
	wantExit(t, "printing a damaged archive", code, 1, errs, "SHA-256")
}
