package signature

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTimestamp is the longest text that is read, in bytes. The longest one that a
// standard library writes is that of JavaScript's toString, with the name of the zone.
const maxTimestamp = 128

// Parts of a date and time as standard libraries write them.
const (
	reClock    = `(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?`
	reWeekday  = `(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?`
	reMonth    = `(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}`
	reZone     = ` ?(?P<zone>z|ut|utc|gmt|[ecmp][sd]t)?(?: ?(?P<sign>[+-])(?P<zhour>\d\d):?(?P<zminute>\d\d)?(?: [a-z]{1,5})?)?`
	reFullYear = `(?P<year>\d{4})`
)

// spellings lists the forms of a date and time: ISO 8601, extended and basic; the form
// of mail and HTTP, with hyphens or spaces; and that of C's asctime and similar ones,
// with the year in either place.
var spellings = []*regexp.Regexp{
	regexp.MustCompile(`(?i)^\+?` + reFullYear + `-(?P<mon>\d\d)-(?P<day>\d\d)[t ]` + reClock + reZone + `$`),
	regexp.MustCompile(`(?i)^` + reFullYear + `(?P<mon>\d\d)(?P<day>\d\d)t(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?` + reZone + `$`),
	regexp.MustCompile(`(?i)^` + reWeekday + `(?P<day>\d{1,2})[ -]` + reMonth + `[ -](?P<year>\d{4}|\d\d) ` + reClock + reZone + `$`),
	regexp.MustCompile(`(?i)^` + reWeekday + reMonth + ` (?P<day>\d{1,2}),? ` + reFullYear + ` ` + reClock + reZone + `$`),
	regexp.MustCompile(`(?i)^` + reWeekday + reMonth + ` (?P<day>\d{1,2}) ` + reClock + `(?: (?P<zone>utc|gmt|[ecmp][sd]t))?(?: (?P<sign>[+-])(?P<zhour>\d\d):?(?P<zminute>\d\d))? ` + reFullYear + `$`),
}

// zones maps the names of time zones in RFC 822 to hours. Other names without an offset
// mean UTC.
var zones = map[string]int{"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}

var (
	reNumber  = regexp.MustCompile(`^(\d{1,19})(\.\d{1,9}\d*)?(?:[eE]\+?(\d{1,2}))?$`)
	reMicro   = regexp.MustCompile(`^(0\.\d{1,9}) (\d{9,11})$`)                  // PHP's microtime
	reTrailer = regexp.MustCompile(`(?: m=[+-][0-9.]+| ?[(\[][^()\[\]]*[)\]])$`) // Go's monotonic clock; a zone's name
)

// ParseTimestamp reads a time in the forms that standard libraries write: ISO 8601
// (without a zone it is in UTC), the dates of mail and HTTP, C's asctime and similar
// forms, and the time since 1970 in seconds, milliseconds, microseconds or nanoseconds,
// with or without a fraction.
func ParseTimestamp(s string) (time.Time, error) {
	t, ok := parse(s)
	if !ok || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%.40q is no timestamp", s)
	}
	return t, nil
}

func parse(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil { // the documented form
		return t.UTC(), true
	}
	if len(s) > maxTimestamp {
		return time.Time{}, false
	}
	text := strings.Join(strings.Fields(s), " ")
	if t, ok := parseNumber(text); ok {
		return t, true
	}
	text = reTrailer.ReplaceAllString(text, "")
	for _, re := range spellings {
		if m := re.FindStringSubmatch(text); m != nil {
			return parseParts(re, m)
		}
	}
	return time.Time{}, false
}

// parseNumber reads a time since 1970. The unit follows from the size: numbers below
// 10^11 are seconds, which is enough until the year 5138.
func parseNumber(s string) (time.Time, bool) {
	if m := reMicro.FindStringSubmatch(s); m != nil {
		s = m[2] + m[1][1:]
	}
	m := reNumber.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, false
	}
	if m[3] != "" { // such as 1.622378959E9, the way Java writes a float
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f >= math.MaxInt64 {
			return time.Time{}, false
		}
		s = strconv.FormatFloat(f, 'f', 6, 64)
		m = reNumber.FindStringSubmatch(s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	unit := time.Second
	for limit := int64(1e11); n >= limit && unit > time.Nanosecond; limit *= 1000 {
		unit /= 1000
	}
	perSecond := int64(time.Second / unit)
	nanos := n % perSecond * int64(unit)
	if m[2] != "" {
		f, _ := strconv.ParseFloat("0"+m[2], 64)
		nanos += int64(math.Round(f * float64(unit)))
	}
	return time.Unix(n/perSecond, nanos).UTC(), true
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// parseParts returns the time of the parts that a spelling matched. ok is false for a
// date that does not exist.
func parseParts(re *regexp.Regexp, m []string) (t time.Time, ok bool) {
	get := func(name string) string {
		if i := re.SubexpIndex(name); i >= 0 {
			return strings.ToLower(m[i])
		}
		return ""
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(get(name)) // digits, or nothing
		return n
	}
	month := number("mon")
	if name := get("month"); name != "" {
		month = 1 + slices.Index(months, name)
	}
	year := number("year")
	if len(get("year")) == 2 { // RFC 850; 1970 to 2069
		if year += 1900; year < 1970 {
			year += 100
		}
	}
	day, hour, minute, second := number("day"), number("hour"), number("minute"), number("second")
	fraction, _ := strconv.Atoi((get("fraction") + "000000000")[:9])
	zhour, zminute := number("zhour"), number("zminute")
	if hour > 23 || minute > 59 || second > 60 || zhour > 15 || zminute > 59 {
		return time.Time{}, false
	}
	offset := zhour*3600 + zminute*60
	switch {
	case get("sign") == "-":
		offset = -offset
	case get("sign") == "":
		offset = zones[get("zone")] * 3600
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if date.Month() != time.Month(month) || date.Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, fraction, time.FixedZone("", offset)).UTC(), true
}
