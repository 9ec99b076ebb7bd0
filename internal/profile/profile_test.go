package profile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"callbackd"
)

var some = Profile{Server: "http://127.0.0.1:8080", Account: "acme", APIKey: "k", APISecret: "s"}

// written returns a folder with the profile p.
func written(t *testing.T) Folder {
	t.Helper()
	d := Folder(filepath.Join(t.TempDir(), "a", "profiles"))
	if err := d.Write("p", some); err != nil {
		t.Fatal(err)
	}
	return d
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOnlyTheUserReadsAProfile(t *testing.T) {
	d := written(t)
	for path, want := range map[string]fs.FileMode{d.Path("p"): 0o600, string(d): 0o700, filepath.Dir(string(d)): 0o700} {
		if got := mode(t, path); got != want {
			t.Errorf("%s has the mode %o, want %o", path, got, want)
		}
	}
	if got, err := d.Read("p"); got != some || err != nil {
		t.Errorf("it reads %+v, %v", got, err)
	}
	if err := os.Chmod(string(d), 0o755); err != nil {
		t.Fatal(err)
	}
	other := some
	other.APISecret = "other"
	if err := d.Write("p", other); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, string(d)); got != 0o700 {
		t.Errorf("the folder keeps the mode %o", got)
	}
	if got, err := d.Read("p"); got != other || err != nil {
		t.Errorf("it reads %+v, %v after a change", got, err)
	}
	entries, err := os.ReadDir(string(d))
	if len(entries) != 1 || err != nil {
		t.Errorf("the folder has %v, %v: want the profile alone", entries, err)
	}
}

func TestAProfileThatOthersCanReadIsRefused(t *testing.T) {
	for _, m := range []fs.FileMode{0o644, 0o640, 0o620, 0o604, 0o610} {
		d := written(t)
		if err := os.Chmod(d.Path("p"), m); err != nil {
			t.Fatal(err)
		}
		_, err := d.Read("p")
		if callbackd.KindOf(err) != callbackd.KindSetting || !strings.Contains(err.Error(), "chmod 600 '"+d.Path("p")+"'") {
			t.Errorf("%o: %v", m, err)
		}
		if err != nil && strings.Contains(err.Error(), some.APISecret+"\"") {
			t.Errorf("the message has the secret: %v", err)
		}
	}
}

// A link cannot hide that others can read the file.
func TestALinkToAFileThatOthersCanReadIsRefused(t *testing.T) {
	d := written(t)
	if err := os.Chmod(d.Path("p"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d.Path("p"), d.Path("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("link"); err == nil {
		t.Error("it is read")
	}
}

func TestWhatIsNoProfileIsRefused(t *testing.T) {
	d := written(t)
	for _, text := range []string{"", "{", "[]", "{}", `{"server":"http://x","account":"a","api_key":"k"}`, `{"server":1}`, strings.Repeat("x", 2*maxFile)} {
		if err := os.WriteFile(d.Path("p"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read("p"); callbackd.KindOf(err) != callbackd.KindSetting || !strings.Contains(err.Error(), "callbackd login --profile p") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if err := os.Mkdir(d.Path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("folder"); callbackd.KindOf(err) != callbackd.KindSetting {
		t.Errorf("a folder: %v", err)
	}
}

func TestNamesOfProfiles(t *testing.T) {
	d := written(t)
	for _, name := range []string{"", ".", "..", ".p", "a/b", `a\b`, "-p", "a b", "ä", "p\n", strings.Repeat("p", 65)} {
		_, read := d.Read(name)
		for what, err := range map[string]error{"read": read, "write": d.Write(name, some), "remove": d.Remove(name)} {
			if callbackd.KindOf(err) != callbackd.KindSetting {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"a.json", "Z_9-", strings.Repeat("p", 64)} {
		if err := d.Write(name, some); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, other := range []string{"note.txt", ".p-1", " .json"} {
		if err := os.WriteFile(filepath.Join(string(d), other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Names()
	if want := []string{"Z_9-", "a.json", "p", strings.Repeat("p", 64)}; !slices.Equal(slices.Sorted(slices.Values(got)), want) || err != nil {
		t.Errorf("it lists %v, %v; want %v", got, err, want)
	}
}

func TestAProfileThatIsNotThere(t *testing.T) {
	d := Folder(filepath.Join(t.TempDir(), "nowhere"))
	if _, err := d.Read("p"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if err := d.Remove("p"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove: %v", err)
	}
	if names, err := d.Names(); len(names) != 0 || err != nil {
		t.Errorf("list: %v, %v", names, err)
	}
	d = written(t)
	if err := d.Remove("p"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("p"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read after remove: %v", err)
	}
}
