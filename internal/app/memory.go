package app

import (
	"log/slog"
	"math"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"callbackd/internal/console"
	"callbackd/internal/obs"
)

// spareDescriptors are those of the store, of listeners and of logs.
const spareDescriptors = 128

// essential tells which requests may use the reserve of connections: the
// operator's, as far as a path tells, and those that say how callbackd is.
func essential(r *http.Request) bool {
	switch p := r.URL.Path; p {
	case "/healthz", "/readyz", "/metrics", console.Root:
		return true
	default:
		return strings.HasPrefix(p, console.Root+"/")
	}
}

// clients returns what clients use, for the metrics.
func (a *App) clients() obs.Clients {
	n := a.front.Counts()
	return obs.Clients{
		Connections: n.Connections, BodyBytes: n.BodyBytes, AnswerBytes: n.AnswerBytes,
		Closed: n.Closed, Refused: n.Refused,
	}
}

// headroom is the share of a control group's memory that is not for Go:
// SQLite's pages, mapped files, and what the kernel counts.
const headroom = 4 // a quarter

// LimitMemory keeps Go's memory within the limit of the control group that
// the process is in, unless GOMEMLIMIT says something else.
func LimitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := cgroupLimit("/proc/self/cgroup", "/sys/fs/cgroup")
	if limit == 0 {
		return
	}
	debug.SetMemoryLimit(limit - limit/headroom)
	log.Info("memory is limited by the control group", "limit_bytes", limit, "for_go_bytes", limit-limit/headroom)
}

// memoryLimit is what the process may use in bytes; 0: not known.
func memoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return 0
}

// cgroupLimit is the least limit of memory of the control groups that the
// process is in, of either version; 0 when there is none. self is the file
// that names them, root the place where they are mounted.
func cgroupLimit(self, root string) int64 {
	raw, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, file := root, "memory.max"
		if parts[1] != "" { // version 1 names its controllers
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			dir, file = path.Join(root, "memory"), "memory.limit_in_bytes"
		}
		// In a container the names may be those of the host: then the limit
		// is at the root of what is mounted.
		for at := path.Join("/", parts[2]); ; at = path.Dir(at) {
			least = min(least, limitIn(path.Join(dir, at, file)))
			if at == "/" {
				break
			}
		}
	}
	if least >= 1<<60 { // version 1 writes "no limit" as a very large number
		return 0
	}
	return least
}

// limitIn reads a limit; math.MaxInt64 when there is none.
func limitIn(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
