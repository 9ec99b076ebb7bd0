package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal that a test reads and types on.
type terminal struct {
	screen *os.File // our side
	tty    *os.File // the program's side
	lines  chan string
	seen   string
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("this machine has no terminals, which tests of what people see need: mount a devpts file system at /dev/pts, and have /dev/ptmx lead to its ptmx: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return &terminal{screen: screen, tty: tty, lines: make(chan string, 1000)}
}

// mode returns how the terminal is set.
func (tty *terminal) mode(t *testing.T) []byte {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(tty.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run starts a command on the terminal.
func (tty *terminal) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.tty, tty.tty, tty.tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := tty.screen.Read(buf)
			if n > 0 {
				tty.lines <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
}

// runClearing starts a command on the terminal, as one that can clear a line.
func (tty *terminal) runClearing(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm")
	tty.run(t, cmd)
}

// until reads up to a text and returns what was read.
func (tty *terminal) until(t *testing.T, text string) string {
	t.Helper()
	for !strings.Contains(tty.seen, text) {
		select {
		case more := <-tty.lines:
			tty.seen += more
		case <-time.After(patience):
			t.Fatalf("no %q in %q", text, tty.seen)
		}
	}
	i := strings.Index(tty.seen, text) + len(text)
	out := tty.seen[:i]
	tty.seen = tty.seen[i:]
	return out
}

func (tty *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := tty.screen.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// nowish returns when a request was signed.
func nowish(t *testing.T, h http.Header) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(n, 0)
}
