package callbackd

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxCancelReason is how long the reason of a cancellation may be, in bytes.
const MaxCancelReason = 500

// ValidReason reports whether a text can be the reason of a cancellation: one line that
// can be printed.
func ValidReason(s string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable)
}

// Cancellation says who canceled pending deliveries, and why.
type Cancellation struct {
	By     string // [ByKey] or [ByOperator]
	Reason string // in the person's words; it can be empty
}

// ByOperator names the operator, who canceled something in the console.
const ByOperator = "the operator"

// ByKey names the holder of an API key, who canceled something. Logs have the same number.
func ByKey(key KeyID) string { return "API key " + strconv.FormatInt(int64(key), 10) }

// WhyEnded is the reason of a cancellation that no person asked for.
const WhyEnded = "its callback was deleted or its API key revoked"

// Why returns the reason that the last row of a canceled delivery gives.
func (c *Cancellation) Why() string {
	why := "canceled by " + c.By
	if c.Reason != "" {
		why += ": " + c.Reason
	}
	return why
}

// Cancels reports whether the replay cancels its set instead of sending it again.
func (r *Replay) Cancels() bool { return r.Cancel != nil }

// CancelFilter returns f as the filter of a cancellation, whose set is what is pending.
func CancelFilter(f ReplayFilter) ReplayFilter {
	f.States = []State{Pending}
	return f
}
