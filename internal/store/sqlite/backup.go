package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/seal"
	"callbackd/internal/system"

	"github.com/ncruces/go-sqlite3"
)

// Backup copies a data directory to a new directory. A server may run on it meanwhile.
// The copy is a snapshot that is taken after the call, so it has everything that was
// acknowledged before. The directory gets its name when the copy is complete and on disk.
// When keyset is set, the keyset is copied too, so that a server can run on the copy.
func Backup(ctx context.Context, o Options, to string, keyset bool) (size int64, err error) {
	src := newStore(o)
	defer func() { err = errors.Join(err, src.unlock()) }()
	open, err := src.reading(o.Dir)
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(o.Dir, movedFile)); err == nil {
		return 0, movedError(o.Dir)
	}
	to = filepath.Clean(to)
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%s exists already: name a new directory for each backup", to)
	}
	if o.KeysetFile == "" {
		o.KeysetFile = filepath.Join(o.Dir, KeysetFile)
	}
	partial, err := os.MkdirTemp(filepath.Dir(to), "."+filepath.Base(to)+".partial-")
	if err != nil {
		return 0, fmt.Errorf("make the backup's directory: %w", err)
	}
	defer os.RemoveAll(partial)
	if err := copyDatabase(ctx, o.Dir, open, filepath.Join(partial, dbFile)); err != nil {
		return 0, fmt.Errorf("copy the database: %w", err)
	}
	if keyset {
		if err := seal.Copy(o.KeysetFile, filepath.Join(partial, KeysetFile)); err != nil {
			return 0, err
		}
	}
	info, err := os.Stat(filepath.Join(partial, dbFile))
	if err != nil {
		return 0, err
	}
	if err := system.SyncDir(partial); err != nil {
		return 0, err
	}
	if err := os.Rename(partial, to); err != nil {
		return 0, err
	}
	return info.Size(), system.SyncDir(filepath.Dir(to))
}

// copyDatabase writes a new copy of the database within one snapshot. Commits of a server
// go to the log meanwhile and do not disturb it. It reads every row, so that a damaged
// file is found now and not at the restore.
func copyDatabase(ctx context.Context, dir string, open func(...string) (*db, error), to string) (err error) {
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	src, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	if have, err := identify(src, dir); err != nil || have == 0 {
		return cmp.Or(err, callbackd.Errorf(callbackd.KindSetting, "the database in %s is empty", dir))
	}
	src.conn.SetInterrupt(ctx)
	defer src.conn.SetInterrupt(context.Background())
	stop, err := tellSize(ctx, src, f)
	if err != nil {
		return err
	}
	defer stop()
	if err := src.query("VACUUM INTO ?", nil, uri(to, vfsName)); err != nil {
		return err
	}
	return f.Sync() // VACUUM INTO does not sync
}

// tellEvery is how often who follows a backup is told of it.
const tellEvery = 200 * time.Millisecond

// tellSize tells the context's progress how many bytes the copy has, of those that the database
// uses, until stop is called. SQLite writes the copy in one statement, so its file is watched.
func tellSize(ctx context.Context, src *db, copied *os.File) (stop func(), err error) {
	tell := store.ProgressOf(ctx)
	if tell == nil {
		return func() {}, nil
	}
	var total int64
	err = src.query("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()", func(st *sqlite3.Stmt) error {
		total = st.ColumnInt64(0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	tick, ended, done := time.NewTicker(tellEvery), make(chan struct{}), make(chan struct{})
	look := func() {
		if info, err := copied.Stat(); err == nil {
			tell(min(info.Size(), total), total)
		}
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-tick.C:
				look()
			case <-ended:
				look()
				return
			}
		}
	}()
	return func() {
		tick.Stop()
		close(ended)
		<-done
	}, nil
}
