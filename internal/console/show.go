package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
)

// funcs are the functions that templates may call.
var funcs = template.FuncMap{
	"asset":      func(name string) string { return assets[name] },
	"callback":   callbackTitle,
	"clean":      safetext.Escape,
	"clip":       func(n int, s string) string { return safetext.Clip(safetext.Escape(s), n) },
	"count":      backlogCount,
	"docs":       docsLink,
	"duration":   duration,
	"errorAttrs": errorAttrs,
	"event":      eventName,
	"fault":      func(f callbackd.Fault) string { return callbackd.FailureText(f, 0) },
	"host":       host,
	"icon":       func(name string) string { return icons[name] },
	"items":      func(v ...any) []any { return v },
	"latency":    latency,
	"link":       link,
	"masked":     func(s string) bool { return s == callbackd.Mask },
	"num":        number,
	"query":      withQuery,
	"size":       humanize.Size[int64],
	"state":      stateText,
	"time":       formatTime,
	"code":       func(k callbackd.ActorKind) string { return string(k) },
	"keeps":      func() []keepChoice { return keepChoices },
}

// icons are the paths of line drawings on a grid of 20 by 20.
var icons = map[string]string{
	"overview":   "M3 15V9m4.7 6V4m4.6 11v-5M17 15V6.500",
	"callbacks":  "M6 14.500a3 3 0 1 1-1.500-5.600L8 4.500m3 .5a3 3 0 1 1 4.500 3L12.500 12M9 15h6.500a2.500 2.500 0 1 0-1-4.800",
	"sessions":   "M4 5h12M4 10h8M4 15h10M1.500 5h.01M1.500 10h.01M1.500 15h.01",
	"deliveries": "M2.500 10h12M10 5l5 5-5 5M17.500 4v12",
	"logs":       "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
	"audit":      "M4 3h8l4 4v10H4zM7 11l2 2 4-4",
	"keys":       "M12.500 3a4.500 4.500 0 1 1-3 7.900L3 17.400V14h3v-2.500h2.500M13 7.500h.01",
	"tokens":     "M3 6h14v8H3zM6.500 10h.01M10 10h.01M13.500 10h.01",
	"replays":    "M4 10a6 6 0 1 0 2-4.500L4 7.200M4 3v4.200h4.200",
	"erases":     "M7 16.500 2.500 12l8-8.500 6.500 6-7 7zM7 16.500h10M6.500 8l6.500 6",
	"incidents":  "M10 3 18 16.500H2zM10 8v4M10 14.200h.01",
	"nodes":      "M3 4h14v5H3zM3 11h14v5H3zM6 6.500h.01M6 13.500h.01",
}

// eventName is an event type without the prefix that all have.
func eventName(t any) string { return strings.TrimPrefix(fmt.Sprint(t), "SESSION:") }

// callbackTitle names a callback by what it is for: an event, or a session.
func callbackTitle(cb *callbackd.Callback) string {
	if cb.OfSession() {
		return "For session " + safetext.Clip(safetext.Escape(cb.Session), 40)
	}
	return eventName(cb.Event)
}

// host is the host of a URL, or the text itself when it is no URL.
func host(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	return u.Host
}

// timeText is a time for a person, short and in full, and for a program.
type timeText struct{ Short, Long, ISO string }

// formatTime shows a time.Time or a *time.Time. Every time in the console is
// UTC and says so. With JavaScript, the browser's own time is in the tooltip.
func formatTime(t any) timeText {
	var at time.Time
	switch v := t.(type) {
	case time.Time:
		at = v
	case *time.Time:
		if v != nil {
			at = *v
		}
	}
	if at.IsZero() {
		return timeText{}
	}
	at = at.UTC()
	now := time.Now().UTC()
	layout := "15:04:05"
	switch {
	case at.Year() != now.Year():
		layout = "2 Jan 2006 15:04"
	case at.YearDay() != now.YearDay():
		layout = "2 Jan 15:04"
	}
	return timeText{
		Short: noBreak(at.Format(layout + " UTC")),
		Long:  at.Format("2006-01-02 15:04:05.000 UTC"),
		ISO:   at.Format(time.RFC3339Nano),
	}
}

// noBreak keeps a text on one line.
func noBreak(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }

// number writes a number of any type: an integer with separators, a fraction
// with as many digits as it has.
func number(v any) string {
	switch n := v.(type) {
	case float64:
		if n == float64(int64(n)) {
			return humanize.Number(int64(n))
		}
		return strconv.FormatFloat(n, 'f', -1, 64)
	case int:
		return humanize.Number(n)
	case int64:
		return humanize.Number(n)
	}
	return fmt.Sprint(v)
}

// duration writes a duration on one line.
func duration(d time.Duration) string { return noBreak(humanize.Duration(d)) }

// latency writes a measured duration on one line.
func latency(d time.Duration) string { return noBreak(humanize.Latency(d)) }

// milliseconds converts the API's times of an attempt.
func milliseconds(ms float64) time.Duration {
	return time.Duration(ms * float64(time.Millisecond))
}

// backlogCount writes how many deliveries are pending: exactly, or that there
// are at least as many as were counted.
func backlogCount(n int) string { return noBreak(humanize.Count(n, store.MaxPendingShown)) }

// retrying is the state of a pending delivery whose last attempt failed.
const retrying = "retrying"

// stateText is the state of a delivery as pages show it.
func stateText(v store.DeliveryView) string {
	if v.State == callbackd.Pending && v.Last != nil && v.Last.Fault != callbackd.NoFault {
		return retrying
	}
	return string(v.State)
}

// indented indents JSON. It returns other text as it is.
func indented(s string) string {
	var buf bytes.Buffer
	if json.Indent(&buf, []byte(s), "", "  ") != nil {
		return s
	}
	return buf.String()
}
