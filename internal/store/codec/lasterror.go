package codec

import (
	"slices"

	"callbackd"
)

// LastError says how the last attempt of a delivery failed: the fault, the status, and
// whether the delivery ended with it. An index stores it as one number.
type LastError struct {
	Fault  callbackd.Fault
	Status int
	Ended  bool
}

// Sizes of the parts of the number.
const (
	endedPart  = 2
	statusPart = 1000
)

// LastErrorOf returns how an attempt failed. none is set when it did not fail.
func LastErrorOf(a *callbackd.Attempt, state callbackd.State) (e LastError, none bool) {
	return LastError{a.Fault, a.Status, state.Terminal()}, a.Fault == callbackd.NoFault
}

// Number returns e as a number above 0. A fault that is not in callbackd.Faults comes
// after all others.
func (e LastError) Number() int64 {
	fault := slices.Index(callbackd.Faults, e.Fault)
	if fault < 0 {
		fault = len(callbackd.Faults)
	}
	ended := 0
	if e.Ended {
		ended = 1
	}
	return int64(((fault+1)*statusPart+min(max(e.Status, 0), statusPart-1))*endedPart + ended)
}

// ReadLastError returns the LastError of a number.
func ReadLastError(n int64) (e LastError) {
	e.Ended, n = n%endedPart == 1, n/endedPart
	e.Status, n = int(n%statusPart), n/statusPart
	if n >= 1 && int(n) <= len(callbackd.Faults) {
		e.Fault = callbackd.Faults[n-1]
	}
	return e
}
