package sqlite

import (
	"errors"
	"syscall"
)

// writeBack writes a range of a file to the disk and waits for it. It is not a sync, but
// its error counts like that of a sync, because a later sync would not report it again.
func writeBack(fd uintptr, off, n int64) error {
	const waitBefore, write, waitAfter = 1, 2, 4
	err := syscall.SyncFileRange(int(fd), off, n, waitBefore|write|waitAfter)
	for _, lost := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, lost) {
			return err
		}
	}
	return nil // the file system does not know this call, and the sync is enough
}
