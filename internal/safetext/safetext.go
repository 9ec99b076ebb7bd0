// Package safetext makes text that others wrote safe to show: on pages, in a
// terminal, as a name.
package safetext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// IsHidden reports whether a character hides, reorders or breaks text: control
// characters, formatting characters such as marks of the writing direction, and
// separators of lines and paragraphs. Line ends and tabs do not.
func IsHidden(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// IsVisible reports whether a text is valid UTF-8 on one line and has no hidden
// characters. Such characters could make one name look like another.
func IsVisible(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsAny(s, "\n\t") && !strings.ContainsFunc(s, IsHidden)
}

// Escape makes hidden characters and bytes that are not UTF-8 visible. It writes
// them as JSON does, so that JSON keeps its meaning.
func Escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, IsHidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch hi, lo := utf16.EncodeRune(r); {
		case !IsHidden(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case hi != utf8.RuneError:
			fmt.Fprintf(&b, "\\u%04x\\u%04x", hi, lo)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// Replace puts U+FFFD in the place of hidden characters and of bytes that are not
// UTF-8, so that a text cannot control a terminal.
func Replace(s string) string {
	return strings.Map(func(r rune) rune {
		if IsHidden(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// Line is Replace for a text that must stand on one line: there is one space for each run of
// white space in it.
func Line(s string) string { return strings.Join(strings.Fields(Replace(s)), " ") }

// Clip returns a text that is cut after n characters at the latest, with "…" where
// it was cut.
func Clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}
