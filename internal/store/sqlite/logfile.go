package sqlite

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// logFile is the write-ahead log as one connection sees it. For commits of the writer it
// does two things.
//
// It writes the frames of a commit in one piece. SQLite makes two writes for each page,
// and system calls cost more than the pages do. It syncs the log after the last frame and
// tells other connections about the frames after that sync, so the frames may be held back
// until then.
//
// It leaves out the sync of a commit that need not survive a loss of power by itself. The
// next sync includes it, because the log is read from its start to the first hole: no
// commit is there without all those before it.
type logFile struct {
	vfs.File

	gathering bool // a commit is being written
	deferring bool // that commit needs no sync of its own
	unsynced  bool // a commit was written without a sync

	frames []byte // written by SQLite, and not to the file
	from   int64  // where they belong
}

// maxFrames bounds the frames that are held back, in bytes. A larger commit is written in
// pieces of that size.
const maxFrames = 256 << 10

// logOf returns the log of a connection that has read or written something.
func logOf(conn *sqlite3.Conn) (*logFile, error) {
	file, err := conn.FileControl("main", sqlite3.FCNTL_JOURNAL_POINTER)
	f, ok := file.(*logFile)
	if err == nil && !ok {
		err = fmt.Errorf("it is a %T", file)
	}
	if err != nil {
		return nil, fmt.Errorf("the file of the log: %w", err)
	}
	return f, nil
}

// commit runs a COMMIT, which is all that writes to the log meanwhile. With deferred the
// commit is not synced.
func (f *logFile) commit(deferred bool, run func() error) error {
	f.gathering, f.deferring = true, deferred
	err := run()
	f.gathering, f.deferring = false, false
	// The frames of a commit that failed must not be written later: another process
	// may have written there by then.
	f.frames = f.frames[:0]
	return err
}

// WriteAt is part of vfs.File.
func (f *logFile) WriteAt(b []byte, off int64) (int, error) {
	if !f.gathering {
		return f.File.WriteAt(b, off)
	}
	if off != f.from+int64(len(f.frames)) || len(f.frames)+len(b) > maxFrames {
		if err := f.write(); err != nil {
			return 0, err
		}
	}
	if f.frames == nil {
		f.frames = make([]byte, 0, maxFrames)
	}
	if len(f.frames) == 0 {
		f.from = off
	}
	f.frames = append(f.frames, b...)
	return len(b), nil
}

// write writes the frames that were held back.
func (f *logFile) write() error {
	if len(f.frames) == 0 {
		return nil
	}
	_, err := f.File.WriteAt(f.frames, f.from)
	f.frames = f.frames[:0]
	return err
}

// ReadAt is part of vfs.File.
func (f *logFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.write(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

// Sync is part of vfs.File. The header of the log is always synced: its new salt must be
// on the disk before the frames that refer to it.
func (f *logFile) Sync(flags vfs.SyncFlag) error {
	header := len(f.frames) > 0 && f.from == 0
	if err := f.write(); err != nil {
		return err
	}
	if f.deferring && !header {
		f.unsynced = true
		return nil
	}
	err := f.File.Sync(flags)
	f.unsynced = f.unsynced && err != nil
	return err
}

// syncDeferred makes the syncs that were left out.
func (f *logFile) syncDeferred() error {
	if !f.unsynced {
		return nil
	}
	return f.Sync(vfs.SYNC_NORMAL)
}

// Truncate is part of vfs.File.
func (f *logFile) Truncate(size int64) error {
	if err := f.write(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Size is part of vfs.File.
func (f *logFile) Size() (int64, error) {
	if err := f.write(); err != nil {
		return 0, err
	}
	return f.File.Size()
}
