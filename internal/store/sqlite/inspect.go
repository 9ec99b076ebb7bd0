package sqlite

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd"
	"callbackd/internal/store/core"
	"callbackd/internal/store/seal"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// inspectVFS opens a database that no process uses, without changing anything: it opens
// files for reading only, takes no lock, and keeps the index of the log in memory. Its
// user holds the directory's lock.
const inspectVFS = "callbackd-inspect"

func init() { vfs.Register(inspectVFS, readVFS{vfs.Find("os").(vfs.VFSFilename)}) }

type readVFS struct{ vfs.VFSFilename }

// OpenFilename is part of vfs.VFSFilename.
func (v readVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if flags&(vfs.OPEN_MAIN_DB|vfs.OPEN_WAL) != 0 {
		flags = flags&^(vfs.OPEN_READWRITE|vfs.OPEN_CREATE) | vfs.OPEN_READONLY
	}
	f, flags, err := v.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, err
	}
	return readFile{f.(osFile)}, flags, nil
}

type readFile struct{ osFile }

// Lock is part of vfs.File, as are the two below.
func (readFile) Lock(vfs.LockLevel) error { return nil }

// Unlock does nothing, because Lock locks nothing.
func (readFile) Unlock(vfs.LockLevel) error { return nil }

// CheckReservedLock returns false, because no process writes.
func (readFile) CheckReservedLock() (bool, error) { return false, nil }

// reading returns how to open a database for reading. When no server runs on the
// directory, it locks it, so that none starts meanwhile.
func (s *Store) reading(dir string) (open func(pragmas ...string) (*db, error), err error) {
	if err := Holds(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, dbFile)
	alone, err := s.lockFiles(dir, false, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	dsn, first := uri(path, vfsName), "busy_timeout=5000"
	switch {
	case alone && size(path+"-wal") > 0: // a server was killed
		dsn, first = uri(path, inspectVFS)+"&mode=ro", "locking_mode=EXCLUSIVE"
	case alone:
		dsn = uri(path, inspectVFS) + "&mode=ro&immutable=1"
	}
	return func(pragmas ...string) (*db, error) {
		d, err := openDB(dsn, append([]string{first}, pragmas...)...)
		if err != nil {
			return nil, unusable(dir, err)
		}
		return d, nil
	}, nil
}

// Inspect opens the database in o.Dir for commands that only read. It creates, changes and
// upgrades nothing, and fails when there is no store. A server may run meanwhile.
func Inspect(o Options) (*Store, error) {
	s := newStore(o)
	s.dir.readOnly = callbackd.Errorf(callbackd.KindConflict, "the store was opened for reading only")
	s.dir.secondary = true
	close(s.queues.writerDone)
	types, err := s.inspect(o)
	if err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.Store = core.New(seam{s}, &dialect, s.sealer)
	s.EventTypes.Set(types)
	return s, nil
}

// inspect opens what Inspect needs, and returns the types of a platform's events.
func (s *Store) inspect(o Options) (types map[int64]callbackd.EventType, err error) {
	open, err := s.reading(o.Dir)
	if err != nil {
		return nil, err
	}
	for range maxReaders {
		r, err := open("query_only=ON", "cache_size=-8192")
		if err != nil {
			return nil, err
		}
		s.readers.free <- r
		s.readers.open++
	}
	r := <-s.readers.free
	defer func() { s.readers.free <- r }()
	have, err := identify(r, o.Dir)
	if err != nil {
		return nil, err
	}
	if have < int64(len(steps)) {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the database in %s was written by an older callbackd (schema %d, this one needs %d), and a command that only reads does not upgrade it: run the command of that version, or start a server of this one first", o.Dir, have, len(steps))
	}
	var secrets bool
	if err := r.query("SELECT EXISTS (SELECT 1 FROM keys)", func(st *sqlite3.Stmt) error { secrets = st.ColumnBool(0); return nil }); err != nil {
		return nil, err
	}
	if types, err = core.ReadEventTypes(r); err != nil {
		return nil, err
	}
	file := cmp.Or(o.KeysetFile, filepath.Join(o.Dir, KeysetFile))
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !secrets {
		return types, nil // there is nothing to open
	}
	s.sealer, err = seal.Open(file, false) // a key that it lacks is what fsck reports
	return types, err
}
