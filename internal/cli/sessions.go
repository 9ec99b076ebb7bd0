package cli

import (
	"fmt"
	"io"
	"net/url"

	"callbackd/internal/humanize"
)

type sessionsCmd struct {
	Find sessionsFindCmd `cmd:"" help:"Find sessions, newest first."`
	Show sessionsShowCmd `cmd:"" help:"Show a session with its events and their deliveries."`
}

type sessionsFindCmd struct {
	listFlags
	Text   string `arg:"" optional:"" help:"Text to find, such as a session key, a VIN or a phone number. Default: all sessions."`
	Status string `env:"CALLBACKD_SESSION_STATUS" help:"Find sessions with this status only, such as COMPLETE."`
}

// Run lists the sessions. Its JSON is one session a line.
func (c *sessionsFindCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	set(q, "q", c.Text)
	set(q, "status", c.Status)
	return c.pages(q, func(q url.Values, _ int) (int, *string, error) {
		page, err := api.Sessions(e.ctx, q)
		for i := range page.Data {
			if s := &page.Data[i]; err == nil {
				err = c.printed(e.stdout, s, func(w io.Writer) { fmt.Fprintf(w, "%s  %s\n", s.SessionKey, s.Status) })
			}
		}
		return len(page.Data), page.Next, err
	})
}

type sessionsShowCmd struct {
	callFlags
	SessionKey string `arg:"" help:"Key of the session."`
}

// Run shows the session. Its JSON is the session alone.
func (c *sessionsShowCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	s, err := api.Session(e.ctx, c.SessionKey)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printed(e.stdout, s, nil)
	}
	events, err := api.Events(e.ctx, url.Values{"session_key": {c.SessionKey}})
	if err != nil {
		return err
	}
	return c.printed(e.stdout, s, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s\n", s.SessionKey, s.Status)
		if v := s.Vehicle; v != nil && v.VIN != nil {
			fmt.Fprintf(w, "VIN %s\n", *v.VIN)
		}
		for _, ev := range events.Data {
			fmt.Fprintf(w, "  #%d\t%s\t%s\t%s\t%s\n", ev.Sequence, humanize.Time(ev.AcceptedAt), ev.ID, ev.Event, humanize.Plural(len(ev.Deliveries), "delivery"))
		}
	})
}
