package codec

import (
	"testing"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

// Every error has a number of its own, above 0, and reads back the same.
func TestLastErrorsReadBack(t *testing.T) {
	seen := map[int64]LastError{}
	for _, fault := range callbackd.Faults {
		for _, status := range []int{0, 1, 200, 404, 503, 599, 999} {
			for _, ended := range []bool{false, true} {
				e := LastError{fault, status, ended}
				n := e.Number()
				if other, twice := seen[n]; twice || n <= 0 {
					t.Errorf("%+v and %+v have the number %d", e, other, n)
				}
				if seen[n] = e; ReadLastError(n) != e {
					t.Errorf("%+v reads back as %+v", e, ReadLastError(n))
				}
			}
		}
	}
}

// The numbers of faults are stored, so the existing faults must keep their positions in
// the list.
func TestTheOrderOfFaultsIsKept(t *testing.T) {
	want := []callbackd.Fault{"status", "refused", "dns", "connect", "tls", "timeout", "protocol", "proxy", "local", "shutdown", "query", "auth"}
	for i, f := range want {
		if callbackd.Faults[i] != f {
			t.Errorf("position %d has %s, want %s", i, callbackd.Faults[i], f)
		}
	}
}

// Lists read only the first bytes of a stored attempt.
func TestTheHeadOfAnAttempt(t *testing.T) {
	a := callbackd.Attempt{Result: callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, Error: "no", Address: "192.0.2.1:443", Headers: string(make([]byte, 32<<10)), Body: make([]byte, 16<<10)}}
	whole := AppendAttempt(nil, &a)
	var got callbackd.Attempt
	if err := ReadHead(whole[:HeadBytes], &got); err != nil {
		t.Error(err)
	}
	want := a
	want.Headers, want.Body = "", nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the head: -want +got\n%s", diff)
	}
	if err := ReadHead(whole[:4], &got); err == nil {
		t.Error("half a value was read")
	}
}
