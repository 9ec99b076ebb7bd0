package callbackd_test

import (
	"testing"

	"callbackd"
)

func TestEveryFaultHasAKindOfFailure(t *testing.T) {
	seen := map[int]bool{}
	for _, f := range callbackd.Faults {
		kind := callbackd.FailureKind(f, 404)
		switch {
		case kind < 0:
			t.Errorf("the fault %s is counted by no kind; add it at the end of FailureKinds", f)
		case seen[kind]:
			t.Errorf("the fault %s shares its kind with another one", f)
		case f != callbackd.FaultStatus && callbackd.FailureKinds[kind] != string(f):
			t.Errorf("the fault %s is counted as %s", f, callbackd.FailureKinds[kind])
		}
		seen[kind] = true
	}
	for status, want := range map[int]string{301: "status_3xx", 404: "status_4xx", 599: "status_5xx", 101: "status_other", 600: "status_other", 999: "status_other", 0: "status_other"} {
		if got := callbackd.FailureKinds[callbackd.FailureKind(callbackd.FaultStatus, status)]; got != want {
			t.Errorf("the status %d is counted as %s, want %s", status, got, want)
		}
	}
	for _, f := range []callbackd.Fault{callbackd.NoFault, "unknown"} {
		if kind := callbackd.FailureKind(f, 0); kind != -1 {
			t.Errorf("the fault %q has the kind %d", f, kind)
		}
	}
}
