package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type eraseCmd struct {
	Start eraseStartCmd `cmd:"" help:"Erase what is stored of people in a session, or in all sessions that have a value. It cannot be undone."`
	Show  eraseShowCmd  `cmd:"" help:"Show an erasure, its progress, and its receipt when it has ended."`
	List  eraseListCmd  `cmd:"" help:"List erasures, newest first."`
	All   eraseAllCmd   `cmd:"" help:"As the operator, erase in all API keys, or show or list such erasures. It cannot be undone."`
}

// eraseFlags choose what is erased.
type eraseFlags struct {
	Session   string `placeholder:"KEY" help:"Erase this session and its events."`
	VIN       string `name:"vin" help:"Erase the sessions that have this VIN, in themselves or in the data of an event."`
	Phone     string `help:"Erase the sessions that have this phone number. Only its digits count, without a + or 00 at the start."`
	Reference string `help:"Erase the sessions that have this text or number in their reference or in the data of an event."`
	DryRun    bool   `help:"Count what would be erased, and erase nothing."`
	Follow    bool   `help:"Print the progress until the end, and then the receipt."`
}

// order returns the body of the call that starts the erasure.
func (c *eraseFlags) order() wire.NewErase {
	return wire.NewErase{SessionKey: c.Session, VIN: c.VIN, Phone: c.Phone, Reference: c.Reference, DryRun: c.DryRun}
}

type eraseStartCmd struct {
	callFlags
	eraseFlags
}

// Run starts an erasure.
func (c *eraseStartCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	r, err := api.StartErase(e.ctx, c.order())
	if err != nil {
		return err
	}
	if err := c.printErase(e.stdout, r); err != nil || !c.Follow {
		return err
	}
	return c.followErase(e, api, r)
}

// followErase shows the progress until the erasure ends.
func (f *callFlags) followErase(e *env, api *client.Client, r wire.Erase) error {
	bar := followBar(e, f.JSON, "", nil)
	erase := followed[wire.Erase]{
		get:     func(ctx context.Context) (wire.Erase, error) { return api.Erase(ctx, r.ID) },
		running: func(r wire.Erase) bool { return r.State == "running" },
		same:    func(a, b wire.Erase) bool { return a.Counts == b.Counts && a.State == b.State },
		bar:     bar,
		show:    func(r wire.Erase) { bar.Status(erasing[r.Phase] + ": " + eraseCounts(r.DryRun, r.Counts)) },
		print:   f.printErase,
	}
	return erase.follow(e, r)
}

// erasing says what an erasure does in each of its phases. What is left of a phase is not known
// before its end.
var erasing = map[string]string{
	string(callbackd.EraseFindsSessions): "looking for it in sessions",
	string(callbackd.EraseFindsEvents):   "looking for it in events",
	string(callbackd.EraseDryRun):        "counting",
	string(callbackd.EraseErases):        "erasing sessions and events",
	string(callbackd.EraseCallbacks):     "erasing callbacks of the sessions",
	string(callbackd.EraseAnswers):       "erasing stored answers",
	string(callbackd.EraseLogs):          "erasing in the log of calls",
	string(callbackd.EraseReplays):       "erasing reasons of cancellations",
	string(callbackd.EraseOverwrites):    "overwriting what was freed",
}

// printErase prints one erasure as JSON or as text, with its receipt when it has ended.
func (f *callFlags) printErase(w io.Writer, r wire.Erase) error {
	if f.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintln(w, eraseLine(r.ID, r.State, r.DryRun, r.Counts))
	if err == nil && r.State == "done" {
		_, err = fmt.Fprintf(w, "receipt %s\nSHA-256 %s\n", r.Receipt, r.ReceiptSHA256)
	}
	return err
}

// eraseLine says in a line what an erasure, of one API key or over all, did so far.
func eraseLine(id, state string, dryRun bool, counts wire.EraseCounts) string {
	return fmt.Sprintf("%s  %s  %s", id, state, eraseCounts(dryRun, counts))
}

// eraseCounts says how much an erasure has erased so far.
func eraseCounts(dryRun bool, counts wire.EraseCounts) string {
	verb := "erased"
	if dryRun {
		verb = "would be erased"
	}
	return fmt.Sprintf("sessions: %s, events: %s, attempts: %s %s; deliveries canceled: %s",
		humanize.Number(counts.Sessions), humanize.Number(counts.Events), humanize.Number(counts.Attempts), verb, humanize.Number(counts.Canceled))
}

type eraseShowCmd struct {
	callFlags
	ID string `arg:"" help:"ID of the erasure, such as ers_1jzv8q00m0000."`
}

// Run shows the erasure.
func (c *eraseShowCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	r, err := api.Erase(e.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.printErase(e.stdout, r)
}

type eraseListCmd struct{ callFlags }

// Run lists the erasures.
func (c *eraseListCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	for q := (url.Values{}); ; {
		page, err := api.Erases(e.ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Data {
			r := &page.Data[i]
			if c.JSON {
				err = json.NewEncoder(e.stdout).Encode(r)
			} else {
				_, err = fmt.Fprintf(e.stdout, "%s  %s  %s %s\n", eraseLine(r.ID, r.State, r.DryRun, r.Counts), r.CreatedAt.Format(time.RFC3339), r.By, r.Subject)
			}
			if err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		q.Set("cursor", *page.Next)
	}
}
