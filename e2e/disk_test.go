package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"callbackd/client"
)

// smallDisk is a data directory that can be filled, and what fills it and
// makes space again. Where mounting is not permitted it is a limit on the
// size of the server's files, which fails writes in the same places.
type smallDisk struct {
	dir   string
	limit func(pid int)
	free  func(pid int)
}

const smallDiskSize = 8 << 20

func newSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m")
	if err != nil {
		t.Logf("no mount (%v): the size of files is limited instead", err)
		return smallDisk{dir, func(pid int) { limitFiles(t, pid, smallDiskSize/4) }, func(pid int) { limitFiles(t, pid, ^uint64(0)) }}
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, smallDiskSize/2), 0o600); err != nil {
		t.Fatal(err)
	}
	free := func(int) {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	return smallDisk{dir, func(int) {}, free}
}

// limitFiles sets the soft RLIMIT_FSIZE of a process.
func limitFiles(t *testing.T, pid int, most uint64) {
	t.Helper()
	var old syscall.Rlimit
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), rlimitFsize, 0, uintptr(unsafe.Pointer(&old)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	old.Cur = min(most, old.Max)
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), rlimitFsize, uintptr(unsafe.Pointer(&old)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

const rlimitFsize = 1

// When the disk is full, the publisher is told so, nothing that was acknowledged is lost,
// the process goes on, and it accepts events again as soon as there is space.
func TestAFullDiskIsReportedAndEndsByItself(t *testing.T) {
	t.Parallel()
	disk := newSmallDisk(t)
	fullDisk(t, disk)
}

// The same with a limit on the size of files, which needs no privilege.
func TestFileSizeLimitIsAFullDisk(t *testing.T) {
	t.Parallel()
	fullDisk(t, smallDisk{t.TempDir(), func(pid int) { limitFiles(t, pid, smallDiskSize/4) }, func(pid int) { limitFiles(t, pid, ^uint64(0)) }})
}

func fullDisk(t *testing.T, disk smallDisk) {
	sk := newSink(t)
	srv := serve(t, disk.dir)
	cl := newClient(t, disk.dir)
	cl.Base = srv.url
	hook(t, cl, sk.URL, event)
	disk.limit(srv.cmd.Process.Pid)
	var acked []string
	publish := func() error {
		ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"x": strings.Repeat("x", 50_000)}})
		if err == nil {
			acked = append(acked, ev.ID)
		}
		return err
	}
	var err error
	for err == nil && len(acked) < 1000 {
		err = publish()
	}
	refused := func(err error) {
		t.Helper()
		var answer *client.Error
		if !errors.As(err, &answer) {
			t.Fatalf("after %d events: %v, want an answer", len(acked), err)
		}
		if answer.Status != http.StatusServiceUnavailable {
			t.Fatalf("after %d events: the status is %d, want 503", len(acked), answer.Status)
		}
		if !strings.Contains(answer.Message, "The disk is full") {
			t.Fatalf("after %d events: the message is %q, want that the disk is full", len(acked), answer.Message)
		}
	}
	refused(err) //
	for range 5 {
		if err := publish(); err != nil {
			refused(err) //
		}
	}
	if err := cl.Do(t.Context(), "GET", "/healthz", nil, nil); err != nil {
		t.Errorf("alive: %v", err)
	}
	if len(acked) < 5 {
		t.Errorf("only %d events found space", len(acked))
	}
	disk.free(srv.cmd.Process.Pid)
	if err := publish(); err != nil {
		t.Errorf("there is space again: %v", err)
	}
	sk.await(t, "all that was acknowledged arrives", func() bool {
		for _, id := range acked {
			if sk.ids[id] == 0 {
				return false
			}
		}
		return true
	})
	sk.mu.Lock()
	sk.inOrder(t)
	sk.mu.Unlock()
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	fsck(t, disk.dir)
}

// A disk without any space stops a start with a sentence, or none is needed;
// either way what is there stays good.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := newSmallDisk(t)
	srv := serve(t, disk.dir)
	newClient(t, disk.dir)
	srv.kill()
	filler := filepath.Join(disk.dir, "filler")
	os.WriteFile(filler, make([]byte, smallDiskSize), 0o600) // as much as fits
	cmd := serveCmd(disk.dir)
	p := start(t, cmd)
	first, ok := <-p.lines
	if !ok {
		code := p.wait(t)
		said := p.log.String()
		if code == 0 {
			t.Errorf("the server ends with 0, want an error: %s", said)
		}
		if !strings.Contains(said, "full") && !strings.Contains(said, "no space") {
			t.Errorf("the server does not say that the disk is full: %s", said)
		}
		if strings.Contains(said, "goroutine") {
			t.Errorf("the server panics: %s", said)
		}
	} else if !strings.HasPrefix(first, "listening on ") {
		t.Errorf("it says %q", first)
	}
	p.kill()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	srv = serve(t, disk.dir)
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	fsck(t, disk.dir)
}

// A data directory that cannot be written stops the start and is named. The
// permission bits do not bind root, so root gives its powers up for it.
func TestAReadOnlyDataDirectoryIsReported(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "callbackd-e2e-ro-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	srv := serve(t, data)
	if code := srv.term(t); code != 0 {
		t.Fatal(code)
	}
	for _, tt := range []struct {
		what      string
		dir, file os.FileMode
		at        string
	}{
		{"nothing may be made", 0o555, 0o644, filepath.Join(data, "new")},
		{"the directory is read-only", 0o555, 0o666, data},
		{"the files are read-only", 0o777, 0o444, data},
		{"all is read-only", 0o555, 0o444, data},
	} {
		chmod(t, dir, 0o755)
		chmod(t, filepath.Dir(binary), 0o755)
		chmod(t, data, tt.dir)
		files, err := filepath.Glob(filepath.Join(data, "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			chmod(t, f, tt.file)
		}
		cmd := serveCmd(tt.at)
		cmd.Dir = "/"
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, errs, code := runCmd(t, cmd)
		wantExit(t, tt.what, code, exitSetting, errs, "data directory", data)
		if out != "" {
			t.Errorf("%s: standard output has %q, want nothing", tt.what, out)
		}
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
