package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version is what User-Agent and `callbackd version` say.
const Version = "0.1.0"

// commit and date are set by the linker (-X) where the source code is built without its
// history, as in an image. Otherwise Go finds them by itself.
var commit, date string

// Build returns the version with the commit that the binary was built from, the date of
// that commit, the version of Go and the system, as far as they are known.
func Build() string {
	info, known := debug.ReadBuildInfo()
	if !known {
		info = &debug.BuildInfo{}
	}
	return describe(info.Settings, commit, date)
}

func describe(settings []debug.BuildSetting, commit, date string) string {
	vcs := map[string]string{}
	for _, s := range settings {
		vcs[s.Key] = s.Value
	}
	if commit == "" {
		commit, date = vcs["vcs.revision"], vcs["vcs.time"]
		if commit != "" && vcs["vcs.modified"] == "true" {
			commit += " with changes"
		}
	}
	var parts []string
	if commit != "" {
		parts = append(parts, "commit "+commit)
	}
	if date != "" {
		parts = append(parts, date)
	}
	parts = append(parts, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return fmt.Sprintf("%s (%s)", Version, strings.Join(parts, ", "))
}
