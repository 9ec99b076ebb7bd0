// Package humanize writes numbers, sizes, durations and times for people, in
// the one style of the console, the command line, the API's messages and the
// log: "10,493", "1.2 MB", "3 min 29 s", "2026-01-02 15:04:05 UTC".
//
// Settings are written differently: callbackd.FormatDuration writes a duration
// as a setting takes it ("30d", "1m30s").
package humanize

import (
	"strconv"
	"strings"
	"time"

	"callbackd"

	"github.com/dustin/go-humanize"
)

// Number writes a whole number with separators: "10,493".
func Number[T ~int | ~int64](n T) string { return humanize.Comma(int64(n)) }

// Count writes the result of a count that stops at limit: "42", or "≥ 1,000"
// when the limit was reached.
func Count(n, limit int) string {
	if n >= limit {
		return "≥ " + Number(limit)
	}
	return Number(n)
}

// Plural writes a number of things: "1 attempt", "3 attempts", "2 deliveries".
func Plural[T ~int | ~int64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "y"); ok && !strings.ContainsAny(stem[max(0, len(stem)-1):], "aeiou") {
		return Number(n) + " " + stem + "ies"
	}
	return Number(n) + " " + thing + "s"
}

// Size writes a number of bytes with two significant digits: "512 B", "1.2 MB".
// 1 kB is 1,000 bytes. A negative size is written as "0 B".
func Size[T ~int | ~int64](bytes T) string { return humanize.Bytes(uint64(max(0, int64(bytes)))) }

// Duration writes a duration in its two largest units: "3 min 29 s". It leaves
// out fractions of a second, except that a duration below one second is in
// milliseconds.
func Duration(d time.Duration) string { return callbackd.DurationText(d) }

// Latency writes a short measured duration with about two significant digits:
// "0.42 ms", "8.3 ms", "431 ms", "1.2 s". From one minute on it writes what
// Duration does. A negative latency is written as "0 ms".
func Latency(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms <= 0:
		return "0 ms"
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case ms < 10:
		return oneDecimal(ms) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case d < time.Minute:
		return oneDecimal(d.Seconds()) + " s"
	}
	return Duration(d)
}

// oneDecimal writes f with one decimal, or with none where that is a zero.
func oneDecimal(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

// Time writes a time in UTC, to the second: "2026-01-02 15:04:05 UTC".
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }
