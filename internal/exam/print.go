package exam

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
)

// colours are the escape sequences of a terminal for outcomes.
var colours = map[Outcome]string{Passed: "\x1b[32m", Failed: "\x1b[31m", Skipped: "\x1b[33m"}

const plain = "\x1b[0m"

// Print writes the report for people.
func (r *Report) Print(out io.Writer, colour bool) error {
	const column = 30 // outcome and name
	var b strings.Builder
	for _, c := range r.Cases {
		outcome := fmt.Sprintf("%-7s", c.Outcome)
		if colour {
			outcome = colours[c.Outcome] + outcome + plain
		}
		fmt.Fprintf(&b, "%s  %-19s  %s\n", outcome, c.Name, c.summary())
		for i := range c.Requests {
			if q := &c.Requests[i]; !q.Met() {
				fmt.Fprintf(&b, "%*s%s: %s; expected %s (%s, %s)\n", column, "", q.Text, safetext.Escape(q.Error), q.Expect, q.Session, q.Event)
			}
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "%*s→ %s\n", column, "", c.Remedy)
		}
		if c.Check != "" {
			fmt.Fprintf(&b, "%*slook up in your program: %s\n", column, "", c.Check)
		}
	}
	fmt.Fprintf(&b, "\n%s: %d passed, %d failed", humanize.Plural(len(r.Cases), "case"), r.Passed, r.Failed)
	if r.Skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped because the good callback failed", r.Skipped)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(out, b.String())
	return err
}

// summary tells what was sent for a case: how many requests, the answers, and in which
// sessions.
func (c *Case) summary() string {
	if len(c.Requests) == 0 {
		return "not sent"
	}
	var statuses, sessions []string
	for i := range c.Requests {
		statuses = appendNew(statuses, c.Requests[i].answer())
		sessions = appendNew(sessions, c.Requests[i].Session)
	}
	text := humanize.Plural(len(c.Requests), "request") + ", answered " + strings.Join(statuses, ", ")
	if len(sessions) == 1 {
		text += ", session " + sessions[0]
	}
	return text
}

// answer returns the status in words.
func (r *Request) answer() string {
	if r.Status == 0 {
		return "not at all"
	}
	return fmt.Sprint(r.Status)
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// The elements of JUnit's XML, as CI systems read it.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
		Skipped *struct{}     `xml:"skipped"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit's XML.
func (r *Report) JUnit(out io.Writer) error {
	suite := junitSuite{Name: "callbackd exam " + r.URL, Tests: len(r.Cases), Failures: r.Failed, Skipped: r.Skipped}
	total := 0.0
	for _, c := range r.Cases {
		one := junitCase{Class: "callbackd.exam", Name: c.Name}
		seconds := 0.0
		var wrong strings.Builder
		for i := range c.Requests {
			q := &c.Requests[i]
			seconds += q.Time.Seconds()
			if !q.Met() {
				fmt.Fprintf(&wrong, "%s: %s; expected %s (%s, %s)\n", q.Text, safetext.Escape(q.Error), q.Expect, q.Session, q.Event)
			}
		}
		total += seconds
		one.Time = fmt.Sprintf("%.3f", seconds)
		switch c.Outcome {
		case Failed:
			one.Failure = &junitFailure{Message: c.Remedy, Text: wrong.String()}
		case Skipped:
			one.Skipped = new(struct{})
		}
		suite.Cases = append(suite.Cases, one)
	}
	suite.Time = fmt.Sprintf("%.3f", total)
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(out)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}
