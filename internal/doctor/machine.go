package doctor

import (
	"context"
	"crypto/x509"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"callbackd/internal/system"
)

// Machine is what the checks ask of the machine.
type Machine struct {
	Stat   func(path string) (File, error)
	Access func(path string) error // nil when this user may read and write a file or folder
	Volume func(path string) (Volume, error)
	UID    int

	Now func() time.Time
	// Synchronized reports whether the kernel says that its clock is synchronized; known
	// is false when it does not say.
	Synchronized func() (synchronized, known bool)

	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Listen func(network, address string) (net.Listener, error)
	// Answers returns nil when a callbackd answers at a host:port.
	Answers func(ctx context.Context, address string) error
	Roots   func() (*x509.CertPool, error)

	Descriptors uint64   // that this process may open
	Memory      int64    // limit of the control group, in bytes; 0: none
	GoMemory    int64    // limit of Go's memory; math.MaxInt64: none
	Units       []string // folders of systemd's units, the first one wins
}

// File is what is known of a file.
type File struct {
	Mode  fs.FileMode
	Owner int // user ID
}

// Volume is a mounted file system.
type Volume struct {
	Free, Size uint64 // bytes; Free is what this user may use
	Nodes      uint64 // files that can still be made; math.MaxUint64: any number
	Kind       VolumeKind
	Name       string // of the file system, such as "NFS"; may be empty
}

// VolumeKind says what a volume is made of.
type VolumeKind uint8

// The kinds.
const (
	Local   VolumeKind = iota
	Network            // on another machine: its locks and syncs cannot be relied on
	Foreign            // by a program of a user (FUSE): may be anything
	Memory             // lost with the power
	Layer              // of a container, lost with it
)

// ThisMachine returns the machine that runs the process. The caller adds what needs the
// network or the control group.
func ThisMachine() *Machine {
	m := &Machine{
		Stat: stat, Access: system.Access, Volume: volume, UID: os.Geteuid(), Now: time.Now, Synchronized: synchronized,
		Descriptors: system.OpenFiles(), Listen: net.Listen, Roots: x509.SystemCertPool,
		Units: []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"},
	}
	return m
}

func stat(path string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	uid, _, _ := system.Owner(info)
	return File{Mode: system.Mode(info), Owner: uid}, nil
}
