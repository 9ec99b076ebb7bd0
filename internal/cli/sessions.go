package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type sessionsCmd struct {
	Find sessionsFindCmd `cmd:"" help:"Find sessions, newest first."`
	Show sessionsShowCmd `cmd:"" help:"Show a session with its events and their deliveries."`
}

type sessionsFindCmd struct {
	listFlags
	Text   string `arg:"" optional:"" help:"Text to find: a part of the session key, of the VIN, or of a name or value of the reference. Default: all sessions."`
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

// Run shows the session. Its JSON is the session alone. A session that is not stored is shown
// by its events, which were published.
func (c *sessionsShowCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	s, err := api.Session(e.ctx, c.SessionKey)
	if c.JSON && err == nil {
		return c.printed(e.stdout, s, nil)
	}
	var answer *client.Error
	unknown := errors.As(err, &answer) && answer.Status == http.StatusNotFound
	if c.JSON || err != nil && !unknown {
		return err
	}
	page, noEvents := api.SessionEvents(e.ctx, c.SessionKey, "")
	switch {
	case unknown && noEvents != nil:
		return err
	case unknown:
		fmt.Fprintf(e.stdout, "%s  not stored; its events were published\n", c.SessionKey)
	default:
		fmt.Fprintf(e.stdout, "%s  %s\n", s.SessionKey, s.Status)
		if v := s.Vehicle; v != nil && v.VIN != nil {
			fmt.Fprintf(e.stdout, "VIN %s\n", *v.VIN)
		}
	}
	for err = noEvents; err == nil; page, err = api.SessionEvents(e.ctx, c.SessionKey, *page.Next) {
		printSessionEvents(e.stdout, page.Data)
		if page.Next == nil {
			return nil
		}
	}
	return err
}

func printSessionEvents(w io.Writer, events []wire.SessionEvent) {
	for _, ev := range events {
		fmt.Fprintf(w, "  #%d  %s  %s  %s  %s\n", ev.Sequence, humanize.Time(ev.AcceptedAt), ev.ID, ev.Event, humanize.Plural(len(ev.Deliveries), "delivery"))
	}
}
