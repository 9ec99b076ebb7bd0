package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The names of files that somebody put into an archive cannot control a terminal, nor can
// anything else that an error quotes.
func TestNamesInAnArchiveAreSafeToShow(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "\x1b[31mx\n.jsonl.zst"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "\x1b[31my.manifest.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"verify", "cat"} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), []string{"archive", command, dir}, &out, &errs)
		shown := out.String() + errs.String()
		if code != exitFailed || !strings.Contains(shown, "has no manifest") || strings.Contains(shown, "\x1b") {
			t.Errorf("archive %s ends with %d and shows %q", command, code, shown)
		}
	}
}
