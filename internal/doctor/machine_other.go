//go:build !linux

package doctor

import (
	"io/fs"
	"math"
	"syscall"
)

// volume does not know the kind of a volume.
func volume(path string) (Volume, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return Volume{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return Volume{Free: uint64(st.Bavail) * uint64(st.Bsize), Size: uint64(st.Blocks) * uint64(st.Bsize), Nodes: math.MaxUint64}, nil
}

func synchronized() (is, known bool) { return false, false }
