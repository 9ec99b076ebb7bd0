// Package system holds what callbackd asks an operating system for where systems differ:
// locks of files, owners, free space, limits and signals. There is one file for Unix and
// one for Windows.
package system

import (
	"errors"
	"syscall"
)

// ErrLocked means that another process has locked the file.
var ErrLocked = errors.New("another process has locked the file")

// Is reports whether an error is one of these codes, or the code of this system that means
// the same.
func Is(err error, codes ...syscall.Errno) bool {
	for _, code := range codes {
		if errors.Is(err, code) {
			return true
		}
		for _, same := range native[code] {
			if errors.Is(err, same) {
				return true
			}
		}
	}
	return false
}
