package callbackd

import "time"

// Diagnosis is the engine's state for one callback and one of its sessions. It
// explains why a delivery is not being sent right now.
type Diagnosis struct {
	Running  bool // the engine starts attempts at all
	InFlight int  // attempts of the callback in flight
	Limit    int  // how many attempts may be in flight now
	// OpenUntil is when the breaker lets a probe through. It is zero when the
	// breaker is closed.
	OpenUntil time.Time
	Failures  int // consecutive failed attempts
	// ClosedUntil is the time until which the receiver asked for no requests, by
	// Retry-After; zero when it did not.
	ClosedUntil time.Time
	// Probation is set while the callback has not succeeded at its origin yet.
	// It then shares OriginLimit attempts with the other callbacks on probation
	// there, of which OriginInFlight are in flight. BeginsAt is when it may make
	// its first attempt; zero means now. OriginOpenUntil is when their shared
	// breaker lets a probe through, after OriginFailures failures in a row; zero
	// means that it is closed.
	Probation                   bool
	OriginInFlight, OriginLimit int
	BeginsAt                    time.Time
	OriginOpenUntil             time.Time
	OriginFailures              int
	// RateUntil is when the rate limit lets the next attempt through; zero means
	// now.
	RateUntil time.Time
	// Busy is set while an attempt of the session is in flight.
	Busy bool
	// Head is the failed delivery that blocks the session's lane until HeldUntil;
	// zero when none does.
	Head      DeliveryID
	HeadNo    int64 // its sequence number
	HeldUntil time.Time
}
