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

// commands returns the commands that have no subcommands.
func commands(n *kong.Node) (leaves []*kong.Node) {
	if len(n.Children) == 0 {
		return []*kong.Node{n}
	}
	for _, child := range n.Children {
		leaves = append(leaves, commands(child)...)
	}
	return leaves
}

// Every option of every command has help and a variable that the help names. A secret
// also has a variable that names a file.
func TestEveryOptionHasAVariableAndHelp(t *testing.T) {
	seen := 0
	for _, command := range commands(model(t).Node) {
		text := help(t, strings.TrimPrefix(command.FullPath(), "callbackd "))
		for _, f := range command.Flags {
			if f.Name == "help" {
				continue
			}
			seen++
			for _, fault := range optionFaults(f, text) {
				t.Errorf("%s --%s: %s", command.FullPath(), f.Name, fault)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d options were seen", seen)
	}
}

// optionFaults returns what is wrong with an option and with the help of its command.
func optionFaults(f *kong.Flag, help string) (faults []string) {
	if len(f.Envs) != 1 || !strings.HasPrefix(f.Envs[0], "CALLBACKD_") {
		return []string{fmt.Sprintf("its variables are %v, want one CALLBACKD_…", f.Envs)}
	}
	if f.Help == "" {
		faults = append(faults, "it has no help")
	}
	for _, want := range []string{"--" + f.Name, f.Envs[0]} {
		if !strings.Contains(help, want) {
			faults = append(faults, "the help does not name "+want)
		}
	}
	isSecret := f.Tag.Has(secretTag)
	if namesFile := strings.Contains(help, f.Envs[0]+fileSuffix); namesFile != isSecret {
		faults = append(faults, fmt.Sprintf("it may be secret: %v, and the help names a variable for a file: %v", isSecret, namesFile))
	}
	if strings.HasSuffix(f.Name, "secret") && !isSecret {
		faults = append(faults, "it is a secret that cannot be read from a file")
	}
	return faults
}

// A variable that is set for one command is read by the others too, so it must mean
// the same to all of them.
func TestOneVariableHasOneMeaning(t *testing.T) {
	first := map[string]*kong.Flag{}
	flags(model(t).Node, func(f *kong.Flag) {
		for _, name := range f.Envs {
			if g := first[name]; g != nil {
				equal := func(what, got, want string) {
					if got != want {
						t.Errorf("%s: the %s is %q for one command and %q for another", name, what, want, got)
					}
				}
				equal("option", f.Name, g.Name)
				equal("default", f.Default, g.Default)
				equal("type", f.Target.Type().String(), g.Target.Type().String())
			}
			first[name] = f
		}
	})
}

// Commands that need a data directory do not create one. A typing error in --data
// would leave it behind.
func TestOnlyCreatingAKeyMakesADataDirectory(t *testing.T) {
	for _, command := range []string{"keys list", "keys rotate k", "keys revoke k", "console", "fsck", "backup --to " + filepath.Join(t.TempDir(), "copy")} {
		t.Run(command, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "typo")
			var stderr strings.Builder
			code := Main(t.Context(), append(strings.Fields(command), "--data", dir), io.Discard, &stderr)
			if code != exitSetting {
				t.Errorf("the exit code is %d, want %d", code, exitSetting)
			}
			if want := "is not a data directory"; !strings.Contains(stderr.String(), want) {
				t.Errorf("the message is %q, want one with %q", stderr.String(), want)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the directory was created: %v", err)
			}
		})
	}
}

// renamed is an option that had another name.
type renamed struct {
	command        []string
	old, now       string
	value          string
	oldEnv, nowEnv string
}

var renamedOptions = []renamed{
	{[]string{"serve"}, "keep", "retention", "2d", "CALLBACKD_KEEP", "CALLBACKD_RETENTION"},
	{[]string{"keys", "rotate", "k"}, "keep", "overlap", "3h", "CALLBACKD_ROTATE_KEEP", "CALLBACKD_ROTATE_OVERLAP"},
	{[]string{"keys", "create", "--account", "a"}, "expires", "sessions-expire-after", "9d", "CALLBACKD_EXPIRES", "CALLBACKD_SESSIONS_EXPIRE_AFTER"},
	{[]string{"simulate", "--account", "a", "--key", "k", "--secret", "s"}, "url", "server", "http://127.0.0.1:1", "CALLBACKD_SERVER", "CALLBACKD_URL"},
	{[]string{"simulate", "--account", "a", "--key", "k", "--secret", "s"}, "expire", "abandon", "0.25", "CALLBACKD_EXPIRE", "CALLBACKD_ABANDON"},
}

// valueOf returns the value that the option has with these further arguments.
func (r renamed) valueOf(t *testing.T, args ...string) string {
	t.Helper()
	k, err := newParser(&root{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := k.Parse(append(slices.Clone(r.command), args...))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range slices.Concat(parsed.Selected().AllFlags(false)...) {
		if f.Name == r.now {
			return fmt.Sprint(parsed.FlagValue(f))
		}
	}
	t.Fatalf("there is no option --%s", r.now)
	return ""
}

func TestOldNamesOfOptionsStillWork(t *testing.T) {
	for _, r := range renamedOptions {
		t.Run(r.old+" of "+r.command[0], func(t *testing.T) {
			want := r.valueOf(t, "--"+r.now, r.value)
			if got := r.valueOf(t, "--"+r.old, r.value); got != want {
				t.Errorf("--%s %s is %s, want %s as for --%s", r.old, r.value, got, want, r.now)
			}
		})
	}
}

func TestOldNamesOfVariablesStillWork(t *testing.T) {
	for _, r := range renamedOptions {
		t.Run(r.oldEnv, func(t *testing.T) {
			want := r.valueOf(t, "--"+r.now, r.value)
			t.Setenv(r.nowEnv, "")
			t.Setenv(r.oldEnv, r.value)
			if err := adoptOldNames(); err != nil {
				t.Fatal(err)
			}
			if got := r.valueOf(t); got != want {
				t.Errorf("%s=%s is %s, want %s as for --%s", r.oldEnv, r.value, got, want, r.now)
			}
			if err := checkEnvironment(model(t), []string{r.oldEnv + "=" + r.value}); err != nil {
				t.Errorf("%s is refused: %v", r.oldEnv, err)
			}
		})
	}
}

func TestHelpDoesNotShowOldNames(t *testing.T) {
	for _, r := range renamedOptions {
		text := help(t, strings.Join(r.command, " "))
		for _, old := range []string{"--" + r.old + "=", "$" + r.oldEnv + ")"} {
			if strings.Contains(text, old) {
				t.Errorf("the help of %s shows %s", r.command[0], old)
			}
		}
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
			if row == "" {
				t.Errorf("--%s is not documented", f.Name)
				continue
			}
			if cell := "| `" + f.Envs[0] + "` |"; !strings.Contains(row, cell) {
				t.Errorf("--%s: the row has no %q: %q", f.Name, cell, row)
			}
			if cell := "| `" + f.Default + "` |"; f.HasDefault && !strings.Contains(row, cell) {
				t.Errorf("--%s: the row has no %q: %q", f.Name, cell, row)
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

// The variable of the key with which a key holder signs in narrows no command of the operator: an export of
// the settings would have one API key only, and to apply it with --prune would revoke the others.
func TestTheVariableOfAnAPIKeyOnlySignsIn(t *testing.T) {
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			if slices.Contains(f.Envs, "CALLBACKD_KEY") && f.Help != "API key." {
				t.Errorf("%s --%s takes CALLBACKD_KEY, and means %q", n.FullPath(), f.Name, f.Help)
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(model(t).Node)
}

// What is missing is named with the variable that gives it too.
func TestAMissingOptionIsNamedWithItsVariable(t *testing.T) {
	t.Setenv("CALLBACKD_ROLE", "")
	for want, args := range map[string][]string{
		"callbackd: missing flags: --token=TOKEN; or set CALLBACKD_ADMIN_TOKEN; see `callbackd erase all --help`\n":  {"erase", "all"},
		"callbackd: missing flags: --role=TOKEN-ROLE; or set CALLBACKD_ROLE; see `callbackd tokens create --help`\n": {"tokens", "create", "--name", "x"},
		"callbackd: expected \"<event> <receiver>\"; see `callbackd callbacks create --help`\n":                      {"callbacks", "create"},
	} {
		var out, errs strings.Builder
		if code := Main(t.Context(), args, &out, &errs); code != exitSetting || errs.String() != want {
			t.Errorf("%v: %d, %q, want %q", args, code, errs.String(), want)
		}
	}
}
