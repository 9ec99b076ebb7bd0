package sqlite

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"
)

// tree returns everything about the files of a directory: names, bytes, modes, owners and
// times.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		sum := ""
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = fmt.Sprintf("%x", sha256.Sum256(raw))
		}
		fmt.Fprintln(&out, path, info.Mode(), st.Uid, st.Gid, st.Ino, info.ModTime().UnixNano(), sum)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// killed returns a copy of a directory as a killed server leaves it: the last commands
// are only in the log.
func killed(t *testing.T) string {
	t.Helper()
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "killed")
	s := open(t, Options{Dir: dir})
	defer s.Close()
	storetest.Use(t, s, 3, 60)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(copied, dbFile+"-shm"))
	if size(filepath.Join(copied, dbFile+"-wal")) == 0 {
		t.Fatal("the log is empty, so the test would prove nothing")
	}
	return copied
}

// look runs everything that commands do which only read.
func look(t *testing.T, dir string) (*store.Report, error) {
	t.Helper()
	s, err := Inspect(Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if _, err := s.ListKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "new"}); callbackd.KindOf(err) != callbackd.KindConflict {
		t.Errorf("a key was made: %v", err)
	}
	r, err := s.Check(t.Context())
	return r, errors.Join(err, s.Close())
}

// Commands that only read change no byte and no file time, whether the server was stopped
// or killed, and they see everything that it stored.
func TestReadingCommandsChangeNothing(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"stopped": used(t), "killed": killed(t)} {
		before := tree(t, dir)
		r, err := look(t, dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.FaultN > 0 {
			t.Errorf("%s: the check finds %q", name, r.Faults)
		}
		if r.Events < 30 {
			t.Errorf("%s: %d events are seen, want 30 or more", name, r.Events)
		}
		to := filepath.Join(t.TempDir(), "copy")
		if _, err := Backup(t.Context(), Options{Dir: dir}, to, true); err != nil {
			t.Errorf("%s: backup: %v", name, err)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%s:\n%sand then\n%s", name, before, after)
		}
		again, err := look(t, to)
		if err != nil {
			t.Fatalf("%s: the copy: %v", name, err)
		}
		if again.Events != r.Events {
			t.Errorf("%s: the copy has %d events, want %d", name, again.Events, r.Events)
		}
		s := open(t, Options{Dir: dir})
		after, err := s.Check(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if after.Events != r.Events {
			t.Errorf("%s: the command saw %d events, want %d", name, r.Events, after.Events)
		}
		s.Close()
	}
}

// changed returns a copy of a stopped server's directory that f has changed.
func changed(t *testing.T, good string, f func(dir string)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
		t.Fatal(err)
	}
	f(dir)
	return dir
}

// withFile replaces the database by a file with the content.
func withFile(t *testing.T, good, content string) string {
	return changed(t, good, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, dbFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// withDatabase replaces the database by another one.
func withDatabase(t *testing.T, good, sql string) string {
	return changed(t, good, func(dir string) {
		os.Remove(filepath.Join(dir, dbFile))
		addSQL(t, dir, sql)
	})
}

// A directory without a store is refused by commands and by servers, and
// commands leave it as it was.
func TestADirectoryWithoutAStoreIsRefused(t *testing.T) {
	good := used(t)
	for _, tt := range []struct {
		what, dir string
		want      string // part of a server's error
	}{
		{"an empty file and a keyset", withFile(t, good, ""), "its database is empty"},
		{"a keyset without a database", changed(t, good, func(dir string) { os.Remove(filepath.Join(dir, dbFile)) }), "its database is missing"},
		{"an empty database and a keyset", withDatabase(t, good, "PRAGMA user_version = 0; CREATE TABLE t (x); DROP TABLE t"), "its database is empty"},
		{"another program's database", withDatabase(t, good, "CREATE TABLE t (x)"), "another program"},
		{"another program's database with a version", withDatabase(t, good, "CREATE TABLE events (x); PRAGMA user_version = 2"), "another program"},
		{"a text file", withFile(t, good, strings.Repeat("no database ", 1000)), "cannot be used"},
		{"a newer version", changed(t, good, func(dir string) { addSQL(t, dir, "PRAGMA user_version = 999") }), "newer callbackd"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			before := tree(t, tt.dir)
			_, err := look(t, tt.dir)
			isSetting(t, "a command that reads", err, "")
			_, err = Backup(t.Context(), Options{Dir: tt.dir}, filepath.Join(t.TempDir(), "b"), true)
			isSetting(t, "a backup", err, "")
			unchanged(t, tt.dir, before)
			_, err = Open(t.Context(), Options{Dir: tt.dir})
			isSetting(t, "a server", err, tt.want)
			_, err = Open(t.Context(), Options{Dir: tt.dir, Secondary: true})
			isSetting(t, "a command that writes", err, tt.want)
		})
	}
}

// isSetting checks that an error is about the settings and has the text.
func isSetting(t *testing.T, who string, err error, want string) {
	t.Helper()
	if callbackd.KindOf(err) != callbackd.KindSetting || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: the error is %v, want one about the settings with %q", who, err, want)
	}
}

// unchanged checks that a directory is as it was.
func unchanged(t *testing.T, dir, before string) {
	t.Helper()
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the directory was changed: -before +after\n%s", diff)
	}
}

func TestAnEmptyDirectoryHasNothingToRead(t *testing.T) {
	_, err := look(t, t.TempDir())
	isSetting(t, "a command that reads", err, "")
}

// A command does not read what an older version wrote, but a backup before the
// upgrade is possible.
func TestAnOlderVersionCanBeBackedUp(t *testing.T) {
	dir := changed(t, used(t), func(dir string) { addSQL(t, dir, "PRAGMA user_version = 3") })
	before := tree(t, dir)
	_, err := look(t, dir)
	isSetting(t, "a command that reads", err, "older callbackd")
	if _, err := Backup(t.Context(), Options{Dir: dir}, filepath.Join(t.TempDir(), "b"), true); err != nil {
		t.Errorf("a backup before the upgrade: %v", err)
	}
	unchanged(t, dir, before)
}

func addSQL(t *testing.T, dir, text string) {
	t.Helper()
	c, err := sqlite3.Open(filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(text + "; PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
}

// The lock is on the database file: the lock file of earlier versions may be removed.
func TestTheDatabaseFileIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another callbackd runs") {
		t.Errorf("a second server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	open(t, Options{Dir: dir}).Close()
}

// A command that reads a stopped directory is not taken for a server.
func TestAServerIsRefusedWhileACommandReads(t *testing.T) {
	t.Parallel()
	dir := used(t)
	reads, err := Inspect(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "a command reads the data directory") {
		t.Errorf("a server: %v", err)
	}
	if err := reads.Close(); err != nil {
		t.Error(err)
	}
	s := open(t, Options{Dir: dir})
	r, err := look(t, dir) // while the server runs
	if err != nil {
		t.Fatal(err)
	}
	if r.FaultN > 0 {
		t.Errorf("faults: %v", r.Faults)
	}
	s.Close()
}

// Every file of the directory has the mode of the database, whatever the umask. Files
// that root's commands make belong to the owner of the database.
func TestFilesHaveTheDatabasesModeAndOwner(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, mode := range []fs.FileMode{0o600, 0o640} {
		dir := t.TempDir()
		owner := os.Getuid()
		if owner == 0 {
			owner = 65534
			if err := os.Chown(dir, owner, owner); err != nil {
				t.Fatal(err)
			}
		}
		same := func(what string, want fs.FileMode) {
			t.Helper()
			files, err := os.ReadDir(dir)
			if err != nil || len(files) < 2 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				info, err := f.Info()
				if err != nil {
					t.Fatal(err)
				}
				if uid := info.Sys().(*syscall.Stat_t).Uid; info.Mode().Perm() != want || int(uid) != owner {
					t.Errorf("%s: %s has %v and belongs to %d", what, f.Name(), info.Mode(), uid)
				}
			}
		}
		open(t, Options{Dir: dir, Secondary: true}).Close() // as `keys create` does first
		same("a command has made it", 0o600)
		if mode != 0o600 {
			for _, name := range []string{dbFile, KeysetFile} {
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := open(t, Options{Dir: dir})
		storetest.Use(t, s, 1, 10)
		same("a server runs", mode)
		open(t, Options{Dir: dir, Secondary: true}).Close()
		same("a command ran while a server runs", mode)
		s.Close()
		same("it has stopped", mode)
		open(t, Options{Dir: dir, Secondary: true}).Close()
		if _, err := look(t, dir); err != nil {
			t.Error(err)
		}
		same("commands ran", mode)
	}
}

// A directory that is removed or replaced under a server is noticed before
// anything more is acknowledged.
func TestNothingIsAcknowledgedInFilesThatWereRemoved(t *testing.T) {
	t.Parallel()
	for what, f := range map[string]func(dir string) error{
		"removed":            os.RemoveAll,
		"moved away":         func(dir string) error { return os.Rename(dir, dir+"-old") },
		"the database":       func(dir string) error { return os.Remove(filepath.Join(dir, dbFile)) },
		"the log is removed": func(dir string) error { return os.Remove(filepath.Join(dir, dbFile+"-wal")) },
		"its index":          func(dir string) error { return os.Remove(filepath.Join(dir, dbFile+"-shm")) },
		"replaced by a copy": func(dir string) error {
			raw, err := os.ReadFile(filepath.Join(dir, dbFile))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "new"), raw, 0o600), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, dbFile)))
		},
		"a directory put in its place": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"-old"), os.CopyFS(dir, os.DirFS(dir+"-old")))
		},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		s := open(t, Options{Dir: dir})
		k, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		accept := func() error {
			_, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
			return err
		}
		if err := accept(); err != nil {
			t.Fatal(err)
		}
		if err := f(dir); err != nil {
			t.Fatal(err)
		}
		if err := accept(); !errors.Is(err, ErrReplaced) || callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Errorf("%s: an event was accepted: %v", what, err)
		}
		if err := s.Ready(t.Context()); err == nil {
			t.Errorf("%s: the store is ready", what)
		}
		select {
		case <-s.Failed():
		default:
			t.Errorf("%s: the store did not fail", what)
		}
		s.Close()
	}
	dir := filepath.Join(t.TempDir(), "d") // nobody writes
	s := open(t, Options{Dir: dir})
	defer s.Close()
	s.Guard(t.Context())
	if err := s.Failure(); err != nil {
		t.Errorf("without any change: %v", err)
	}
	os.RemoveAll(dir)
	s.Guard(t.Context())
	if err := s.Failure(); !errors.Is(err, ErrReplaced) {
		t.Errorf("removed while nothing is written: %v", err)
	}
}

// The start of a server detects a keyset that opens none of the secrets, and fsck reports
// each of them.
func TestAnotherKeysetIsRefused(t *testing.T) {
	dir, other := used(t), t.TempDir()
	open(t, Options{Dir: other}).Close()
	raw, err := os.ReadFile(filepath.Join(other, KeysetFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, KeysetFile), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); callbackd.KindOf(err) != callbackd.KindSetting {
		t.Errorf("a server: %v", err)
	}
	s, err := Inspect(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the secret of key key0 is sealed with the key ", "the audit log is not checked: "} {
		if !slices.ContainsFunc(r.Faults, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("no fault begins with %q: %q", want, r.Faults)
		}
	}
}
