package console

import (
	"fmt"
	"net/url"
	"strings"
)

// link returns the address of a page of the console. Only this function and
// [docsLink] build addresses. It escapes each segment, because a session key may be
// any visible ASCII and must lead to its own page.
func link(segments ...any) string {
	if len(segments) == 0 {
		return Root + "/"
	}
	return Root + joinSegments(segments)
}

// docsLink returns the address of a page of the documents; without segments, of the first.
func docsLink(segments ...any) string { return "/docs" + joinSegments(segments) }

func joinSegments(segments []any) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(escapeSegment(fmt.Sprint(s)))
	}
	return b.String()
}

// escapeSegment escapes one segment of a path. It escapes the dots of "." and
// ".." too, which would otherwise name another page.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// withQuery adds parameters to an address, given as name, value, name, value.
// It leaves out empty values.
func withQuery(address string, parameters ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if value := fmt.Sprint(parameters[i+1]); value != "" {
			q.Set(fmt.Sprint(parameters[i]), value)
		}
	}
	return withValues(address, q)
}

func withValues(address string, q url.Values) string {
	if len(q) == 0 {
		return address
	}
	return address + "?" + q.Encode()
}
