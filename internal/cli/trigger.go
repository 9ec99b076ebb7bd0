package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/clock"
	"callbackd/internal/humanize"
	"callbackd/internal/session"
	"callbackd/internal/strictjson"
	"callbackd/wire"
)

type triggerCmd struct {
	callFlags
	What    string   `arg:"" name:"event" help:"Event type, such as SESSION:COMPLETE or one of the server's own, or inspection: all events of one inspection, in order."`
	Set     []string `sep:"none" placeholder:"PATH=VALUE" help:"Value of a member of the data, such as vehicle.vin=1HGCM82633A004352 or photos.0.photo_url=https://…. The value is JSON, or else a text. Repeat the option for more."`
	Session string   `placeholder:"KEY" help:"Session that the events belong to. Default: a new one, whose key begins with TST-."`
	Wait    bool     `help:"Wait until each delivery has ended, which takes ten minutes at most. Exit code 1 when one was not delivered, or when no callback got the event."`
}

// inspection is the argument of trigger for a whole inspection.
const inspection = "inspection"

// testAccount begins the key of a session that trigger makes.
const testAccount = "TST"

// Run publishes the events and prints what was accepted.
func (c *triggerCmd) Run(e *env) error {
	if err := c.known(); err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	key := cmp.Or(c.Session, callbackd.NewSessionKey(testAccount))
	samples := session.Inspection(key, time.Now().Add(-session.InspectionTime))
	if t := callbackd.EventType(c.What); t.IsOwn() {
		if samples, err = ownSample(e.ctx, api, t); err != nil {
			return err
		}
	}
	events, err := c.events(key, samples)
	if err != nil {
		return err
	}
	var out wire.Triggered
	if out.Events, err = api.PublishAll(e.ctx, events); err != nil {
		return err
	}
	if !c.JSON {
		if err := c.printed(e.stdout, nil, func(w io.Writer) { printAccepted(w, out.Events) }); err != nil {
			return err
		}
	}
	if out.Deliveries, err = c.outcomes(e.ctx, api, out.Events); err != nil {
		return err
	}
	if err := c.printOutcomes(e, api, &out); err != nil {
		return err
	}
	undelivered := slices.ContainsFunc(out.Deliveries, func(d wire.Delivery) bool { return d.State != string(callbackd.Delivered) })
	if c.Wait && (undelivered || len(out.Deliveries) == 0) {
		return exit(exitFailed)
	}
	return nil
}

// known reports an event that nobody publishes.
func (c *triggerCmd) known() error {
	switch t := callbackd.EventType(c.What); {
	case t.IsNotice():
		return settingf("%s is a notice, which only callbackd publishes; `callbackd callbacks test %[1]s` sends a sample of it", t)
	case c.What != inspection && !t.Valid():
		return settingf("there is no event %q; give inspection, one of %s, or one of the server's own types", c.What, joined(callbackd.SessionEvents))
	}
	return nil
}

// ownSample returns the sample of a type of the platform's own, from the server's catalogue.
func ownSample(ctx context.Context, api *client.Client, t callbackd.EventType) ([]session.SampleEvent, error) {
	kind, err := api.EventType(ctx, string(t))
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(strictjson.Value(kind.Sample))
	if err != nil {
		return nil, err
	}
	var names []string
	var values []strictjson.Value
	for _, m := range members {
		if m.Name != "event" && m.Name != "session_key" { // the server adds them
			names, values = append(names, m.Name), append(values, m.Value)
		}
	}
	return []session.SampleEvent{{Type: t, Data: assembled(names, values, true)}}, nil
}

// events returns the events that the command publishes: all samples of an inspection, or the
// last one of an event. The inspection has just ended, so only the session and the times
// differ from the samples in the catalogue.
func (c *triggerCmd) events(key string, samples []session.SampleEvent) ([]client.NewEvent, error) {
	played := slices.Clone(samples)
	if c.What != inspection {
		for played[len(played)-1].Type != callbackd.EventType(c.What) {
			played = played[:len(played)-1]
		}
		played = played[len(played)-1:]
	}
	for _, text := range c.Set {
		if err := setInAll(played, text); err != nil {
			return nil, err
		}
	}
	out := make([]client.NewEvent, len(played))
	for i, ev := range played {
		out[i] = client.NewEvent{Event: string(ev.Type), SessionKey: key, Data: json.RawMessage(ev.Data), Test: true}
	}
	return out, nil
}

func printAccepted(w io.Writer, events []wire.Accepted) {
	for _, a := range events {
		fmt.Fprintf(w, "%s  %s  session %s #%d  test, %s\n", a.ID, a.Event, a.SessionKey, a.Sequence, humanize.Plural(a.Deliveries, "callback"))
		if a.Warning != "" {
			fmt.Fprintf(w, "  warning: %s\n", a.Warning)
		}
	}
}

// pollEvery is how often a command that waits asks the server.
const pollEvery = 300 * time.Millisecond

// outcomes returns the deliveries of the events, oldest first. With --wait all of them have
// ended.
func (c *triggerCmd) outcomes(ctx context.Context, api *client.Client, events []wire.Accepted) ([]wire.Delivery, error) {
	for {
		all, err := deliveriesOf(ctx, api, events)
		if err != nil {
			return nil, err
		}
		waits := slices.ContainsFunc(all, func(d wire.Delivery) bool { return !callbackd.State(d.State).Terminal() })
		if !c.Wait || !waits {
			return all, nil
		}
		if !clock.Sleep(ctx, pollEvery) {
			return nil, ctx.Err()
		}
	}
}

// deliveriesOf returns the deliveries of some events of one session, oldest first.
func deliveriesOf(ctx context.Context, api *client.Client, events []wire.Accepted) ([]wire.Delivery, error) {
	wanted, ours := 0, map[string]bool{}
	for _, a := range events {
		wanted += a.Deliveries
		ours[a.ID] = true
	}
	out := []wire.Delivery{}
	q := url.Values{"session_key": {events[0].SessionKey}, "limit": {"200"}}
	for len(out) < wanted {
		page, err := api.Deliveries(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, d := range page.Data {
			if ours[d.EventID] {
				out = append(out, d)
			}
		}
		if page.Next == nil {
			break
		}
		q.Set("cursor", *page.Next)
	}
	slices.Reverse(out)
	return out, nil
}

// printOutcomes prints the outcome of each delivery after --wait, and otherwise how to find
// out.
func (c *triggerCmd) printOutcomes(e *env, api *client.Client, out *wire.Triggered) error {
	if c.JSON {
		return c.printed(e.stdout, out, nil)
	}
	if len(out.Deliveries) == 0 {
		return c.printWhyNone(e, api, out.Events)
	}
	if !c.Wait {
		return c.printed(e.stdout, nil, func(w io.Writer) {
			fmt.Fprintf(w, "to follow: callbackd deliveries list --session %s\n", out.Events[0].SessionKey)
			fmt.Fprintf(w, "           callbackd deliveries explain %s\n", out.Deliveries[0].ID)
		})
	}
	for i := range out.Deliveries {
		d := &out.Deliveries[i]
		why := ""
		if d.State != string(callbackd.Delivered) {
			x, err := api.ExplainDelivery(e.ctx, d.ID)
			if err != nil {
				return err
			}
			for _, r := range x.Reasons {
				why += "  " + r.Message + "\n"
			}
		}
		if err := c.printed(e.stdout, nil, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s  %s #%d  callback %s\n%s", d.ID, d.State, d.Event, d.Sequence, d.CallbackName, why)
		}); err != nil {
			return err
		}
	}
	return nil
}

// printWhyNone says why no callback got the events.
func (c *triggerCmd) printWhyNone(e *env, api *client.Client, events []wire.Accepted) error {
	withheld := 0
	for _, a := range events {
		ev, err := api.Event(e.ctx, a.ID)
		if err != nil {
			return err
		}
		withheld += len(ev.Withheld)
		if err := c.printed(e.stdout, nil, func(w io.Writer) {
			for _, h := range ev.Withheld {
				fmt.Fprintf(w, "%s was not sent to callback %d: its filter needs %s\n", a.ID, h.Callback, h.Term)
			}
		}); err != nil {
			return err
		}
	}
	if withheld > 0 {
		return nil
	}
	_, err := fmt.Fprintf(e.stdout, "no callback is registered for it: `callbackd callbacks create` registers one, and `callbackd listen` shows events without one\n")
	return err
}
