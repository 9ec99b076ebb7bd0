package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"callbackd/internal/humanize"
	"callbackd/wire"
)

type deliveriesCmd struct {
	Cancel deliveriesCancelCmd `cmd:"" help:"Cancel what is pending: a replay that cancels instead of sending. Pause or end it with the commands of replay."`
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
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.DryRun {
		total, err := api.CountPending(e.ctx, n)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(e.stdout).Encode(wire.ReplayCount{Total: total})
		}
		_, err = fmt.Fprintf(e.stdout, "%s deliveries would be canceled\n", humanize.Number(total))
		return err
	}
	r, err := api.CancelPending(e.ctx, n)
	if err != nil {
		return err
	}
	if err := c.print(e.stdout, r); err != nil || !c.Follow {
		return err
	}
	return c.follow(e, api, r)
}
