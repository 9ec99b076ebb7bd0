package callbackd

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// AsksToWaitUntil returns the time until which the receiver asks for no requests:
// by Retry-After with 429 Too Many Requests or 503 Service Unavailable. It returns
// the zero time for any other answer.
func (r *Result) AsksToWaitUntil(now time.Time) time.Time {
	if r.Status != http.StatusTooManyRequests && r.Status != http.StatusServiceUnavailable {
		return time.Time{}
	}
	if at, ok := ParseRetryAfter(r.RetryAfter, now); ok && at.After(now) {
		return at
	}
	return time.Time{}
}

// ParseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds
// or an HTTP date. It also reads what servers send in practice: fractions of
// seconds, numbers with a unit, Unix times and other common dates. A date without
// a zone is in UTC. Of several values, separated by commas, the latest time
// counts. The time is never before now and at most [MaxRetryAfter] after it. ok is
// false when no value can be read.
func ParseRetryAfter(s string, now time.Time) (t time.Time, ok bool) {
	parts := strings.Split(s, ",")
	for i := 0; i < len(parts); i++ {
		at, understood := oneRetryAfter(parts[i], now)
		if !understood && i+1 < len(parts) { // a date has a comma of its own
			if at, understood = oneRetryAfter(parts[i]+","+parts[i+1], now); understood {
				i++
			}
		}
		if understood {
			t, ok = later(t, at), true
		}
	}
	if !ok {
		return time.Time{}, false
	}
	return earlier(later(t, now), now.Add(MaxRetryAfter)), true
}

// retryAfterDates lists the date formats that are read besides those of HTTP.
var retryAfterDates = []string{
	time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05",
	"Monday, 02-Jan-06 15:04:05", "2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05",
	time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05",
}

func oneRetryAfter(s string, now time.Time) (time.Time, bool) {
	s = strings.Trim(strings.TrimSpace(s), `"' `)
	if at, ok := number(s, now); ok {
		return at, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return at, true
	}
	for _, layout := range retryAfterDates {
		at, err := time.ParseInLocation(layout, s, time.UTC)
		if err != nil {
			continue
		}
		if zone, _ := at.Zone(); strings.Contains(layout, "MST") && zone != "UTC" && zone != "GMT" {
			return time.Time{}, false // the abbreviation of a zone does not say its offset
		}
		return at, true
	}
	return time.Time{}, false
}

// secondUnits maps the words for seconds, minutes and hours to seconds.
var secondUnits = map[string]float64{
	"": 1, "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
	"m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60, "h": 3600, "hour": 3600, "hours": 3600,
}

// A number from unixFrom to unixTo is a Unix time: in seconds below unixMillis, in
// milliseconds from there on. As a wait it would be at least 30 years.
const (
	unixFrom   = 1e9
	unixMillis = 1e11
	unixTo     = 1e14
)

// number reads a wait or a Unix time.
func number(s string, now time.Time) (time.Time, bool) {
	rest := strings.TrimLeft(strings.TrimPrefix(s, "+"), "0123456789.")
	n, err := strconv.ParseFloat(s[:len(s)-len(rest)], 64)
	if err != nil && n == 0 { // otherwise it is too large for a float and is limited below
		return time.Time{}, false
	}
	unit := strings.ToLower(strings.TrimSpace(rest))
	factor, known := secondUnits[unit]
	switch {
	case !known:
		return time.Time{}, false
	case unit == "" && n >= unixFrom && n < unixMillis:
		return time.UnixMilli(int64(n * 1000)), true
	case unit == "" && n >= unixMillis && n < unixTo:
		return time.UnixMilli(int64(n)), true
	}
	return now.Add(time.Duration(min(n*factor, MaxRetryAfter.Seconds()) * float64(time.Second))), true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
