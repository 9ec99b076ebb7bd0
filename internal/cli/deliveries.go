package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type deliveriesCmd struct {
	List    deliveriesListCmd    `cmd:"" help:"List deliveries, newest first."`
	Show    deliveriesShowCmd    `cmd:"" help:"Show a delivery with its attempts."`
	Explain deliveriesExplainCmd `cmd:"" help:"Say why a delivery is as it is, and what to do."`
	Resend  deliveriesResendCmd  `cmd:"" help:"Send a delivery again, or a pending one at once."`
	Cancel  deliveriesCancelCmd  `cmd:"" help:"Cancel what is pending: a replay that cancels instead of sending. Pause or end it with the commands of replay."`
}

type deliveriesCancelCmd struct {
	callFlags
	Event    string  `help:"Cancel deliveries of events of this type only, such as SESSION:STATUS_CHANGE."`
	Callback string  `help:"Cancel deliveries to this callback only: its ID, such as 12, or its name together with --event."`
	Session  string  `placeholder:"KEY" help:"Cancel deliveries of this session only."`
	Since    string  `help:"Cancel deliveries of events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago."`
	Until    string  `help:"Cancel deliveries of events that were accepted before this time, written as for --since."`
	All      bool    `help:"Cancel everything that is pending for the API key. Needed when nothing else chooses."`
	Reason   string  `help:"Why, in one line. It is shown with each delivery."`
	Rate     float64 `help:"Largest number of deliveries a second, such as 50. Default: 0, no limit."`
	DryRun   bool    `help:"Print how many deliveries would be canceled, and cancel none."`
	Follow   bool    `help:"Print the progress until the end."`
}

func (c *deliveriesCancelCmd) body(now time.Time) (n wire.NewCancellation, err error) {
	n = wire.NewCancellation{Event: c.Event, SessionKey: c.Session, Reason: c.Reason, Rate: c.Rate}
	if c.Callback != "" {
		n.Callback = c.Callback
	}
	if n.Since, err = pointInTime("--since", c.Since, now); err != nil {
		return n, err
	}
	if n.Until, err = pointInTime("--until", c.Until, now); err != nil {
		return n, err
	}
	chooses := c.Event != "" || c.Callback != "" || c.Session != "" || c.Since != "" || c.Until != ""
	if chooses == c.All {
		return n, settingf("choose what to cancel with --event, --callback, --session, --since or --until, or cancel everything that is pending with --all alone")
	}
	return n, nil
}

// Run starts a cancellation.
func (c *deliveriesCancelCmd) Run(e *env) error {
	n, err := c.body(time.Now())
	if err != nil {
		return err
	}
	if c.DryRun {
		return countReplay(e, &c.callFlags, n, (*client.Client).CountPending, "canceled")
	}
	return startReplay(e, &c.callFlags, n, (*client.Client).CancelPending, c.Follow)
}

type deliveriesListCmd struct {
	listFlags
	State    string `env:"CALLBACKD_DELIVERY_STATE" help:"List deliveries in this state only: pending, delivered, failed, canceled or expired."`
	Event    string `help:"List deliveries of events of this type only, such as SESSION:COMPLETE."`
	Session  string `placeholder:"KEY" help:"List deliveries of this session only."`
	Callback string `placeholder:"ID" help:"List deliveries to the callback with this ID only."`
}

// Run lists the deliveries. Its JSON is one delivery a line.
func (c *deliveriesListCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, value := range map[string]string{"state": c.State, "event": c.Event, "session_key": c.Session, "callback": c.Callback} {
		set(q, name, value)
	}
	return c.pages(q, func(q url.Values, _ int) (int, *string, error) {
		page, err := api.Deliveries(e.ctx, q)
		for i := range page.Data {
			if d := &page.Data[i]; err == nil {
				err = c.printed(e.stdout, d, func(w io.Writer) {
					fmt.Fprintf(w, "%s  %s  %s  %s  session %s #%d  callback %s  attempts %d\n", humanize.Time(d.AcceptedAt), d.ID, d.State, d.Event, d.SessionKey, d.Sequence, d.CallbackName, d.Attempts)
				})
			}
		}
		return len(page.Data), page.Next, err
	})
}

// deliveryID is the argument of the commands for one delivery.
type deliveryID struct {
	callFlags
	ID string `arg:"" help:"ID of the delivery, such as dlv_1jzv8q00m0000-12."`
}

type deliveriesShowCmd struct{ deliveryID }

// Run shows the delivery with its attempts.
func (c *deliveriesShowCmd) Run(e *env) error {
	return c.delivery(e, (*client.Client).Delivery)
}

// delivery makes a call that answers with the delivery.
func (c *deliveryID) delivery(e *env, f func(*client.Client, context.Context, string) (wire.Delivery, error)) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	d, err := f(api, e.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.printed(e.stdout, d, func(w io.Writer) { printDelivery(w, d) })
}

type deliveriesResendCmd struct{ deliveryID }

// Run sends the delivery again.
func (c *deliveriesResendCmd) Run(e *env) error {
	return c.delivery(e, (*client.Client).RetryDelivery)
}

type deliveriesExplainCmd struct{ deliveryID }

// Run says why the delivery is as it is.
func (c *deliveriesExplainCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	x, err := api.ExplainDelivery(e.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.printed(e.stdout, x, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n", x.State)
		for _, r := range x.Reasons {
			fmt.Fprintf(w, "  %s\n", r.Message)
		}
		if x.Next != "" {
			fmt.Fprintf(w, "%s\n", x.Next)
		}
	})
}
