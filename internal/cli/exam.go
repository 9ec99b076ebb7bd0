package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/clock"
	"callbackd/internal/egress"
	"callbackd/internal/exam"
)

type examCmd struct {
	URL         string        `arg:"" help:"URL of the receiver, such as http://127.0.0.1:9000/hook."`
	Secret      string        `name:"signing-secret" aliases:"secret" required:"" env:"CALLBACKD_WEBHOOK_SECRET" secret:"" placeholder:"whsec_…" help:"Signing secret that the receiver verifies with. Also from a file: CALLBACKD_WEBHOOK_SECRET_FILE."`
	Event       string        `placeholder:"TYPE" help:"Type of the events that are sent. Default: SESSION:COMPLETE."`
	Header      []string      `sep:"none" placeholder:"NAME:VALUE" help:"Header of every request, as the callback has it. Repeat the option for more."`
	Timeout     time.Duration `default:"15s" help:"Time that the receiver has for each answer, up to 5m."`
	AllowTarget []string      `env:"CALLBACKD_ALLOW_TARGET" placeholder:"CIDR" help:"Range of addresses outside of this machine that may be examined, such as 10.1.2.3/32. Repeat the option, or separate ranges with commas. Only examine a receiver that is yours."`
	JSON        bool          `help:"Print JSON instead of text."`
	JUnit       string        `name:"junit" type:"path" placeholder:"FILE" help:"Also write the report to this file as JUnit's XML, for CI."`
}

// slowPause is the time between two pieces of a body that is sent slowly: long enough
// that no receiver gets them in one read.
const slowPause = 300 * time.Millisecond

// Run examines the receiver. It fails when a case failed.
func (c *examCmd) Run(e *env) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	r, err := exam.Run(e.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetEscapeHTML(false)
		err = enc.Encode(r)
	} else {
		err = r.Print(e.stdout, isTerminal(e.stdout))
	}
	if err == nil && c.JUnit != "" {
		err = writeJUnit(c.JUnit, r)
	}
	if err == nil && r.Failed > 0 {
		return exit(exitFailed)
	}
	return err
}

// loopback are the addresses of this machine.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func (c *examCmd) options() (exam.Options, error) {
	o := exam.Options{URL: c.URL, Secret: c.Secret, Event: callbackd.EventType(cmp.Or(c.Event, string(callbackd.Complete))), Timeout: c.Timeout, Version: app.Version,
		Pause: func(ctx context.Context) bool { return clock.Sleep(ctx, slowPause) }}
	switch {
	case !o.Event.Valid():
		return o, settingf("--event %q is unknown; give one such as %s", c.Event, callbackd.Complete)
	case c.Timeout < time.Second || c.Timeout > 5*time.Minute:
		return o, settingf("--timeout %s is invalid; give a time from 1s to 5m", callbackd.FormatDuration(c.Timeout))
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return o, settingf("--header %q has no colon; write for example \"X-Token: abc\"", name)
		}
		o.Headers = append(o.Headers, callbackd.Header{Name: strings.TrimSpace(name), Value: callbackd.Secret(strings.TrimSpace(value))})
	}
	allow, err := targets(c.AllowTarget)
	o.Policy = egress.OnlyPolicy(slices.Concat(loopback, allow))
	return o, err
}

// writeJUnit writes a report to a file.
func writeJUnit(path string, r *exam.Report) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	if err := errors.Join(r.JUnit(f), f.Close()); err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return nil
}
