package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"callbackd/internal/store/postgres/pgtest"
)

// howtoBlock finds a block of commands of a page, and the block after it that shows what
// they print, if there is one.
var howtoBlock = regexp.MustCompile("(?s)```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?")

// TestHowToPagesWorkAsPrinted runs the commands of each page in docs/howto, and of
// docs/troubleshooting.md, in order, in
// one bash, against a new server. What a page shows after a block must be in what the
// block prints, line by line; "…" stands for anything.
func TestHowToPagesWorkAsPrinted(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/howto/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../docs/troubleshooting.md")
	run := 0
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		steps := howtoBlock.FindAllStringSubmatch(string(raw), -1)
		if len(steps) == 0 {
			continue // the list of pages
		}
		run++
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			followPage(t, steps, filesOf(string(raw)))
		})
	}
	if run == 0 {
		t.Error("no page has commands")
	}
}

// namedFile finds a file that a page has the reader save: its name in a line of its own,
// and its content in the block after it.
var namedFile = regexp.MustCompile("(?s)\n`([a-zA-Z.]+)`:\n\n```[a-z]+\n(.*?)```")

// filesOf returns the files that a page has the reader save, by name.
func filesOf(page string) map[string]string {
	files := map[string]string{}
	for _, m := range namedFile.FindAllStringSubmatch(page, -1) {
		files[m[1]] = m[2]
	}
	return files
}

// followPage runs the steps of a page, in a folder with its files. Each step is its text,
// the commands, and what they print.
func followPage(t *testing.T, steps [][]string, files map[string]string) {
	dir, out, home := t.TempDir(), t.TempDir(), t.TempDir()
	srv, cl := serve(t, dir), newClient(t, dir)
	ports := strings.NewReplacer("9000", freePort(t), "9001", freePort(t), "9002", freePort(t))
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(home, name), []byte(ports.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "set -euo pipefail\ncd '" + home + "'\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"
	for i, step := range steps {
		script += fmt.Sprintf("{\n%s} > '%s/%d'\n", ports.Replace(step[1]), out, i)
	}
	database := ""
	if strings.Contains(script, "$DATABASE_URL") {
		pg, err := pgtest.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pg.Stop)
		database = pg.Database(t)
	}
	cmd := bash(t, script, "DATABASE_URL="+database, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "CALLBACKD_URL="+srv.url, "CALLBACKD_DATA="+dir, "XDG_CONFIG_HOME="+filepath.Join(home, "config"),
		"CALLBACKD_ACCOUNT="+cl.Account, "CALLBACKD_KEY="+cl.APIKey, "CALLBACKD_SECRET="+cl.APISecret)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	for i, step := range steps {
		printed, err := os.ReadFile(fmt.Sprintf("%s/%d", out, i))
		if err != nil {
			t.Fatalf("the commands were not run:\n%s", step[1])
		}
		for line := range strings.Lines(step[2]) {
			want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), "…", ".*")
			if !regexp.MustCompile(want).Match(printed) {
				t.Errorf("the page shows %q, and these commands\n%s\nprint\n%s", strings.TrimSpace(line), step[1], printed)
			}
		}
	}
}
