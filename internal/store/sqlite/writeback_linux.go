package sqlite

import (
	"errors"
	"syscall"
)

// writeBack writes a range of a file to the disk and waits for that. It is no sync, but
// its error is as bad as that of a sync, which would not report it again.
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
