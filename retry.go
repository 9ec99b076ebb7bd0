package callbackd

import (
	"fmt"
	"strconv"
	"time"
)

// Rules of retrying.
const (
	// JitterFraction spreads retries: a delay d becomes d ± 10 %.
	JitterFraction = 0.10
	// MaxRetryAfter is the longest wait that a receiver can ask for.
	MaxRetryAfter = 24 * time.Hour
	// InternalDelay is how long a delivery waits after an internal fault. It
	// doubles with each one, up to MaxInternalDelay. After MaxInternalRetries of
	// them, which takes a week, the delivery fails.
	InternalDelay      = 5 * time.Second
	MaxInternalDelay   = 5 * time.Minute
	MaxInternalRetries = 2000
)

// Decision says what happens to a delivery after an attempt.
type Decision struct {
	State      State     // of the delivery after the attempt
	Step       int       // of the schedule, after the attempt
	Due        time.Time // of the next attempt when State is Pending
	HoldsUntil time.Time // see [Delivery.HoldsUntil]
	Why        string    // a sentence: the reason for the state and the time
}

// Decide returns what happens to delivery d after result r under policy p at now.
// It depends on its arguments only, so that production, tests and simulations
// decide alike. jitter is uniform in [0, 1).
func Decide(d Delivery, r *Result, p Policy, now time.Time, jitter float64) Decision {
	dec := decide(d, r, p.WithDefaults(), now, jitter)
	if d.ExpiresAt.IsZero() || dec.State != Pending {
		return dec
	}
	if d.Expired(now) {
		return Decision{State: Expired, Step: dec.Step, Why: "the attempt did not succeed, and there is no other: " + WhyExpired(d.ExpiresAt)}
	}
	dec.HoldsUntil = d.notAfterExpiry(dec.HoldsUntil)
	if !dec.Due.Before(d.ExpiresAt) {
		dec.Why += ", which is too late: the delivery expires at " + stamp(d.ExpiresAt)
	}
	return dec
}

func decide(d Delivery, r *Result, p Policy, now time.Time, jitter float64) Decision {
	switch {
	case r.Success():
		return Decision{State: Delivered, Step: d.Step, Why: "the receiver answered " + strconv.Itoa(r.Status)}
	case d.Test:
		return Decision{State: Failed, Step: d.Step + 1, Why: "a test is sent once"}
	case r.Fault == FaultQuery:
		return Decision{State: Failed, Step: d.Step, Why: "another attempt would be the same; have the callback use POST, then send it again"}
	case r.Fault == FaultShutdown:
		return pendingAt(d, p, now, now, d.Step, "callbackd stopped during the attempt; it is repeated as soon as callbackd runs again")
	case r.Fault.Internal() && d.Attempts-d.Step >= MaxInternalRetries:
		return Decision{State: Failed, Step: d.Step, Why: "callbackd itself could not send the request " + strconv.Itoa(MaxInternalRetries) + " times; the operator's log has the reason"}
	case r.Fault.Internal():
		delay := min(InternalDelay<<min(max(d.Attempts-d.Step, 0), 10), MaxInternalDelay)
		due := now.Add(spread(delay, jitter))
		return pendingAt(d, p, now, due, d.Step, "the fault was not the receiver's, so the attempt does not count")
	}
	step := d.Step + 1
	if r.Control.Stop {
		return Decision{State: Failed, Step: step, Why: WhyStopped}
	}
	if step >= len(p.Retry) {
		return Decision{State: Failed, Step: step, Why: "attempt " + strconv.Itoa(step) + " of " + strconv.Itoa(len(p.Retry)) + " failed; it was the last one"}
	}
	delay := p.Retry[step]
	due := now.Add(spread(delay, jitter))
	why := "step " + strconv.Itoa(step+1) + " of " + strconv.Itoa(len(p.Retry)) + " is due " + DurationText(delay) + " ± 10 % after the one before"
	switch floor, ok := ParseRetryAfter(r.RetryAfter, now); {
	case ok && due.Before(floor):
		due = floor.Add(time.Duration(jitter * JitterFraction * float64(floor.Sub(now))))
		why = "the receiver asked to wait (Retry-After" + quoted(": %s", r, p) + ")"
		if floor.Sub(now) == MaxRetryAfter {
			why += "; callbackd waits " + DurationText(MaxRetryAfter) + " at most"
		}
	case !ok && r.RetryAfter != "":
		why += "; the receiver's Retry-After" + quoted(" (%s)", r, p) + " is neither seconds nor a date and was not understood"
	}
	return pendingAt(d, p, now, due, step, why)
}

// quoted returns the Retry-After of an answer for a sentence. It is empty when the policy
// has nothing of the answer stored.
func quoted(format string, r *Result, p Policy) string {
	if p.NoResponse {
		return ""
	}
	return fmt.Sprintf(format, Clip(r.RetryAfter, 64))
}

// AfterEnd returns the decision for a callback that was deleted, or whose key was
// revoked, during the attempt: a delivery that would be tried again is canceled.
func (d Decision) AfterEnd() Decision {
	return d.orElse(Canceled, WhyEnded+" during the attempt")
}

// AfterUnsent returns the decision for a delivery that was canceled or expired during the
// attempt: when it would be tried again, it ends in that state, for that reason.
func (d Decision) AfterUnsent(state State, why string) Decision {
	return d.orElse(state, "during the attempt: "+why)
}

func (d Decision) orElse(state State, why string) Decision {
	if d.State != Pending {
		return d
	}
	return Decision{State: state, Step: d.Step, Why: why}
}

// AfterMove returns the decision for a callback that got another origin during the
// attempt: a wait that the old receiver caused does not apply to the new one.
func (d Decision) AfterMove(now time.Time) Decision {
	if d.State == Pending && d.Due.After(now) {
		d.Due, d.Why = now, "the callback got another URL during the attempt; the delivery is tried there at once"
	}
	return d
}

// pendingAt returns the decision to try d again at due. A failed delivery blocks
// its lane for the policy's OrderWait, counted from its first failure; a resend
// does not block its lane.
func pendingAt(d Delivery, p Policy, now, due time.Time, step int, why string) Decision {
	dec := Decision{State: Pending, Step: step, Due: due, Why: why}
	first := d.FirstFailedAt
	if first.IsZero() {
		first = now
	}
	if until := first.Add(p.OrderWait); !d.Manual && until.After(now) {
		dec.HoldsUntil = until
	}
	return dec
}

// spread returns d changed by up to ± JitterFraction.
func spread(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration((2*jitter-1)*JitterFraction*float64(d))
}
