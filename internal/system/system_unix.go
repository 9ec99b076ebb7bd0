//go:build unix

package system

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"syscall"
)

// native is empty: Unix returns the codes of package syscall themselves.
var native map[syscall.Errno][]syscall.Errno

// UserSignals are the signals that tools send to a server to have it reopen its log.
var UserSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}

// Lock locks an open file until it is closed. With exclusive no other process can lock it;
// otherwise others can lock it without exclusive. It does not wait: it returns [ErrLocked]
// when another process excludes this one.
func Lock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Owner returns the user and the group of a file. It returns false when the system has no
// such IDs.
func Owner(info fs.FileInfo) (uid, gid int, known bool) {
	own, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return -1, -1, false
	}
	return int(own.Uid), int(own.Gid), true
}

// Mode returns the mode of a file as far as the system has one.
func Mode(info fs.FileInfo) fs.FileMode { return info.Mode() }

// Space returns how many bytes this user may still use on the volume of a path, and how
// many it has.
func Space(path string) (free, size uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), uint64(st.Blocks) * uint64(st.Bsize), nil
}

// OpenFiles returns how many files and connections the process may have open.
func OpenFiles() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return math.MaxUint64
	}
	return uint64(r.Cur)
}

// mayReadAndWrite is R_OK|W_OK of access(2), and mayEnter is X_OK.
const (
	mayReadAndWrite = 4 | 2
	mayEnter        = 1
)

// Access returns an error when this user may not read and write a file, or make files in a
// directory. The kernel also knows of volumes that are mounted read-only. Nothing is
// written.
func Access(path string) error {
	mode := uint32(mayReadAndWrite)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		mode |= mayEnter
	}
	if err := syscall.Access(path, mode); err != nil {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// IsSilent reports whether nothing has arrived on an idle connection: no byte, and not its
// end.
func IsSilent(raw syscall.RawConn) bool {
	quiet := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && quiet
}
