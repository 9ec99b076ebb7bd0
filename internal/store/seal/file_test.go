package seal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"callbackd"
	"callbackd/internal/store/seal"
)

// must ends a test at an error, and returns the other result.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sealed seals a text.
func sealed(t *testing.T, s *seal.Sealer, text string) []byte {
	t.Helper()
	return must[[]byte](t)(s.Seal([]byte(text), "owner"))
}

func opens(t *testing.T, s *seal.Sealer, what string, value []byte, want string) {
	t.Helper()
	plain, err := s.Unseal(value, "owner")
	if err != nil || string(plain) != want {
		t.Errorf("%s opens as %q, %v; want %q", what, plain, err, want)
	}
}

// A server with an older copy of the file goes on, takes the new file, and never needs a
// restart.
func TestKeysAreReplacedInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	s := open(t, file)
	first := s.Keyset().Primary
	old := sealed(t, s, "old")
	second := must[callbackd.SealingKey](t)(seal.Add(file))
	for i, want := range []bool{true, false} {
		if changed, err := s.Reload(); changed != want || err != nil {
			t.Errorf("reload %d after a key was added: %v, %v", i, changed, err)
		}
	}
	if k := seal.KeyOf(sealed(t, s, "x")); k != first {
		t.Errorf("a key that was only added seals")
	}
	if err := seal.Promote(file, second); err != nil {
		t.Fatal(err)
	}
	// Another process seals with the new key, and this one has not looked at the file.
	other := open(t, file)
	value := sealed(t, other, "new")
	if k := seal.KeyOf(value); k != second {
		t.Errorf("sealed with the key %s after %s was promoted", k, second)
	}
	opens(t, s, "what the new key sealed", value, "new")
	opens(t, other, "what the old key sealed", old, "old")
	must[bool](t)(s.Reload())
	again := must[[]byte](t)(s.Reseal(old, "owner"))
	if seal.KeyOf(again) != second {
		t.Error("sealed again with the old key")
	}
	if same := must[[]byte](t)(s.Reseal(again, "owner")); same != nil {
		t.Error("the primary key's own value is sealed again")
	}
	if err := seal.Remove(file, first); err != nil {
		t.Fatal(err)
	}
	must[bool](t)(s.Reload())
	opens(t, s, "what was sealed again", again, "old")
	if _, err := s.Unseal(old, "owner"); err == nil || !strings.Contains(err.Error(), first.String()) || !strings.Contains(err.Error(), file) {
		t.Errorf("what a removed key sealed: %v; want the ID of the key and the file", err)
	}
	if keys := derive(t, s, "p"); len(keys) != 1 {
		t.Errorf("%d derived keys, want one", len(keys))
	}
}

// A file that cannot be used changes nothing.
func TestABadFileIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys.json")
	s := open(t, file)
	value := sealed(t, s, "text")
	right := must[[]byte](t)(os.ReadFile(file))
	stranger := filepath.Join(dir, "other.json")
	open(t, stranger)
	for what, content := range map[string][]byte{
		"half a file": right[:len(right)/2], "an empty file": nil, "another keyset": must[[]byte](t)(os.ReadFile(stranger)),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reload(); err == nil {
			t.Errorf("%s is taken", what)
		}
		opens(t, s, "a secret with "+what, value, "text")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(); err == nil {
		t.Error("a missing file is taken")
	}
	opens(t, s, "a secret without the file", value, "text")
	if err := os.WriteFile(file, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(); err != nil {
		t.Errorf("the right file again: %v", err)
	}
}

// A change keeps the owner of the file, also when root makes it, and other users get no
// access.
func TestAChangeKeepsTheOwner(t *testing.T) {
	owner := os.Getuid()
	if owner == 0 {
		owner = 65534
	}
	for mode, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o640, 0o644: 0o640} {
		file := filepath.Join(t.TempDir(), "keys.json")
		open(t, file)
		if err := errors.Join(os.Chown(file, owner, -1), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
		must[callbackd.SealingKey](t)(seal.Add(file))
		info := must[fs.FileInfo](t)(os.Stat(file))
		if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != owner || info.Mode().Perm() != want {
			t.Errorf("a file with %v of user %d became one with %v of user %d, want %v", mode, owner, info.Mode(), uid, want)
		}
	}
}

// A keyset behind a symbolic link is changed where it lies.
func TestALinkedKeysetIsChangedInPlace(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "keys.json"), filepath.Join(dir, "link.json")
	open(t, file)
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	id := must[callbackd.SealingKey](t)(seal.Add(link))
	if k := must[callbackd.Keyset](t)(seal.List(file)); !k.Has(id) {
		t.Error("the file does not have the key")
	}
	if info := must[fs.FileInfo](t)(os.Lstat(link)); info.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
}

// Two commands at the same time lose no key: one of them is refused.
func TestChangesAtTheSameTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	open(t, file)
	var work sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for range 16 {
		work.Go(func() {
			_, err := seal.Add(file)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				added++
			} else if callbackd.KindOf(err) != callbackd.KindConflict {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if k := must[callbackd.Keyset](t)(seal.List(file)); len(k.Keys) != added+1 {
		t.Errorf("%d keys after %d were added to one", len(k.Keys), added)
	}
	if err := os.WriteFile(file+".new", nil, 0o600); err != nil { // of a command that was killed
		t.Fatal(err)
	}
	if _, err := seal.Add(file); err == nil || !strings.Contains(err.Error(), "remove "+file+".new") {
		t.Errorf("%v; want what to remove", err)
	}
}

// A change that is impossible leaves the file as it was, and nothing beside it.
func TestAnImpossibleChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	s := open(t, file)
	before := must[[]byte](t)(os.ReadFile(file))
	if err := seal.Remove(file, s.Keyset().Primary); err == nil {
		t.Error("the primary key was removed")
	}
	if err := seal.Promote(file, 1); err == nil {
		t.Error("a key that does not exist was promoted")
	}
	if after := must[[]byte](t)(os.ReadFile(file)); string(after) != string(before) {
		t.Error("the file has changed")
	}
	if files := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(file))); len(files) != 1 {
		t.Errorf("%v, want the keyset only", files)
	}
}

// Secrets are sealed and opened while the file changes.
func TestReloadWhileInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	s := open(t, file)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 200 {
				value, err := s.Seal([]byte("x"), "o")
				if err == nil {
					_, err = s.Unseal(value, "o")
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := seal.Promote(file, must[callbackd.SealingKey](t)(seal.Add(file))); err != nil {
			t.Error(err)
		}
		must[bool](t)(s.Reload())
	}
	work.Wait()
}
