package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func model(t *testing.T) *kong.Application {
	t.Helper()
	k, err := newParser(&root{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return k.Model
}

func help(t *testing.T, command string) string {
	t.Helper()
	var out strings.Builder
	if code := Main(t.Context(), append(strings.Fields(command), "--help"), &out, io.Discard); code != 0 {
		t.Fatalf("%s --help: %d", command, code)
	}
	return out.String()
}

// Every option of every command has a line of help and a variable that the line
// names; a secret also has a variable that names a file.
func TestEveryOptionHasItsTwinsAndItsHelp(t *testing.T) {
	var walk func(n *kong.Node)
	seen := 0
	walk = func(n *kong.Node) {
		for _, child := range n.Children {
			walk(child)
		}
		if len(n.Children) > 0 {
			return
		}
		text := help(t, strings.TrimPrefix(n.FullPath(), "callbackd "))
		for _, f := range n.Flags {
			if f.Name == "help" {
				continue
			}
			seen++
			if f.Help == "" || len(f.Envs) != 1 || !strings.HasPrefix(f.Envs[0], "CALLBACKD_") || !strings.Contains(text, "--"+f.Name) || !strings.Contains(text, f.Envs[0]) {
				t.Errorf("%s --%s: help %q, environment %v", n.FullPath(), f.Name, f.Help, f.Envs)
				continue
			}
			twin := strings.Contains(text, f.Envs[0]+fileSuffix)
			if secret := f.Tag.Has(secretTag); secret != twin {
				t.Errorf("%s --%s: secret %v, and the help names a file twin: %v", n.FullPath(), f.Name, secret, twin)
			}
			if strings.HasSuffix(f.Name, "secret") && !twin {
				t.Errorf("%s --%s is a secret that cannot be read from a file", n.FullPath(), f.Name)
			}
		}
	}
	walk(model(t).Node)
	if seen < 30 {
		t.Errorf("only %d options were seen", seen)
	}
}

// A variable that is set for one command is read by the others too: it must
// mean the same to all of them.
func TestOneVariableHasOneMeaning(t *testing.T) {
	first := map[string]*kong.Flag{}
	flags(model(t).Node, func(f *kong.Flag) {
		for _, name := range f.Envs {
			if g := first[name]; g != nil && (g.Name != f.Name || g.Default != f.Default || g.Target.Type() != f.Target.Type()) {
				t.Errorf("%s is --%s, %v, default %q, and elsewhere --%s, %v, default %q", name, g.Name, g.Target.Type(), g.Default, f.Name, f.Target.Type(), f.Default)
			}
			first[name] = f
		}
	})
}

// A command that works on what is there makes no data directory where there
// is none: a typing error in --data would leave one behind.
func TestOnlyCreatingAKeyMakesADataDirectory(t *testing.T) {
	for _, command := range []string{"keys list", "keys rotate k", "keys revoke k", "console", "fsck", "backup --to " + filepath.Join(t.TempDir(), "copy")} {
		dir := filepath.Join(t.TempDir(), "typo")
		var stderr strings.Builder
		code := Main(t.Context(), append(strings.Fields(command), "--data", dir), io.Discard, &stderr)
		if _, err := os.Stat(dir); code != exitSetting || !strings.Contains(stderr.String(), "is not a data directory") || err == nil {
			t.Errorf("%s: %d, %q; the directory: %v", command, code, stderr.String(), err)
		}
	}
}

// An option and a variable that were renamed still work under their old names,
// which no help shows.
func TestOldNamesOfOptionsStillWork(t *testing.T) {
	call := []string{"--account", "a", "--key", "k", "--secret", "s"}
	for _, c := range []struct {
		command        []string
		old, now       string
		value          string
		oldEnv, nowEnv string
	}{
		{[]string{"serve"}, "keep", "retention", "2d", "CALLBACKD_KEEP", "CALLBACKD_RETENTION"},
		{[]string{"keys", "rotate", "k"}, "keep", "overlap", "3h", "CALLBACKD_ROTATE_KEEP", "CALLBACKD_ROTATE_OVERLAP"},
		{[]string{"keys", "create", "--account", "a"}, "expires", "sessions-expire-after", "9d", "CALLBACKD_EXPIRES", "CALLBACKD_SESSIONS_EXPIRE_AFTER"},
		{append([]string{"simulate"}, call...), "server", "url", "http://127.0.0.1:1", "CALLBACKD_SERVER", "CALLBACKD_URL"},
		{append([]string{"simulate"}, call...), "expire", "abandon", "0.25", "CALLBACKD_EXPIRE", "CALLBACKD_ABANDON"},
	} {
		// parse returns the value that the option has after the command line.
		parse := func(t *testing.T, args ...string) string {
			t.Helper()
			k, err := newParser(&root{}, io.Discard, io.Discard, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := k.Parse(append(slices.Clone(c.command), args...))
			if err != nil {
				t.Fatal(err)
			}
			for _, flags := range parsed.Selected().AllFlags(false) {
				for _, f := range flags {
					if f.Name == c.now {
						return fmt.Sprint(parsed.FlagValue(f))
					}
				}
			}
			t.Fatalf("no option --%s", c.now)
			return ""
		}
		t.Run(c.old+" of "+c.command[0], func(t *testing.T) {
			want := parse(t, "--"+c.now, c.value)
			if got := parse(t, "--"+c.old, c.value); got != want {
				t.Errorf("--%s %s is %s, want %s as for --%s", c.old, c.value, got, want, c.now)
			}
			t.Setenv(c.nowEnv, "")
			t.Setenv(c.oldEnv, c.value)
			if err := adoptOldNames(); err != nil {
				t.Fatal(err)
			}
			if got := parse(t); got != want {
				t.Errorf("%s=%s is %s, want %s as for --%s", c.oldEnv, c.value, got, want, c.now)
			}
			if text := help(t, strings.Join(c.command[:len(c.command)], " ")); strings.Contains(text, "--"+c.old+"=") || strings.Contains(text, "$"+c.oldEnv+")") {
				t.Errorf("the help shows the old name:\n%s", text)
			}
			if err := checkEnvironment(model(t), []string{c.oldEnv + "=" + c.value}); err != nil {
				t.Errorf("%s is refused: %v", c.oldEnv, err)
			}
		})
	}
}

func TestAnOldAndANewNameThatDifferAreRefused(t *testing.T) {
	t.Setenv("CALLBACKD_KEEP", "1d")
	t.Setenv("CALLBACKD_RETENTION", "2d")
	want := "unset CALLBACKD_KEEP"
	if err := adoptOldNames(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want one with %q", err, want)
	}
}

// The table of options in docs/operating.md is the one of `serve --help`.
func TestOperatingNamesEveryOptionOfServe(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // flag to its row
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` .*$").FindAllStringSubmatch(string(raw), -1) {
		documented[row[1]] = row[0]
	}
	for _, n := range model(t).Children {
		if n.Name != "serve" {
			continue
		}
		for _, f := range n.Flags {
			row := documented[f.Name]
			delete(documented, f.Name)
			if f.Name == "help" {
				continue
			}
			if row == "" || !strings.Contains(row, "| `"+f.Envs[0]+"` |") || f.HasDefault && !strings.Contains(row, "| `"+f.Default+"` |") {
				t.Errorf("--%s, %v, default %q: the row is %q", f.Name, f.Envs, f.Default, row)
			}
		}
	}
	for name := range documented {
		t.Errorf("--%s is documented and is no option", name)
	}
}

func TestUnknownEnvironmentIsRefused(t *testing.T) {
	for v, want := range map[string]string{
		"CALLBACKD_LISTN=x":                 "did you mean CALLBACKD_LISTEN?",
		"CALLBACKD_GRACE_PERIOD=1s":         "CALLBACKD_GRACE_PERIOD",
		"CALLBACKD_LISTEN_FILE=x":           "CALLBACKD_LISTEN_FILE",
		"CALLBACKD_=x":                      "CALLBACKD_",
		"CALLBACKD_GRACE=1s":                "",
		"CALLBACKD_KEY=of-another-command":  "",
		"CALLBACKD_WEBHOOK_SECRET_FILE=f":   "",
		"CALLBACKD_SERVICE_HOST=10.0.0.1":   "",
		"CALLBACKD_SERVICE_PORT_HTTP=8080":  "",
		"CALLBACKD_PORT=tcp://10.0.0.1:80":  "",
		"CALLBACKD_PORT_80_TCP_ADDR=1.2.3.": "",
		"PATH=/bin":                         "",
	} {
		err := checkEnvironment(model(t), []string{v})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", v, err, want)
		}
	}
}
