package callbackd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// days matches a duration that begins with whole days.
var days = regexp.MustCompile(`^([+-]?)([0-9]+)d(.*)$`)

// ParseDuration reads a duration in Go's format. It may begin with days of 24
// hours: "30d", "1d12h", "90s".
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration; write for example 30d, 1d12h, 20s or 500ms", s)
	m := days.FindStringSubmatch(s)
	if m == nil {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil || n > int64((1<<63-1)/day) {
		return 0, bad
	}
	sum := time.Duration(n) * day
	if m[3] != "" {
		rest, err := time.ParseDuration(m[3])
		if err != nil || strings.ContainsAny(m[3][:1], "+-") || sum+rest < sum {
			return 0, bad
		}
		sum += rest
	}
	if m[1] == "-" {
		sum = -sum
	}
	return sum, nil
}

// FormatDuration formats a duration so that ParseDuration reads it: with days and
// without units that are zero, such as "30d", "1d12h", "1m30s" or "0s".
func FormatDuration(d time.Duration) string {
	if d < 0 && d != -1<<63 {
		return "-" + FormatDuration(-d)
	}
	var b strings.Builder
	rest := d
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	if rest != 0 || b.Len() == 0 {
		b.WriteString(rest.String())
	}
	return b.String()
}
