//go:build !linux

package sqlite

// writeBack does nothing where there is no such call: the sync that follows is enough.
func writeBack(uintptr, int64, int64) error { return nil }
