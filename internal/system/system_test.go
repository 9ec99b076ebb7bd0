package system

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLocksExcludeEachOther(t *testing.T) {
	for _, c := range []struct {
		first, second bool // exclusive
		want          error
	}{{false, false, nil}, {false, true, ErrLocked}, {true, false, ErrLocked}, {true, true, ErrLocked}} {
		path := filepath.Join(t.TempDir(), "file")
		a, b := open(t, path), open(t, path)
		if err := Lock(a, c.first); err != nil {
			t.Fatal(err)
		}
		if err := Lock(b, c.second); !errors.Is(err, c.want) {
			t.Errorf("first exclusive: %v, second exclusive: %v: %v, want %v", c.first, c.second, err, c.want)
		}
		a.Close()
		if err := Lock(b, true); err != nil {
			t.Errorf("after the first lock has ended: %v", err)
		}
	}
}

func TestCodesOfThisSystem(t *testing.T) {
	_, err := net.Dial("tcp", closedPort(t))
	if !Is(err, syscall.EMFILE, syscall.ECONNREFUSED) {
		t.Errorf("%v is not ECONNREFUSED", err)
	}
	if Is(err, syscall.ETIMEDOUT) || Is(fmt.Errorf("another"), syscall.ECONNREFUSED) || Is(nil, syscall.ECONNREFUSED) {
		t.Error("errors are taken for others")
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAnIdleConnectionIsSilentUntilSomethingArrives(t *testing.T) {
	for what, act := range map[string]func(net.Conn) error{
		"a byte arrives": func(c net.Conn) error { _, err := c.Write([]byte{1}); return err },
		"it is closed":   func(c net.Conn) error { return c.Close() },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := near.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if !IsSilent(raw) {
			t.Errorf("before %s: not silent", what)
		}
		if err := act(far); err != nil {
			t.Fatal(err)
		}
		for IsSilent(raw) { // until it has crossed the loopback interface
		}
		near.Close()
		far.Close()
		l.Close()
	}
}

func TestSpaceAndAccess(t *testing.T) {
	dir := t.TempDir()
	free, size, err := Space(dir)
	if err != nil {
		t.Fatal(err)
	}
	if free == 0 || free > size {
		t.Errorf("%d of %d bytes are free", free, size)
	}
	if err := errors.Join(Access(dir), SyncDir(dir)); err != nil {
		t.Error(err)
	}
	gone := filepath.Join(dir, "gone")
	if _, _, err := Space(gone); err == nil {
		t.Error("a path that does not exist has space")
	}
	if err := Access(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("access to a path that does not exist: %v", err)
	}
	if n := OpenFiles(); n < 16 {
		t.Errorf("%d open files are allowed", n)
	}
}
