package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
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

// Every option of every command has a line of help, an environment twin that
// the line names, and, when it is a secret, a twin that names a file.
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
