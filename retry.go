package callbackd

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Rules of retrying.
const (
	// JitterFraction spreads retries: a delay d becomes d ± 10 %.
	JitterFraction = 0.10
	// MaxRetryAfter caps what a receiver may ask for.
	MaxRetryAfter = 24 * time.Hour
	// OursDelay is how long a delivery waits after a fault that was not the
	// receiver's; it doubles up to MaxOursDelay. After MaxOurs of them, a
	// week, the delivery fails: what callbackd cannot send it does not try
	// for ever.
	OursDelay    = 5 * time.Second
	MaxOursDelay = 5 * time.Minute
	MaxOurs      = 2000
)

// Decision is what the rules made of an attempt.
type Decision struct {
	State      State     // of the delivery after the attempt
	Step       int       // of the schedule, after the attempt
	Due        time.Time // of the next attempt when State is Pending
	HoldsUntil time.Time // see [Delivery.HoldsUntil]
	Why        string    // a sentence: why this state, why that time
}

// Decide is the rule of DESIGN's "rules are pure": what happens to delivery
// d after result r under policy p at now. jitter is uniform in [0, 1).
func Decide(d Delivery, r *Result, p Policy, now time.Time, jitter float64) Decision {
	p = p.WithDefaults()
	switch {
	case r.Success():
		return Decision{State: Delivered, Step: d.Step, Why: "the receiver answered " + strconv.Itoa(r.Status)}
	case d.Test:
		return Decision{State: Failed, Step: d.Step + 1, Why: "a test is sent once"}
	case r.Fault == FaultShutdown:
		return pendingAt(d, p, now, now, d.Step, "callbackd stopped during the attempt; it is repeated at once after the start")
	case r.Fault.Ours() && d.Attempts-d.Step >= MaxOurs:
		return Decision{State: Failed, Step: d.Step, Why: "callbackd itself could not send it " + strconv.Itoa(MaxOurs) + " times; the operator's log says why"}
	case r.Fault.Ours():
		delay := min(OursDelay<<min(max(d.Attempts-d.Step, 0), 10), MaxOursDelay)
		due := now.Add(spread(delay, jitter))
		return pendingAt(d, p, now, due, d.Step, "the fault was not the receiver's; the schedule is not used up")
	}
	step := d.Step + 1
	if step >= len(p.Retry) {
		return Decision{State: Failed, Step: step, Why: "attempt " + strconv.Itoa(step) + " of " + strconv.Itoa(len(p.Retry)) + " failed; the schedule is used up"}
	}
	delay := p.Retry[step]
	due := now.Add(spread(delay, jitter))
	why := "step " + strconv.Itoa(step+1) + " of " + strconv.Itoa(len(p.Retry)) + " is due " + delay.String() + " ± 10 % after the one before"
	if floor, ok := ParseRetryAfter(r.RetryAfter, now); ok && due.Before(floor) {
		due = floor.Add(time.Duration(jitter * JitterFraction * float64(floor.Sub(now))))
		why = "the receiver asked to wait (Retry-After: " + clip(r.RetryAfter, 64) + ")"
	}
	return pendingAt(d, p, now, due, step, why)
}

// pendingAt keeps d pending. A head holds its lane from its first failure
// for the policy's OrderWait; a manual retry holds nothing.
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

// spread is d ± JitterFraction.
func spread(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration((2*jitter-1)*JitterFraction*float64(d))
}

// ParseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3):
// seconds or an HTTP date. The time is never before now and at most
// [MaxRetryAfter] away; ok is false when the text is neither.
func ParseRetryAfter(s string, now time.Time) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, false
	}
	if strings.Trim(s, "0123456789") == "" {
		secs, err := strconv.ParseInt(s, 10, 64)
		if err != nil || secs > int64(MaxRetryAfter/time.Second) {
			return now.Add(MaxRetryAfter), true
		}
		return now.Add(time.Duration(secs) * time.Second), true
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return time.Time{}, false
	}
	if at.Before(now) {
		return now, true
	}
	if at.Sub(now) > MaxRetryAfter {
		return now.Add(MaxRetryAfter), true
	}
	return at, true
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
