package callbackd

import "time"

// Diagnosis is the engine's state for one callback and one of its sessions. It
// explains why a delivery is not being sent right now.
type Diagnosis struct {
	Gate
	Failures       int // consecutive failed attempts
	OriginFailures int // the same of all callbacks on probation at the origin
	// Busy is set while an attempt of the session is in flight.
	Busy bool
	// Head is the failed delivery that blocks the session's lane until HeldUntil;
	// zero when none does.
	Head         DeliveryID
	HeadSequence int64 // its sequence number
	HeldUntil    time.Time
	// TestSends are the events of test-sends to the callback that are being sent.
	TestSends []EventID
	// Order is what the session's next first attempt waits for in the order group.
	Order OrderWait
}
