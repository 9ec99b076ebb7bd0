// Package doctor finds out what keeps a callbackd from running well where it is: its
// settings, the machine, the network and the store. It changes nothing and writes no file,
// also not to try whether it may, so it can run beside a server.
//
// A check is an entry of one table. What it asks of the machine is in a [Machine], so that a
// test can make each problem real.
package doctor

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"callbackd/internal/store"
)

// Level says how bad a finding is.
type Level string

// The levels. A Problem keeps callbackd from working, or loses something sooner or later. A
// Warning may be meant so.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

// Finding is what a check says.
type Finding struct {
	Check   string `json:"check"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Remedy says what to do; empty when the level is OK.
	Remedy string `json:"remedy,omitempty"`
}

// Report has the findings of all checks, in the order of the table.
type Report struct {
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
}

// Settings are those of the server that is to run.
type Settings struct {
	Err error // why a server with these settings does not start; nil: it does

	Data      string // the data directory, unless Database is set
	Keyset    string // path of the keyset file
	Database  bool   // on PostgreSQL
	Listen    string
	Proxy     *url.URL // for deliveries; nil: none
	PublicURL *url.URL // nil: none
	CAFile    string   // empty: none
	Archive   string   // the directory for what retention removes; empty: none
	// Mail is checked by connecting and signing in; nil: no mails are sent.
	Mail interface{ Check(context.Context) error }

	MaxInFlight int
	Grace       time.Duration
	Lease       time.Duration
	// NodeConnections is how many connections to PostgreSQL one node uses.
	NodeConnections int
}

// Opener looks into the store of the settings. It changes nothing.
type Opener interface {
	Survey(ctx context.Context, now func() time.Time) (store.Survey, error)
	Inspect(ctx context.Context) (store.Store, error)
}

// checkTimeout bounds each check, and reading the store.
const checkTimeout = 15 * time.Second

// patient is what the checks look at.
type patient struct {
	Settings
	*Machine
	facts
}

// checks is the table of all checks, in the order in which they are printed.
var checks = []struct {
	name string
	run  func(context.Context, *patient) []Finding
}{
	{"settings", checkSettings},
	{"disk", checkDisk},
	{"permissions", checkPermissions},
	{"archive", checkArchive},
	{"store", checkStore},
	{"keyset", checkKeyset},
	{"audit", checkAudit},
	{"clock", checkClock},
	{"nodes", checkNodes},
	{"address", checkAddress},
	{"dns", checkDNS},
	{"egress", checkEgress},
	{"certificates", checkCertificates},
	{"mail", checkMail},
	{"files", checkDescriptors},
	{"memory", checkMemory},
	{"systemd", checkUnits},
}

// Run makes all checks.
func Run(ctx context.Context, s Settings, m *Machine, o Opener) Report {
	p := &patient{Settings: s, Machine: m}
	within(ctx, func(ctx context.Context) { p.facts = read(ctx, &s, m, o) })
	r := Report{Findings: []Finding{}}
	for _, c := range checks {
		within(ctx, func(ctx context.Context) {
			for _, f := range c.run(ctx, p) {
				f.Check = c.name
				r.add(f)
			}
		})
	}
	return r
}

func within(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f(ctx)
}

func (r *Report) add(f Finding) {
	switch f.Level {
	case Problem:
		r.Problems++
	case Warning:
		r.Warnings++
	}
	r.Findings = append(r.Findings, f)
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, Message: fmt.Sprintf(format, args...)}
}

func warning(remedy, format string, args ...any) Finding {
	return Finding{Level: Warning, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

func problem(remedy, format string, args ...any) Finding {
	return Finding{Level: Problem, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// orOK returns what was found, or one finding that all is well.
func orOK(found []Finding, format string, args ...any) []Finding {
	if len(found) == 0 {
		return []Finding{ok(format, args...)}
	}
	return found
}

func checkSettings(_ context.Context, p *patient) []Finding {
	if p.Err != nil {
		return []Finding{problem("Change the setting as the message says. A server with these settings does not start (exit code 78).", "%v", p.Err)}
	}
	if p.Database {
		return []Finding{ok("they are valid; the store is on PostgreSQL")}
	}
	return []Finding{ok("they are valid; the data directory is %s", p.Data)}
}
