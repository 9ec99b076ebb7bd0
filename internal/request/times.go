package request

import (
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/signature"
)

// Duration reads a duration within limits: a text such as "30s" or "1d12h", or
// a number of seconds.
func Duration(name string, to *time.Duration, least, most time.Duration) Field {
	return Field{Name: name, Read: func(v Value) error {
		if v.Lenient && v.empty() {
			return nil
		}
		d, ok := v.duration(most)
		if !ok || d < least || d > most {
			return v.must("a duration from %s to %s, such as %q", callbackd.FormatDuration(least), callbackd.FormatDuration(most),
				callbackd.FormatDuration(min(max(30*time.Second, least), most)))
		}
		*to = d
		return nil
	}}
}

func (v Value) duration(most time.Duration) (time.Duration, bool) {
	if digits, ok := v.number(); ok {
		if seconds, ok := float(digits); ok {
			return time.Duration(seconds * float64(time.Second)), seconds >= 0 && seconds <= most.Seconds()
		}
	}
	text, ok := v.text()
	if !ok {
		return 0, false
	}
	d, err := callbackd.ParseDuration(text)
	return d, err == nil
}

// browserTimes are what a browser's fields for a time and a date send, in UTC.
var browserTimes = []string{"2006-01-02T15:04", "2006-01-02"}

// leastSeconds is the least number that [Time] reads as seconds after 1970, in 1973, besides 0.
// Somebody who writes 2027 or 20270102 does not mean so many seconds: a cancellation since that
// time would cancel everything.
const leastSeconds = 100_000_000

// tooFewSeconds reports whether a text is a number that cannot be meant as seconds after 1970.
func tooFewSeconds(text string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil && n != 0 && n < leastSeconds
}

// lostPlus reports whether a text is a time whose offset had a +, which means a space in a
// query.
func lostPlus(text string) bool {
	at := strings.LastIndexByte(text, ' ')
	if at < 0 {
		return false
	}
	_, err := signature.ParseTimestamp(text[:at] + "+" + text[at+1:])
	return err == nil
}

// Time reads a time since 1970, in any form that [signature.ParseTimestamp]
// reads or that a browser sends.
func Time(name string, to *time.Time) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		if !ok {
			return v.must("a string")
		}
		if v.Lenient && text == "" {
			return nil
		}
		at, err := signature.ParseTimestamp(text)
		for _, layout := range browserTimes {
			if err == nil {
				break
			}
			at, err = time.Parse(layout, text)
		}
		if err != nil && v.Lenient && lostPlus(text) {
			return callbackd.Invalid("%s has a space where the + of the offset was. In a query, write + as %%2B.", v.Name)
		}
		if err != nil || at.Before(time.Unix(0, 0)) || tooFewSeconds(text) {
			return v.must("a time such as 2026-01-02T15:04:05Z, or Unix seconds")
		}
		*to = at
		return nil
	}}
}

// Instant reads one moment, as RFC 3339 writes it: a date, a time and an offset from UTC.
// It takes nothing that somebody could understand in another way, such as a time without an
// offset, and keeps milliseconds.
func Instant(name string, to *time.Time) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		var at time.Time
		// Go reads a comma before the fraction too.
		if !ok || strings.Contains(text, ",") || at.UnmarshalText([]byte(text)) != nil || at.Before(time.Unix(0, 0)) {
			return v.must("a time with an offset from UTC, as RFC 3339 writes it, such as 2026-01-02T15:04:05Z or 2026-01-02T17:04:05.250+02:00")
		}
		*to = at.UTC().Truncate(time.Millisecond)
		return nil
	}}
}
