package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type eventsCmd struct {
	List    eventsListCmd    `cmd:"" help:"List events, newest first."`
	Publish eventsPublishCmd `cmd:"" help:"Publish one event."`
	Tail    eventsTailCmd    `cmd:"" help:"Print events as they are accepted, until the command is stopped."`
}

// listFlags are the options of commands that list a page after the other.
type listFlags struct {
	callFlags
	Limit int `default:"50" help:"Largest number of lines; 0 for all."`
}

// maxPage is how much of a list is asked for at once.
const maxPage = 100

// pages calls get for each page until there are Limit rows or no more. get returns the number
// of rows of a page and the cursor of the next one.
func (f *listFlags) pages(q url.Values, get func(q url.Values, room int) (n int, next *string, err error)) error {
	if f.Limit < 0 {
		return settingf("--limit %d is negative; give the largest number of lines, or 0 for all", f.Limit)
	}
	for rows := 0; ; {
		room := maxPage
		if f.Limit > 0 {
			room = min(room, f.Limit-rows)
		}
		q.Set("limit", strconv.Itoa(room))
		n, next, err := get(q, room)
		if rows += n; err != nil || next == nil || f.Limit > 0 && rows >= f.Limit {
			return err
		}
		q.Set("cursor", *next)
	}
}

// set adds what is not empty to a query.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

type eventsListCmd struct {
	listFlags
	Event   string `help:"List events of this type only, such as SESSION:COMPLETE."`
	Session string `placeholder:"KEY" help:"List events of this session only."`
}

// Run lists events. Its JSON is one event a line.
func (c *eventsListCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	set(q, "event", c.Event)
	set(q, "session_key", c.Session)
	return c.pages(q, func(q url.Values, _ int) (int, *string, error) {
		page, err := api.Events(e.ctx, q)
		for i := range page.Data {
			if err == nil {
				err = c.printEvent(e.stdout, &page.Data[i])
			}
		}
		return len(page.Data), page.Next, err
	})
}

func (f *callFlags) printEvent(w io.Writer, ev *wire.Event) error {
	return f.printed(w, ev, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s  %s  session %s #%d", humanize.Time(ev.AcceptedAt), ev.ID, ev.Event, ev.SessionKey, ev.Sequence)
		if ev.Test {
			fmt.Fprint(w, "  test")
		}
		fmt.Fprintln(w)
	})
}

type eventsPublishCmd struct {
	callFlags
	Event     string `arg:"" help:"Event type, such as SESSION:COMPLETE."`
	Session   string `placeholder:"KEY" help:"Session that the event belongs to. Needed."`
	Payload   string `env:"CALLBACKD_EVENT_DATA" name:"data" placeholder:"JSON" help:"Data of the event: a JSON object, or the name of a file after @. Default: {}."`
	ID        string `name:"id" env:"CALLBACKD_EVENT_ID" help:"Idempotency key: a repeat with the same one gets the first answer and publishes nothing. Give times as dates then: 15m is another time in each call."`
	DeliverAt string `name:"deliver-at" help:"Send nothing before this time: 2026-01-02T15:04:05Z, or 15m for that long from now."`
	ExpiresAt string `name:"expires-at" help:"Start no attempt from this time on, written as for --deliver-at."`
	Test      bool   `env:"CALLBACKD_EVENT_TEST" help:"Mark the event as a test: it goes where a real event goes, with the header callback-test, is sent once, and changes neither health nor notices."`
	To        string `name:"callback-url" env:"CALLBACKD_SESSION_CALLBACK_URL" placeholder:"URL" help:"Give the session a callback of its own with this URL. The answer has its secret once."`
}

// timeToCome reads a time, or a duration from now.
func timeToCome(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := callbackd.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(d).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, settingf("%s %q is not a time; write for example 2026-01-02T15:04:05Z, or 15m for in 15 minutes", name, s)
	}
	return t, nil
}

// Run publishes the event.
func (c *eventsPublishCmd) Run(e *env) error {
	n := client.NewEvent{Event: c.Event, SessionKey: c.Session, ID: c.ID, Test: c.Test}
	if c.Session == "" {
		return settingf("an event belongs to a session; give its key with --session")
	}
	if c.Payload != "" {
		raw, err := jsonOption("--data", c.Payload)
		if err != nil {
			return err
		}
		n.Data = raw
	}
	var err error
	if n.DeliverAt, err = timeToCome("--deliver-at", c.DeliverAt, time.Now()); err != nil {
		return err
	}
	if n.ExpiresAt, err = timeToCome("--expires-at", c.ExpiresAt, time.Now()); err != nil {
		return err
	}
	if c.To != "" {
		n.Callback = &client.NewSessionCallback{URL: c.To}
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	a, err := api.Publish(e.ctx, n)
	if err != nil {
		return err
	}
	return c.printed(e.stdout, a, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s  session %s #%d, %s\n", a.ID, a.Event, a.SessionKey, a.Sequence, humanize.Plural(a.Deliveries, "callback"))
		if a.Callback != nil {
			fmt.Fprintf(w, "callback %d of the session, signing secret %s\n", a.Callback.ID, a.Callback.Secret)
		}
	})
}

type eventsTailCmd struct {
	callFlags
	Event   string `help:"Print events of this type only, such as SESSION:COMPLETE."`
	Session string `placeholder:"KEY" help:"Print events of this session only."`
	Since   string `help:"Begin with stored events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago. Default: with the next event."`
}

// Run prints events until it is stopped. Its JSON is one event a line.
func (c *eventsTailCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	since, err := pointInTime("--since", c.Since, time.Now())
	if err != nil {
		return err
	}
	q := client.Stream{Event: c.Event, SessionKey: c.Session, After: cursorBefore(since), Interrupted: func(err error, wait time.Duration) {
		fmt.Fprintf(e.stderr, "callbackd: the stream ended: %v; connecting again in %s\n", err, humanize.Duration(wait))
	}}
	return api.FollowEvents(e.ctx, q, func(m client.StreamMessage) error {
		if m.Event == nil {
			_, err := fmt.Fprintln(e.stderr, "callbackd:", m.Text)
			return err
		}
		if !c.JSON {
			return c.printEvent(e.stdout, m.Event)
		}
		return json.NewEncoder(e.stdout).Encode(m.Event)
	})
}

// cursorBefore returns the cursor of a reader that begins at a time; empty for none.
func cursorBefore(since *time.Time) string {
	if since == nil {
		return ""
	}
	// The cursor is exclusive, and the first event of a millisecond has its first ID.
	return (callbackd.FirstEventID(*since) - 1).String()
}
