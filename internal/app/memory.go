package app

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"callbackd/internal/console"
	"callbackd/internal/obs"
)

// spareDescriptors is how many file descriptors the store, listeners and logs need.
const spareDescriptors = 128

// essential reports whether a request may use the reserve of connections: one for the
// console, where the operator works, or one that monitors callbackd.
func essential(r *http.Request) bool {
	switch p := r.URL.Path; p {
	case "/healthz", "/readyz", "/metrics", StatusPath, LogLevelPath, console.Root:
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

// headroom is the divisor for the memory of a control group that is left to SQLite's
// pages, mapped files and the kernel: a quarter.
const headroom = 4

// LimitMemory limits Go's memory by the control group of the process, unless GOMEMLIMIT
// is set.
func LimitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := GroupMemory()
	if limit == 0 {
		return
	}
	debug.SetMemoryLimit(limit - limit/headroom)
	log.Info("memory is limited by the control group", "limit_bytes", limit, "for_go_bytes", limit-limit/headroom)
}

// gcPercent trades memory for CPU: the live heap is small, but much passes through it. With
// many callbacks it is larger, and then garbage is bounded in bytes, down to
// leastGCPercent.
const (
	gcPercent      = 250
	leastGCPercent = 50
	maxGarbage     = 80 << 20
)

// garbagePercent returns how much garbage may be, in percent of the live heap.
func garbagePercent(live uint64) int {
	return int(min(gcPercent, max(leastGCPercent, maxGarbage*100/max(live, 1))))
}

// BoundGarbage sets how often garbage is collected, by the size of the live heap, until ctx
// ends. GOGC is for people who want it otherwise.
func BoundGarbage(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := gcPercent
	debug.SetGCPercent(set)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(live)
		next := garbagePercent(live[0].Value.Uint64())
		if change := next - set; max(change, -change) > set/10 { // each change stops the world for a moment
			set = next
			debug.SetGCPercent(set)
		}
	}
}

// GroupMemory returns the memory limit of the control group of this process, in bytes; 0
// when there is none.
func GroupMemory() int64 { return cgroupLimit("/proc/self/cgroup", "/sys/fs/cgroup") }

// memoryLimit returns how many bytes the process may use; 0: not known.
func memoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return 0
}

// cgroupLimit returns the least memory limit of the process's control groups, of either
// version; 0 when there is none. self is the file that names the groups, and root is
// where they are mounted.
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
		// In a container the names may be the host's. Then the limit is at the
		// root of the mount.
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

// limitIn reads a limit from a file; math.MaxInt64 when there is none.
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
