package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// manualPage is what scripts/release/release makes before the packages.
const manualPage = "man/callbackd.1.gz"

// release is what scripts/release/goreleaser.yaml says, as far as these tests look at it.
type release struct {
	Builds []struct {
		Env, Flags, Ldflags, Goos, Goarch []string
		ModTimestamp                      string `yaml:"mod_timestamp"`
	}
	NFPMs []struct {
		Formats  []string
		BinDir   string
		MTime    string
		Contents []struct {
			Src, Dst, Type string
			FileInfo       struct {
				Mode  int
				MTime string
			} `yaml:"file_info"`
		}
		Scripts map[string]string
	} `yaml:"nfpms"`
}

func readRelease(t *testing.T) (r release) {
	t.Helper()
	raw, err := os.ReadFile("../scripts/release/goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Builds) != 1 || len(r.NFPMs) != 1 {
		t.Fatalf("a release has %d builds and %d kinds of packages, want 1 and 1", len(r.Builds), len(r.NFPMs))
	}
	return r
}

// A package has what the units need, at the places that they name, and every time in it is
// that of the commit.
func TestPackagesHaveWhatTheUnitsNeed(t *testing.T) {
	t.Parallel()
	r := readRelease(t)
	p := r.NFPMs[0]
	if p.BinDir != "/usr/bin" {
		t.Errorf("the binary goes to %s: systemd looks for it in /usr/bin", p.BinDir)
	}
	const time = "{{ .CommitDate }}"
	if p.MTime != time {
		t.Errorf("the time of packages is %q, want %q", p.MTime, time)
	}
	at := map[string]string{}
	for _, c := range p.Contents {
		at[c.Dst] = c.Src
		if c.FileInfo.MTime != time {
			t.Errorf("%s has the time %q, want %q", c.Dst, c.FileInfo.MTime, time)
		}
		if c.Type != "dir" && c.Src != manualPage {
			if _, err := os.Stat(filepath.Join("..", c.Src)); err != nil {
				t.Error(err)
			}
		}
		if strings.HasSuffix(c.Dst, ".env") && (c.FileInfo.Mode != 0o600 || c.Type != "config|noreplace") {
			t.Errorf("%s has the mode %o and the type %s: settings may hold secrets, and an upgrade must leave them", c.Dst, c.FileInfo.Mode, c.Type)
		}
	}
	script, err := os.ReadFile("../scripts/release/release")
	if err != nil || !strings.Contains(string(script), "callbackd man | gzip -n -9 >"+manualPage) || at["/usr/share/man/man1/callbackd.1.gz"] != manualPage {
		t.Errorf("the packages have no manual page that the release makes: %v", err)
	}
	for _, name := range []string{"callbackd.service", "callbackd@.service"} {
		if at["/usr/lib/systemd/system/"+name] != "deploy/systemd/"+name {
			t.Errorf("%s is not in the package", name)
		}
		u := unit(t, name)
		if !strings.HasPrefix(u["ExecStart"][0], "callbackd ") {
			t.Errorf("%s starts %s: a package and an installation by hand have it at different places", name, u["ExecStart"][0])
		}
		if env := strings.TrimPrefix(u["EnvironmentFile"][0], "-"); at[env] != "deploy/systemd/callbackd.env" {
			t.Errorf("%s reads %s, which is not in the package", name, env)
		}
	}
	for when, script := range p.Scripts {
		if err := exec.Command("sh", "-n", filepath.Join("..", script)).Run(); err != nil {
			t.Errorf("the script of %s: %s: %v", when, script, err)
		}
	}
}

// packageScript runs a script of the packages on a system with systemd and a running node,
// and returns what it calls.
func packageScript(t *testing.T, name string, userExists bool, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	status := "1"
	if userExists {
		status = "0"
	}
	for tool, does := range map[string]string{
		"getent":    "exit " + status,
		"useradd":   "echo useradd >> " + calls,
		"systemctl": `case "$1" in list-units) printf 'callbackd@8080.service loaded active running x\ncallbackd@8081.service loaded active running x\n' ;; *) echo "$@" >> ` + calls + " ;; esac",
	} {
		if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+does+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(deployed + "packages/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "/run/systemd/system", dir)
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", text, name}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	said, err := os.ReadFile(calls)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(said)), "\n")
}

// An installation makes the user and starts nothing. An upgrade restarts what runs, node
// after node. Only a removal stops servers.
func TestPackageScripts(t *testing.T) {
	t.Parallel()
	restarts := []string{"daemon-reload", "try-restart callbackd.service", "try-restart callbackd@8080.service", "try-restart callbackd@8081.service"}
	stops := []string{"disable --now callbackd.service", "disable --now callbackd@8080.service", "disable --now callbackd@8081.service"}
	for _, c := range []struct {
		script string
		user   bool
		args   []string
		want   []string
	}{
		{"postinstall.sh", false, []string{"configure", ""}, append([]string{"useradd"}, restarts...)},
		{"postinstall.sh", true, []string{"configure", "0.1.0"}, restarts},
		{"postinstall.sh", true, []string{"2"}, restarts},
		{"preremove.sh", true, []string{"upgrade", "0.1.1"}, nil},
		{"preremove.sh", true, []string{"1"}, nil},
		{"preremove.sh", true, []string{"remove"}, stops},
		{"preremove.sh", true, []string{"0"}, stops},
		{"postremove.sh", true, []string{"remove"}, []string{"daemon-reload"}},
	} {
		if got := packageScript(t, c.script, c.user, c.args...); !slices.Equal(got, c.want) {
			t.Errorf("%s %q calls %q, want %q", c.script, c.args, got, c.want)
		}
	}
}

// The binary of a release has the same bytes, whichever folder it is built in, and says which
// commit it is of.
func TestTheBinaryOfAReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	b := readRelease(t).Builds[0]
	if !slices.Equal(b.Goos, []string{"linux", "darwin", "windows"}) || !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("a release is for %q on %q", b.Goos, b.Goarch)
	}
	if b.ModTimestamp != "{{ .CommitTimestamp }}" {
		t.Errorf("the time of the binary is %q", b.ModTimestamp)
	}
	flags := append([]string{"build"}, b.Flags...)
	ldflags := strings.NewReplacer("{{ .FullCommit }}", "0123456789", "{{ .CommitDate }}", "2026-11-30T00:00:00Z").Replace(strings.Join(b.Ldflags, " "))
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "a folder with a longer name", "callbackd")
	copySource(t, here, elsewhere)
	var made [][]byte
	for _, folder := range []string{here, elsewhere} {
		bin := filepath.Join(t.TempDir(), "callbackd")
		cmd := exec.CommandContext(t.Context(), "go", append(slices.Clone(flags), "-ldflags="+ldflags, "-o", bin, "./cmd/callbackd")...)
		cmd.Dir, cmd.Env = folder, append(append(os.Environ(), "GOFLAGS="), b.Env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		content, err := os.ReadFile(bin)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, content)
		if out, _, _ := runCmd(t, by(bin, command("--version"))); !strings.Contains(out, "(commit 0123456789, 2026-11-30T00:00:00Z, ") {
			t.Errorf("it says %q", out)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Errorf("two builds of %d and %d bytes differ", len(made[0]), len(made[1]))
	}
	if bytes.Contains(made[0], []byte(here+"/")) {
		t.Errorf("the binary names the folder %s", here)
	}
}

// copySource copies what Git has of the project, without tests.
func copySource(t *testing.T, from, to string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--", "*.go", "go.mod", "go.sum", "internal", "cmd", "wire", "client", "docs")
	list.Dir = from
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
			continue
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(from, name), target)
	}
}
