package callbackd

import "time"

// Diagnosis is what the engine has in mind for one callback, and for one of
// its sessions: why a delivery is not sent right now.
type Diagnosis struct {
	Running  bool // deliveries are being started at all
	InFlight int  // attempts under way to the callback
	Limit    int  // how many there may be now
	// OpenUntil is when the breaker lets a probe through; zero: it is closed.
	OpenUntil time.Time
	Failures  int // consecutive ones
	// ClosedUntil is until when the receiver asked to be left alone; zero: it
	// did not.
	ClosedUntil time.Time
	// Probation tells that the callback has not succeeded at its origin yet, so
	// that it shares OriginLimit with others there, of which OriginInFlight are
	// used. BeginsAt is when it may make its first attempt; zero: it may.
	// OriginOpenUntil is when the breaker that they share lets a probe through,
	// after OriginFailures in a row; zero: it is closed.
	Probation                   bool
	OriginInFlight, OriginLimit int
	BeginsAt                    time.Time
	OriginOpenUntil             time.Time
	OriginFailures              int
	// RateUntil is when the rate limit lets the next attempt through; zero:
	// it does not hold.
	RateUntil time.Time
	// Busy tells that an attempt of the session is under way.
	Busy bool
	// Head is the delivery that failed and holds the session's lane until
	// HeldUntil; zero: none does.
	Head      DeliveryID
	HeadNo    int64 // its sequence number
	HeldUntil time.Time
}
