package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/system"

	"github.com/ncruces/go-sqlite3"
)

// sideFiles are the endings of the files that SQLite keeps with the database.
var sideFiles = []string{"-wal", "-shm"}

// holdWait is how long a server waits for a command that has locked its directory.
// holdLong is how long a command waits for another one that reads the directory.
const (
	holdWait = time.Second
	holdLong = 5 * time.Second
	holdPoll = 20 * time.Millisecond
)

// unusable returns the error for a data directory that cannot be used. It is a wrong
// setting when this user has no permission, or when there is no directory or no database.
// Otherwise it may work the next time.
func unusable(dir string, err error) error {
	kind := callbackd.KindUnavailable
	if system.Is(err, syscall.ENOTDIR, syscall.EROFS, syscall.ENAMETOOLONG, syscall.ELOOP) {
		kind = callbackd.KindSetting
	}
	for _, refusal := range []error{fs.ErrPermission, sqlite3.READONLY, sqlite3.CANTOPEN, sqlite3.PERM, sqlite3.NOTADB} {
		if errors.Is(err, refusal) {
			kind = callbackd.KindSetting
		}
	}
	return callbackd.Wrap(kind, err, "the data directory "+dir+" cannot be used")
}

// Holds returns nil when the directory holds a database that is not empty.
func Holds(dir string) error {
	info, err := os.Stat(filepath.Join(dir, dbFile))
	switch {
	case err != nil:
		return callbackd.Wrap(callbackd.KindSetting, err, dir+" is not a data directory; name the right one with --data")
	case info.Size() == 0 && size(filepath.Join(dir, dbFile+"-wal")) == 0:
		return callbackd.Errorf(callbackd.KindSetting, "the database in %s is empty: nothing was ever stored there, or a copy to it did not finish", dir)
	}
	return nil
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lostDatabase is the error for a keyset whose database is gone.
func lostDatabase(dir, how string) error {
	return callbackd.Errorf(callbackd.KindSetting, "%s has a keyset (%s), but its database is %s. Either the database was lost, by a copy or restore that did not finish or a volume that is not mounted: put it back. "+
		"Or the keyset was put there before the first start: keep it elsewhere, and name it with --secret-keys", dir, KeysetFile, how)
}

// identify returns the version of the schema, or 0 for an empty database. It returns an
// error for the database of another program.
func identify(d *db, dir string) (version int64, err error) {
	var tables, ours int64
	err = errors.Join(
		d.query("PRAGMA user_version", func(st *sqlite3.Stmt) error { version = st.ColumnInt64(0); return nil }),
		d.query("SELECT count(*), coalesce(sum(name IN ('events', 'pending', 'callbacks')), 0) FROM sqlite_schema WHERE type = 'table'", func(st *sqlite3.Stmt) error {
			tables, ours = st.ColumnInt64(0), st.ColumnInt64(1)
			return nil
		}))
	switch {
	case err != nil:
		return 0, unusable(dir, err)
	case version > int64(len(steps)):
		return 0, store.NewerSchema(int(version), len(steps))
	case version == 0 && tables == 0, version > 0 && ours == 3:
		return version, nil
	}
	return 0, callbackd.Errorf(callbackd.KindSetting, "%s is not callbackd's: it is the database of another program", filepath.Join(dir, dbFile))
}

// copyMode gives a file the mode and the owner of another one, as far as this process
// may. So the service can use files that a command of the administrator made, and no file
// has wider permissions than the database.
func copyMode(file, model string) {
	f, err := os.Lstat(file)
	m, err2 := os.Stat(model)
	if err != nil || err2 != nil || !f.Mode().IsRegular() {
		return
	}
	if f.Mode().Perm() != m.Mode().Perm() && m.Mode().IsRegular() {
		os.Chmod(file, m.Mode().Perm())
	}
	uid, gid, _ := system.Owner(f)
	if wantUID, wantGID, known := system.Owner(m); known && (uid != wantUID || gid != wantGID) {
		os.Lchown(file, wantUID, wantGID) // only root may, and only root needs to
	}
}

// createLike makes a file if it does not exist, with the mode and owner of the model.
// Until it has these, only its owner may use it.
func createLike(file, model string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	copyMode(file, model)
	return f.Close()
}

// lockFiles locks the database file, and the lock file of earlier versions, which people
// delete. It returns false when another process holds a lock that excludes this one. It
// skips files that do not exist.
func (s *Store) lockFiles(dir string, exclusive bool, flag int) (bool, error) {
	for _, name := range []string{dbFile, lockFile} {
		f, err := os.OpenFile(filepath.Join(dir, name), flag, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			s.dir.locks = append(s.dir.locks, f)
			err = system.Lock(f, exclusive)
		}
		if err != nil {
			s.unlock()
		}
		if errors.Is(err, system.ErrLocked) {
			return false, nil
		}
		if err != nil {
			return false, unusable(dir, err)
		}
	}
	return true, nil
}

func (s *Store) unlock() error {
	var errs []error
	for _, f := range s.dir.locks {
		errs = append(errs, f.Close())
	}
	s.dir.locks = nil
	return errors.Join(errs...)
}

// lockFor calls lockFiles again and again until it succeeds or wait is over.
func (s *Store) lockFor(wait time.Duration, dir string) (bool, error) {
	for deadline := time.Now().Add(wait); ; {
		ok, err := s.lockFiles(dir, true, os.O_RDWR)
		if ok || err != nil || time.Now().After(deadline) {
			return ok, err
		}
		time.Sleep(holdPoll)
	}
}

// readersOnly reports whether the processes that lock a directory only read it.
func (s *Store) readersOnly(dir string) bool {
	ok, err := s.lockFiles(dir, false, os.O_RDONLY)
	s.unlock()
	return ok && err == nil
}

// lockServer locks the directory for a server until the process ends.
func (s *Store) lockServer(dir string) error {
	ok, err := s.lockFor(holdWait, dir)
	switch {
	case ok || err != nil:
		return err
	case s.readersOnly(dir):
		return callbackd.Errorf(callbackd.KindUnavailable, "a command reads the data directory %s: wait until `callbackd fsck` or a backup is done, and start again", dir)
	}
	return callbackd.Errorf(callbackd.KindUnavailable, "another callbackd runs on the data directory %s: stop it, or give this one another --data", dir)
}

// lockCommand locks the directory for a command that writes. When a server runs on it,
// it takes no lock, because SQLite's own locks are enough.
func (s *Store) lockCommand(dir string) error {
	ok, err := s.lockFiles(dir, true, os.O_RDWR)
	if ok || err != nil || !s.readersOnly(dir) {
		return err
	}
	if ok, err = s.lockFor(holdLong, dir); ok || err != nil || !s.readersOnly(dir) {
		return err
	}
	return callbackd.Errorf(callbackd.KindUnavailable, "another command reads the data directory %s: try again when it has ended", dir)
}

// watched is a file that must not be replaced while the store is open.
type watched struct {
	path string
	info os.FileInfo
}

// watch remembers the files of the open database.
func (s *Store) watch(path string) error {
	for _, p := range []string{path, path + sideFiles[0], path + sideFiles[1]} {
		info, err := os.Stat(p)
		if err != nil {
			return unusable(filepath.Dir(path), err)
		}
		s.dir.watched = append(s.dir.watched, watched{p, info})
	}
	return nil
}

// ErrReplaced means that the store's files are not those that it opened.
var ErrReplaced = errors.New("the database was removed or replaced while it was in use")

// checkFiles fails the store when its files were removed or replaced, because everything
// that is written then is lost. It is called each second, and after each commit before
// anything is acknowledged.
func (s *Store) checkFiles() {
	for _, w := range s.dir.watched {
		info, err := os.Stat(w.path)
		gone := errors.Is(err, fs.ErrNotExist) || system.Is(err, syscall.ENOTDIR)
		if gone || err == nil && !os.SameFile(info, w.info) {
			s.failFor(callbackd.Wrap(callbackd.KindUnavailable, ErrReplaced, w.path+" is not the file that callbackd opened. Nothing more is accepted, and the new files do not have what was acknowledged until now. "+
				"Look for the old files before you start callbackd again"))
			return
		}
	}
}
