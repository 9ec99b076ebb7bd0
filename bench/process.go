package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	cleanUpMu sync.Mutex
	cleanUps  []func()
	begun     = time.Now()
)

// atExit has f called before this program ends, however it ends.
func atExit(f func()) {
	cleanUpMu.Lock()
	defer cleanUpMu.Unlock()
	cleanUps = append(cleanUps, f)
}

// cleanUp calls the functions that were given to atExit, the last one first.
func cleanUp() {
	cleanUpMu.Lock()
	defer cleanUpMu.Unlock()
	for _, f := range slices.Backward(cleanUps) {
		f()
	}
}

// moduleRoot returns the directory of callbackd's source. It looks where this program was
// compiled, where it is called, and where its file is.
func moduleRoot() (string, error) {
	_, source, _, _ := runtime.Caller(0)
	here, _ := os.Getwd()
	self, _ := os.Executable()
	for _, dir := range []string{filepath.Dir(source), here, filepath.Dir(self)} {
		for filepath.IsAbs(dir) {
			mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			if err == nil && bytes.HasPrefix(mod, []byte("module callbackd\n")) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	return "", errors.New("the source of callbackd is not found; call this from its directory (go run -C DIR ./bench)")
}

// buildServer builds callbackd, once.
var buildServer = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return buildFrom(root)
})

// buildFrom builds callbackd from its source in root.
func buildFrom(root string) (string, error) {
	dir, err := os.MkdirTemp("", "callbackd-built-")
	if err != nil {
		return "", err
	}
	atExit(func() { os.RemoveAll(dir) })
	step("building callbackd from %s", root)
	server := filepath.Join(dir, "callbackd")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", server, "./cmd/callbackd")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, text)
	}
	return server, nil
}

// process is a program that is measured.
type process struct {
	cmd  *exec.Cmd
	url  string
	once sync.Once
}

// start runs a program that prints where it listens. The program is stopped when this one
// ends, or before.
func start(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	atExit(p.stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		return nil, fmt.Errorf("%s says %q: %w", name, line, err)
	}
	p.url = url
	return p, nil
}

// startSelf runs a command of this program as a process of its own.
func startSelf(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(self, args...)
}

func (p *process) stop() {
	p.once.Do(func() {
		p.cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
		p.cmd.Wait()
		kill.Stop()
	})
}

// cpu returns the processor time that the threads of the process have used. Linux counts
// it in nanoseconds; the sum in /proc/PID/stat has steps of 10 ms, which is too coarse for
// a short round. Go does not end threads.
func (p *process) cpu() (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err == nil && len(files) == 0 {
		err = errors.New("the process has ended, or this system does not count the time of its threads")
	}
	for _, file := range files {
		raw, readErr := os.ReadFile(file)
		ran, _, _ := strings.Cut(string(raw), " ")
		n, parseErr := strconv.ParseInt(ran, 10, 64)
		err = errors.Join(err, readErr, parseErr)
		total += time.Duration(n)
	}
	return total, err
}

// stat holds what Linux tells of a process. It counts 100 ticks a second.
type stat struct {
	parent      int
	self, ended time.Duration // processor time of itself, and of its children that ended
}

func statOf(pid int) (stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
	var n [5]int
	var errs []error
	for i, at := range []int{1, 11, 12, 13, 14} {
		n[i], err = strconv.Atoi(fields[at])
		errs = append(errs, err)
	}
	const tick = 10 * time.Millisecond
	return stat{n[0], time.Duration(n[1]+n[2]) * tick, time.Duration(n[3]+n[4]) * tick}, errors.Join(errs...)
}

// rss returns the resident memory and its peak since resetPeak, in MiB.
func (p *process) rss() (now, peak float64) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// resetPeak sets the peak of the memory to the present value.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}
