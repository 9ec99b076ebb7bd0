package sqlite

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// disk simulates the disk of a machine that can lose its power: files in memory that
// record which writes were synced. At a power cut, each write that was not synced is
// kept, dropped or torn, independently of the others. After a failed sync it behaves like
// the kernel: the pages read back as written and are marked clean, but need not be on the
// disk.
type disk struct {
	name string // as SQLite knows it
	seed uint64
	dir  string // for the shared memory of the WAL index, new at each boot

	mu    sync.Mutex
	rng   *rand.Rand
	boot  int // counts starts of the machine; handles of an earlier boot fail
	off   bool
	files map[string]*inode
	gone  map[string]*inode // deleted, and the directory not synced since
	cutIn int               // operations until the power cut; 0: no cut
	fault func(op, file string) error
}

// inode is one file.
type inode struct {
	cache, platter []byte
	dirty          []change // in the cache and not on the disk, in order
	entered        bool     // the directory entry is durable
	shared         int
	reserved       *handle
	pending        *handle
}

// change is a write, or a truncation when data is nil.
type change struct {
	off  int64
	data []byte
}

func (c change) apply(b []byte) []byte {
	if c.data == nil {
		if c.off <= int64(len(b)) {
			return b[:c.off]
		}
		return append(b, make([]byte, c.off-int64(len(b)))...)
	}
	if end := c.off + int64(len(c.data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.off:], c.data)
	return b
}

// newDisk makes an empty disk and registers it with SQLite.
func newDisk(dir string, seed uint64) *disk {
	d := &disk{name: fmt.Sprintf("disk%d", seed), seed: seed, dir: dir, rng: rand.New(rand.NewPCG(seed, 0)), files: map[string]*inode{}, gone: map[string]*inode{}}
	vfs.Register(d.name, d)
	return d
}

func (d *disk) remove() { vfs.Unregister(d.name) }

// cut cuts the power. The machine stays off until power is called.
func (d *disk) cut() {
	d.boot++
	d.off, d.cutIn = true, 0
	keep := []float64{0, 0.1, 0.5, 0.9, 1}[d.rng.IntN(5)]
	for name, f := range d.gone {
		if d.files[name] == nil && d.rng.IntN(2) == 0 {
			d.files[name] = f
		}
	}
	clear(d.gone)
	for name, f := range d.files {
		if !f.entered && d.rng.Float64() >= keep {
			delete(d.files, name)
			continue
		}
		for _, c := range f.dirty {
			for _, part := range d.survives(c, keep) {
				f.platter = part.apply(f.platter)
			}
		}
		d.files[name] = &inode{cache: append([]byte(nil), f.platter...), platter: f.platter, entered: true}
	}
}

// sector is the number of bytes that a disk writes in one piece.
const sector = 512

// survives returns the parts of a change that reach the disk.
func (d *disk) survives(c change, keep float64) []change {
	switch {
	case d.rng.Float64() < 0.5: // all of it or nothing
		if d.rng.Float64() < keep {
			return []change{c}
		}
		return nil
	case len(c.data) < 2:
		return nil
	case d.rng.IntN(2) == 0: // torn
		return []change{{c.off, c.data[:1+d.rng.IntN(len(c.data)-1)]}}
	}
	var parts []change
	for at := int64(0); at < int64(len(c.data)); {
		end := min(int64(len(c.data)), (c.off+at)/sector*sector+sector-c.off)
		if d.rng.Float64() < keep {
			parts = append(parts, change{c.off + at, c.data[at:end]})
		}
		at = end
	}
	return parts
}

// kill ends the process: its handles fail, and the kernel's cache stays.
func (d *disk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boot++
	d.off, d.fault = true, nil
	for _, f := range d.files {
		f.shared, f.reserved, f.pending = 0, nil, nil
	}
}

// power starts the machine. The store of the boot before must be closed already, so that
// its last checkpoint cannot write to this boot's files.
func (d *disk) power() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off, d.cutIn = false, 0 // forget a cut that was planned while the power was off
}

// cutAfter cuts the power at the nth operation from now.
func (d *disk) cutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutIn = n
}

func (d *disk) isOff() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// step counts an operation that changes something and reports whether it
// happens. The mutex is held.
func (d *disk) step(op, name string) error {
	if d.cutIn > 0 {
		if d.cutIn--; d.cutIn == 0 {
			d.cut()
			return sqlite3.IOERR
		}
	}
	if d.fault != nil {
		return d.fault(op, name)
	}
	return nil
}

// Open is part of vfs.VFS.
func (d *disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, flags, sqlite3.IOERR
	}
	h := &handle{d: d, name: filepath.Base(name), boot: d.boot}
	if flags&(vfs.OPEN_DELETEONCLOSE|vfs.OPEN_TEMP_DB|vfs.OPEN_TRANSIENT_DB|vfs.OPEN_TEMP_JOURNAL) != 0 || name == "" {
		h.f = &inode{}
		return h, flags, nil
	}
	if h.f = d.files[h.name]; h.f == nil {
		if flags&vfs.OPEN_CREATE == 0 {
			return nil, flags, sqlite3.CANTOPEN
		}
		if err := d.step("create", h.name); err != nil {
			return nil, flags, err
		}
		h.f = &inode{}
		d.files[h.name] = h.f
	}
	if flags&vfs.OPEN_MAIN_DB != 0 {
		h.shm = vfs.NewSharedMemory(filepath.Join(d.dir, fmt.Sprintf("%s-shm-%d", d.name, d.boot)), flags)
	}
	if flags&vfs.OPEN_WAL != 0 {
		return &logFile{File: h}, flags, nil
	}
	return h, flags, nil
}

// Delete is part of vfs.VFS.
func (d *disk) Delete(name string, syncDir bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = filepath.Base(name)
	f := d.files[name]
	switch {
	case d.off:
		return sqlite3.IOERR_DELETE
	case f == nil:
		return sqlite3.IOERR_DELETE_NOENT
	}
	if err := d.step("delete", name); err != nil {
		return err
	}
	delete(d.files, name)
	if f.entered && !syncDir {
		d.gone[name] = f
	}
	return nil
}

// Access is part of vfs.VFS.
func (d *disk) Access(name string, _ vfs.AccessFlag) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.off && d.files[filepath.Base(name)] != nil, nil
}

// FullPathname is part of vfs.VFS.
func (d *disk) FullPathname(name string) (string, error) { return name, nil }

// handle is an open file.
type handle struct {
	d    *disk
	f    *inode
	name string
	boot int
	shm  vfs.SharedMemory
	lock vfs.LockLevel
}

var (
	_ vfs.FileSharedMemory = (*handle)(nil)
	_ vfs.FileLockState    = (*handle)(nil)
)

func (h *handle) dead() bool { return h.d.off || h.boot != h.d.boot }

func (h *handle) Close() error {
	if h.shm != nil {
		h.shm.Close()
	}
	return h.Unlock(vfs.LOCK_NONE)
}

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.dead() {
		return 0, sqlite3.IOERR_READ
	}
	if off >= int64(len(h.f.cache)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.cache[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) change(op string, c change) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.dead() {
		return sqlite3.IOERR_WRITE
	}
	h.f.dirty = append(h.f.dirty, c) // a cut now may keep some of it
	if err := h.d.step(op, h.name); err != nil {
		if !h.d.off {
			h.f.dirty = h.f.dirty[:len(h.f.dirty)-1]
		}
		return err
	}
	h.f.cache = c.apply(h.f.cache)
	return nil
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.change("write", change{off, append([]byte{}, b...)}); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (h *handle) Truncate(size int64) error { return h.change("truncate", change{off: size}) }

// Sync makes the file durable. The first sync of a log syncs the directory too, as
// SQLite's own file system does.
func (h *handle) Sync(vfs.SyncFlag) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.dead() {
		return sqlite3.IOERR_FSYNC
	}
	if err := h.d.step("sync", h.name); err != nil {
		if !h.d.off { // marked clean, whether it is on the disk or not
			for _, c := range h.f.dirty {
				if h.d.rng.IntN(2) == 0 {
					h.f.platter = c.apply(h.f.platter)
				}
			}
			h.f.dirty = nil
		}
		return err
	}
	for _, c := range h.f.dirty {
		h.f.platter = c.apply(h.f.platter)
	}
	h.f.dirty = nil
	if !h.f.entered && strings.HasSuffix(h.name, "-wal") {
		clear(h.d.gone)
		for _, f := range h.d.files {
			f.entered = true
		}
	}
	return nil
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.dead() {
		return 0, sqlite3.IOERR_FSTAT
	}
	return int64(len(h.f.cache)), nil
}

func (h *handle) Lock(want vfs.LockLevel) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	f := h.f
	if h.dead() {
		return sqlite3.IOERR_LOCK
	}
	if h.lock >= want {
		return nil
	}
	switch want {
	case vfs.LOCK_SHARED:
		if f.pending != nil {
			return sqlite3.BUSY
		}
		f.shared++
	case vfs.LOCK_RESERVED:
		if f.reserved != nil {
			return sqlite3.BUSY
		}
		f.reserved = h
	case vfs.LOCK_EXCLUSIVE:
		if f.pending != nil && f.pending != h || f.reserved != nil && f.reserved != h {
			return sqlite3.BUSY
		}
		f.reserved, f.pending = h, h
		h.lock = vfs.LOCK_PENDING
		if f.shared > 1 {
			return sqlite3.BUSY
		}
	}
	h.lock = want
	return nil
}

func (h *handle) Unlock(to vfs.LockLevel) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.lock <= to || h.boot != h.d.boot {
		return nil
	}
	if h.f.pending == h {
		h.f.pending = nil
	}
	if h.f.reserved == h {
		h.f.reserved = nil
	}
	if to < vfs.LOCK_SHARED {
		h.f.shared--
	}
	h.lock = to
	return nil
}

func (h *handle) CheckReservedLock() (bool, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.f.reserved != nil, nil
}

func (h *handle) LockState() vfs.LockLevel { return h.lock }

func (h *handle) SharedMemory() vfs.SharedMemory { return h.shm }

func (h *handle) SectorSize() int { return 4096 }

// DeviceCharacteristics returns those of SQLite's own files on Linux.
func (h *handle) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_SUBPAGE_READ | vfs.IOCAP_POWERSAFE_OVERWRITE
}
