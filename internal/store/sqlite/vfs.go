package sqlite

import (
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"callbackd/internal/system"
)

// vfsName names the file system of the driver with two differences. A write that finds no
// space fails with FULL and not with "I/O error": an I/O error must end the store, but a
// full disk need not. And the log is a logFile.
const vfsName = "callbackd"

func init() { vfs.Register(vfsName, spaceVFS{vfs.Find("os").(vfs.VFSFilename)}) }

type spaceVFS struct{ vfs.VFSFilename }

// OpenFilename is part of vfs.VFSFilename.
func (v spaceVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := v.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, noSpace(err)
	}
	space := spaceFile{f.(osFile)}
	switch {
	case flags&vfs.OPEN_WAL != 0:
		return &logFile{File: space}, flags, nil
	case flags&vfs.OPEN_MAIN_DB != 0:
		if fd, ok := f.(interface{ Fd() uintptr }); ok {
			return &databaseFile{spaceFile: space, fd: fd}, flags, nil
		}
	}
	return space, flags, nil
}

// osFile has all methods of a file of the driver.
type osFile interface {
	vfs.FileLockState
	vfs.FileHasMoved
	vfs.FileSizeHint
	vfs.FilePersistWAL
	vfs.FilePowersafeOverwrite
	vfs.FileSharedMemory
	vfs.FileMemoryMapper
}

type spaceFile struct{ osFile }

// WriteAt is part of vfs.File. The error of a sync is not changed: a sync that finds no
// space has lost writes that had succeeded before, so the file cannot be trusted.
func (f spaceFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.osFile.WriteAt(b, off)
	return n, noSpace(err)
}

// databaseFile is the database file. It writes the pages of a checkpoint to the disk a
// few at a time. If the sync at the end wrote all of them, a commit that syncs the log
// meanwhile would wait for them.
type databaseFile struct {
	spaceFile
	fd       interface{ Fd() uintptr }
	from, to int64 // what was written since
	pages    int   // how many pages that are
}

// pacedPages is how many pages are written to the disk at a time.
const pacedPages = 64

// WriteAt is part of vfs.File.
func (f *databaseFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.spaceFile.WriteAt(b, off)
	if err != nil {
		return n, err
	}
	if f.pages == 0 {
		f.from, f.to = off, off
	}
	f.from, f.to = min(f.from, off), max(f.to, off+int64(n))
	if f.pages++; f.pages < pacedPages {
		return n, nil
	}
	f.pages = 0
	return n, writeBack(f.fd.Fd(), f.from, f.to-f.from)
}

func noSpace(err error) error {
	if system.Is(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return err
}
