package system

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// native has the codes of Windows that mean the same as those of Unix.
var native = map[syscall.Errno][]syscall.Errno{
	syscall.EACCES:        {windows.WSAEACCES},
	syscall.EADDRINUSE:    {windows.WSAEADDRINUSE},
	syscall.EADDRNOTAVAIL: {windows.WSAEADDRNOTAVAIL},
	syscall.EAFNOSUPPORT:  {windows.WSAEAFNOSUPPORT},
	syscall.ECONNREFUSED:  {windows.WSAECONNREFUSED},
	syscall.EDQUOT:        {windows.WSAEDQUOT},
	syscall.EHOSTUNREACH:  {windows.WSAEHOSTUNREACH},
	syscall.EMFILE:        {windows.WSAEMFILE, windows.ERROR_TOO_MANY_OPEN_FILES},
	syscall.ENETDOWN:      {windows.WSAENETDOWN},
	syscall.ENETUNREACH:   {windows.WSAENETUNREACH},
	syscall.ENOBUFS:       {windows.WSAENOBUFS},
	syscall.ENOMEM:        {windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_OUTOFMEMORY},
	syscall.ENOSPC:        {windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL},
	syscall.ENOTDIR:       {windows.ERROR_DIRECTORY},
	syscall.EROFS:         {windows.ERROR_WRITE_PROTECT},
	syscall.ETIMEDOUT:     {windows.WSAETIMEDOUT},
}

// UserSignals is empty: Windows has no such signals.
var UserSignals []os.Signal

// lockAt is where Lock locks a byte, behind all bytes that a file or SQLite's own locks
// use. On Windows nobody else can read or write what is locked.
const lockAt = math.MaxInt32

// Lock locks an open file until it is closed. With exclusive no other process can lock it;
// otherwise others can lock it without exclusive. It does not wait: it returns [ErrLocked]
// when another process excludes this one.
func Lock(f *os.File, exclusive bool) error {
	how := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		how |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockAt})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

// Owner returns false: Windows has no IDs of users and groups.
func Owner(fs.FileInfo) (uid, gid int, known bool) { return -1, -1, false }

// Mode returns the mode of a file without the rights of others, which Windows does not
// tell. They are inherited from the folder.
func Mode(info fs.FileInfo) fs.FileMode { return info.Mode() &^ 0o077 }

// Space returns how many bytes this user may still use on the volume of a path, and how
// many it has.
func Space(path string) (free, size uint64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(name, &free, &size, nil)
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "GetDiskFreeSpaceEx", Path: path, Err: err}
	}
	return free, size, nil
}

// OpenFiles returns how many files and connections the process may have open. Windows has
// no such limit.
func OpenFiles() uint64 { return math.MaxUint64 }

// Access returns an error when this user may not read and write a file. Whether files can be
// made in a directory is known only when one is made.
func Access(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// SyncDir does nothing: Windows cannot sync a directory, and NTFS writes the names of files
// to its journal.
func SyncDir(string) error { return nil }

var procPoll = windows.NewLazySystemDLL("ws2_32.dll").NewProc("WSAPoll")

// pollFD is the WSAPOLLFD of Windows.
type pollFD struct {
	socket uintptr
	events int16
	found  int16
}

// pollRead is POLLRDNORM: something can be read, which may be the end.
const pollRead = 0x0100

// IsSilent reports whether nothing has arrived on an idle connection: no byte, and not its
// end.
func IsSilent(raw syscall.RawConn) bool {
	quiet := false
	err := raw.Control(func(fd uintptr) {
		p := pollFD{socket: fd, events: pollRead}
		n, _, _ := procPoll.Call(uintptr(unsafe.Pointer(&p)), 1, 0)
		quiet = n == 0
	})
	return err == nil && quiet
}
