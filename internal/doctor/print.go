package doctor

import (
	"fmt"
	"io"
	"strings"

	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
)

// colours are the escape sequences of a terminal.
var colours = map[Level]string{OK: "\x1b[32m", Warning: "\x1b[33m", Problem: "\x1b[31m"}

const plain = "\x1b[0m"

// Print writes one line for each finding, with its remedy below, and a line with the counts.
func (r *Report) Print(out io.Writer, colour bool) error {
	var b strings.Builder
	width := 0
	for _, c := range checks {
		width = max(width, len(c.name))
	}
	for _, f := range r.Findings {
		level := fmt.Sprintf("%-7s", f.Level)
		if colour {
			level = colours[f.Level] + level + plain
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", level, width, f.Check, safetext.Escape(f.Message))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "%*s  → %s\n", len("problem")+2+width, "", safetext.Escape(f.Remedy))
		}
	}
	fmt.Fprintf(&b, "\n%s, %s\n", humanize.Plural(r.Problems, "problem"), humanize.Plural(r.Warnings, "warning"))
	_, err := io.WriteString(out, b.String())
	return err
}
