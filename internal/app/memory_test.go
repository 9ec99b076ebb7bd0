package app

import (
	"os"
	"path/filepath"
	"testing"
)

// The least limit of all control groups above the process counts, in both
// versions; a container's names may lead nowhere, and then the root does.
func TestTheLimitOfTheControlGroup(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
	}{
		"no limit":              {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n"}, 0},
		"its own":               {"0::/a/b\n", map[string]string{"a/b/memory.max": "536870912\n"}, 536870912},
		"one above it":          {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "1048576\n"}, 1048576},
		"the least of them":     {"0::/a/b\n", map[string]string{"a/b/memory.max": "2097152\n", "a/memory.max": "1048576\n"}, 1048576},
		"a container":           {"0::/../../host/name\n", map[string]string{"memory.max": "4096\n"}, 4096},
		"version 1":             {"5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n", map[string]string{"memory/a/memory.limit_in_bytes": "8192\n"}, 8192},
		"version 1, no limit":   {"4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"nothing that is known": {"nonsense\n", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			self := filepath.Join(dir, "self")
			write := func(file, text string) {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(self, c.self)
			for file, text := range c.files {
				write(filepath.Join(dir, "root", file), text)
			}
			if got := cgroupLimit(self, filepath.Join(dir, "root")); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
	if got := cgroupLimit(filepath.Join(t.TempDir(), "none"), "/none"); got != 0 {
		t.Errorf("without the file: %d", got)
	}
}

// Garbage takes a share of a small heap, a number of bytes of a larger one, and always
// enough that most of the time is left for work.
func TestGarbageIsBounded(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{0: 250, 4 * mib: 250, 32 * mib: 250, 40 * mib: 200, 80 * mib: 100, 120 * mib: 66, 160 * mib: 50, 4096 * mib: 50} {
		if got := garbagePercent(live); got != want {
			t.Errorf("with %d MiB live, garbage is %d %%, want %d %%", live/mib, got, want)
		}
	}
}
