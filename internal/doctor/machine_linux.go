package doctor

import (
	"io/fs"
	"math"
	"syscall"
)

// volumes names the file systems that are not local, by the number that statfs(2) gives
// them.
var volumes = map[int64]Volume{
	0x6969:     {Kind: Network, Name: "NFS"},
	0x517B:     {Kind: Network, Name: "SMB"},
	0xFF534D42: {Kind: Network, Name: "CIFS"},
	0xFE534D42: {Kind: Network, Name: "SMB"},
	0x01021997: {Kind: Network, Name: "9P"},
	0x00C36400: {Kind: Network, Name: "Ceph"},
	0x5346414F: {Kind: Network, Name: "AFS"},
	0x6B414653: {Kind: Network, Name: "AFS"},
	0x786F4256: {Kind: Network, Name: "a shared folder of VirtualBox"},
	0x65735546: {Kind: Foreign, Name: "FUSE"},
	0x01021994: {Kind: Memory, Name: "tmpfs"},
	0x858458F6: {Kind: Memory, Name: "ramfs"},
	0x794C7630: {Kind: Layer, Name: "overlay"},
}

func volume(path string) (Volume, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return Volume{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	v := volumes[int64(st.Type)]
	v.Free, v.Size, v.Nodes = st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize), st.Ffree
	if st.Files == 0 { // a file system that does not count them
		v.Nodes = math.MaxUint64
	}
	return v, nil
}

// unsynchronized is STA_UNSYNC of adjtimex(2).
const unsynchronized = 0x40

func synchronized() (is, known bool) {
	var tx syscall.Timex
	_, err := syscall.Adjtimex(&tx)
	return tx.Status&unsynchronized == 0, err == nil
}
