package codec

import (
	"slices"

	"callbackd"
)

// LastError is how the last attempt of a delivery failed, as one number of an
// index: fault, status and whether the delivery ended with it.
type LastError struct {
	Fault  callbackd.Fault
	Status int
	Ended  bool
}

// Widths of the parts of the number.
const (
	endedPart  = 2
	statusPart = 1000
)

// LastErrorOf returns how an attempt failed; none tells that it did not.
func LastErrorOf(a *callbackd.Attempt, state callbackd.State) (e LastError, none bool) {
	return LastError{a.Fault, a.Status, state.Terminal()}, a.Fault == callbackd.NoFault
}

// Number writes e as a number above 0. A fault that is not in the list of the
// domain takes the place after all others.
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

// ReadLastError is the number's meaning.
func ReadLastError(n int64) (e LastError) {
	e.Ended, n = n%endedPart == 1, n/endedPart
	e.Status, n = int(n%statusPart), n/statusPart
	if n >= 1 && int(n) <= len(callbackd.Faults) {
		e.Fault = callbackd.Faults[n-1]
	}
	return e
}
