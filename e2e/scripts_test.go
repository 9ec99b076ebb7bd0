package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// A step that fails does not stop the later ones. The end lists each failure with
// the command that repeats it, and only then does the script fail.
func TestScriptsGoOnAfterAFailure(t *testing.T) {
	t.Parallel()
	script := func(steps string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail\n. ../scripts/steps.sh\n"+steps+"\nfinish").CombinedOutput()
		return string(out), err
	}
	out, err := script(`
		tests() { printf -- 'ok  \tcallbackd\t0.1s\n--- FAIL: TestFlaky (0.1s)\nFAIL\nFAIL\tcallbackd/x\t0.1s\nFAIL\tcallbackd/y [build failed]\n'; return 1; }
		step "tests" tests
		step "power cuts" echo cutting
		step "fuzzing" false`)
	if err == nil {
		t.Error("it passes")
	}
	_, end, _ := strings.Cut(out, "\nFailed. Repeat each failure with:\n")
	if want := "  tests\n    go test -run '^TestFlaky$' ./x\n    go test ./y\n  fuzzing\n    false\n"; !strings.Contains(out, "cutting\n") || end != want {
		t.Errorf("%s\nwant at the end\n%s", out, want)
	}
	if out, err = script(`step "tests" true`); err != nil || !strings.Contains(out, "\nEverything passed in 0 min ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Asked for help, the script prints its usage and does nothing else.
func TestScriptsTestPrintsItsUsage(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-h", "-help", "--help"} {
		out, err := exec.CommandContext(t.Context(), "../scripts/test", flag).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
		if !strings.HasPrefix(string(out), "Runs every test") {
			t.Errorf("%s: the usage does not begin with what the script does:\n%s", flag, out)
		}
		if !strings.HasSuffix(string(out), "  scripts/test -h       this text\n") {
			t.Errorf("%s: more follows the usage:\n%s", flag, out)
		}
	}
}
