package console

import (
	"fmt"
	"net/url"
	"strings"
)

// link is the address of a page of the console. It is the one function that
// builds addresses: it escapes each segment, because a session key may be any
// visible ASCII and must lead to its own page, whatever it looks like.
func link(segments ...any) string {
	var b strings.Builder
	b.WriteString(Root)
	if len(segments) == 0 {
		b.WriteByte('/')
	}
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(escapeSegment(fmt.Sprint(s)))
	}
	return b.String()
}

// escapeSegment escapes one segment of a path. A segment of dots alone would
// mean another page, so its dots are escaped too.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// withQuery adds members to an address, given as name, value, name, value.
// Empty values are left out.
func withQuery(address string, members ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(members); i += 2 {
		if v := fmt.Sprint(members[i+1]); v != "" {
			q.Set(fmt.Sprint(members[i]), v)
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
