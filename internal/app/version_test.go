package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestBuildSaysCommitAndDate(t *testing.T) {
	found := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-30T18:00:00Z"}, {Key: "vcs.modified", Value: modified}}
	}
	by := runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	for _, c := range []struct {
		what                 string
		settings             []debug.BuildSetting
		commit, date, result string
	}{
		{"without history", nil, "", "", ""},
		{"from a clean clone", found("false"), "", "", "commit abc, 2026-11-30T18:00:00Z, "},
		{"from a changed clone", found("true"), "", "", "commit abc with changes, 2026-11-30T18:00:00Z, "},
		{"set by the linker", found("true"), "def", "2026-12-01T00:00:00Z", "commit def, 2026-12-01T00:00:00Z, "},
	} {
		if got, want := describe(c.settings, c.commit, c.date), Version+" ("+c.result+by; got != want {
			t.Errorf("%s: %q, want %q", c.what, got, want)
		}
	}
}
