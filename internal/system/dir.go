package system

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MakeDir makes a directory with those above it that are missing, for this user only, and syncs
// the names of all that it made. Without that a power cut can take away a new directory with
// all the files in it, although these were synced.
func MakeDir(path string) error { return makeDir(filepath.Clean(path), SyncDir) }

func makeDir(path string, sync func(string) error) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeDir(above, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return sync(above)
}
