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
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// funcs is what templates may call.
var funcs = template.FuncMap{
	"asset": func(name string) string { return assets[name] },
	"clean": clean,
	"clip":  func(n int, s string) string { return clip(clean(s), n) },
	"event": func(t any) string { return strings.TrimPrefix(fmt.Sprint(t), "SESSION:") },
	"fault": func(f callbackd.Fault) string { return callbackd.FailureText(f, 0) },
	"host":  host,
	"stamp": stamp,
	"num":   num,
	"ms":    millis,
	"span":  span,
	"size":  size,
	"faded": func(s string) bool { return s == callbackd.Mask },
	"icon":  func(name string) string { return icons[name] },
	"items": func(v ...any) []any { return v },
	"types": func() []callbackd.EventType { return callbackd.EventTypes },
	"link":  link,
	"query": withQuery,
	"join":  strings.Join,
	"wait":  backlogCount,
	"word":  stateWord,
	"at":    fieldAttrs,
	"short": func(s string) string { return clip(s, 8) },
}

// icons are paths on a 20 by 20 grid, drawn as lines.
var icons = map[string]string{
	"overview":   "M3 15V9m4.7 6V4m4.6 11v-5M17 15V6.500",
	"webhooks":   "M6 14.500a3 3 0 1 1-1.500-5.600L8 4.500m3 .5a3 3 0 1 1 4.500 3L12.500 12M9 15h6.500a2.500 2.500 0 1 0-1-4.800",
	"sessions":   "M4 5h12M4 10h8M4 15h10M1.500 5h.01M1.500 10h.01M1.500 15h.01",
	"deliveries": "M2.500 10h12M10 5l5 5-5 5M17.500 4v12",
	"logs":       "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
	"keys":       "M12.500 3a4.500 4.500 0 1 1-3 7.900L3 17.400V14h3v-2.500h2.500M13 7.500h.01",
	"replays":    "M4 10a6 6 0 1 0 2-4.500L4 7.200M4 3v4.200h4.200",
	"nodes":      "M3 4h14v5H3zM3 11h14v5H3zM6 6.500h.01M6 13.500h.01",
}

// clean shows what would hide, reorder or break text: control characters,
// marks of writing direction, bytes that are not UTF-8. Line ends and tabs
// stay. It writes them as JSON does: within JSON they mean the same.
func clean(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch hi, lo := utf16.EncodeRune(r); {
		case !hidden(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case hi != utf8.RuneError:
			fmt.Fprintf(&b, "\\u%04x\\u%04x", hi, lo)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}

func host(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	return u.Host
}

// moment is a time for a person and, in full, for a program.
type moment struct{ Short, Long, ISO string }

// stamp shows a time. Every time in the console is UTC and says so; with
// JavaScript the browser's own time is shown when the pointer is over it.
func stamp(t any) moment {
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
		return moment{}
	}
	at = at.UTC()
	short := at.Format("15:04:05")
	if now := time.Now().UTC(); at.Year() != now.Year() {
		short = at.Format("2 Jan 2006 15:04")
	} else if at.YearDay() != now.YearDay() {
		short = at.Format("2 Jan 15:04")
	}
	return moment{unbroken(short + " UTC"), at.Format("2006-01-02 15:04:05.000 UTC"), at.Format(time.RFC3339Nano)}
}

// unbroken keeps what belongs together on one line.
func unbroken(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }

// num writes a count with separators.
func num(v any) string {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil {
		return fmt.Sprint(v)
	}
	return humanize.Number(n)
}

// backlogCount writes how many deliveries wait: exactly, or that there are at
// least as many as were counted.
func backlogCount(n int) string { return unbroken(humanize.Count(n, store.MaxPendingShown)) }

// millis writes a latency in milliseconds, on one line.
func millis(ms float64) string {
	return unbroken(humanize.Latency(time.Duration(ms * float64(time.Millisecond))))
}

// span writes a duration, on one line.
func span(d time.Duration) string {
	if d > -time.Second && d < time.Second {
		return unbroken(humanize.Latency(d))
	}
	return unbroken(humanize.Duration(d))
}

// size writes a number of bytes, on one line.
func size(n any) string {
	v, err := strconv.ParseInt(fmt.Sprint(n), 10, 64)
	if err != nil {
		return "?"
	}
	return unbroken(humanize.Size(v))
}

// stateWord is a delivery's state in a word: one that waits after a failed
// attempt has a word of its own.
func stateWord(v store.DeliveryView) string {
	if v.State == callbackd.Pending && v.Last != nil && v.Last.Fault != callbackd.NoFault {
		return retrying
	}
	return string(v.State)
}

// retrying is the word for a delivery that failed and is tried again.
const retrying = "retrying"

// pretty indents JSON for reading; what is none stays as it is.
func pretty(s string) string {
	var buf bytes.Buffer
	if json.Indent(&buf, []byte(s), "", "  ") != nil {
		return s
	}
	return buf.String()
}
