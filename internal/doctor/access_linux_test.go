package doctor

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A folder that the user may not write to is found without writing to it.
func TestAReadOnlyDirectoryIsFound(t *testing.T) {
	p := sound(t)
	chmod(t, p.Data, 0o500)
	t.Cleanup(func() { chmod(t, p.Data, 0o700) })
	found := make(chan []Finding)
	go func() {
		if os.Geteuid() == 0 { // root may write everywhere, so this thread becomes nobody for access(2)
			runtime.LockOSThread() // and ends with the goroutine
			if _, _, err := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, ^uintptr(0), ^uintptr(0)); err != 0 {
				t.Error(err)
			}
		}
		found <- checkPermissions(t.Context(), p)
	}()
	f := <-found
	if len(f) == 0 || f[0].Level != Problem || !strings.Contains(f[0].Message, "may not write to the data directory") {
		t.Errorf("%+v", f)
	}
}
