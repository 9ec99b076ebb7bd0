package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// A step that fails stops none after it, and the end says which failed, with
// the names of the tests; only then does the script fail.
func TestScriptsGoOnAfterAFailure(t *testing.T) {
	script := func(steps string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail\n. ../scripts/steps.sh\n"+steps+"\nfinish").CombinedOutput()
		return string(out), err
	}
	out, err := script(`
		step "tests" bash -c 'printf -- "--- FAIL: TestFlaky (0.1s)\nFAIL\tcallbackd/x\t0.1s\n"; exit 1'
		step "power cuts" echo cutting
		step "fuzzing" false`)
	if err == nil {
		t.Error("it passes")
	}
	_, end, _ := strings.Cut(out, "\nFailed:\n")
	if want := "  tests\n    --- FAIL: TestFlaky (0.1s)\n    FAIL\tcallbackd/x\t0.1s\n  fuzzing\n"; !strings.Contains(out, "cutting\n") || end != want {
		t.Errorf("%s\nwant at the end\n%s", out, want)
	}
	if out, err = script(`step "tests" true`); err != nil || !strings.HasSuffix(out, "Everything passed.\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
