package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type replayCmd struct {
	Start  replayStartCmd  `cmd:"" help:"Start a replay: send what failed, or any set of deliveries, again."`
	List   replayListCmd   `cmd:"" help:"List replays, newest first."`
	Show   replayShowCmd   `cmd:"" help:"Show a replay and how far it is."`
	Pause  replayPauseCmd  `cmd:"" help:"Make nothing more due until the replay is resumed."`
	Resume replayResumeCmd `cmd:"" help:"Go on with a paused replay."`
	Cancel replayCancelCmd `cmd:"" help:"End a replay; deliveries that it has made due are still sent."`
}

// callFlags is what a command needs to call a server.
type callFlags struct {
	URL     string `default:"http://127.0.0.1:8080" env:"CALLBACKD_URL" help:"Where the server is."`
	Account string `required:"" env:"CALLBACKD_ACCOUNT" help:"Primary account name."`
	Key     string `required:"" env:"CALLBACKD_KEY" help:"API key."`
	Secret  string `required:"" env:"CALLBACKD_SECRET" secret:"" help:"API secret. Also from a file: CALLBACKD_SECRET_FILE."`
	JSON    bool   `help:"Print JSON."`
}

func (f *callFlags) client() *client.Client {
	return &client.Client{Base: strings.TrimSuffix(f.URL, "/"), Account: f.Account, APIKey: f.Key, APISecret: f.Secret}
}

type replayStartCmd struct {
	callFlags
	State    []string `placeholder:"STATE" help:"Deliveries in this state; repeatable. Default: failed, or with a target any."`
	Event    string   `help:"Events of this type."`
	Callback string   `help:"Deliveries to this callback: its number, or its name with --event."`
	Session  string   `placeholder:"KEY" help:"Events of this session."`
	Since    string   `help:"Events accepted at or after this time, or this long ago, such as 2h or 3d."`
	Until    string   `help:"Events accepted before this time, or this long ago."`
	Target   string   `help:"Send to this callback instead: its number, or its name with --event."`
	Rate     float64  `help:"Deliveries a second; 0: as fast as they are taken."`
	DryRun   bool     `help:"Count only."`
	Follow   bool     `help:"Show the progress until the replay ends."`
}

func (c *replayStartCmd) body(now time.Time) (n wire.NewReplay, err error) {
	n = wire.NewReplay{States: c.State, Event: c.Event, SessionKey: c.Session, Rate: c.Rate}
	if c.Callback != "" {
		n.Callback = c.Callback
	}
	if c.Target != "" {
		n.Target = c.Target
	}
	if n.Since, err = pointInTime("--since", c.Since, now); err != nil {
		return n, err
	}
	n.Until, err = pointInTime("--until", c.Until, now)
	return n, err
}

// pointInTime reads a time, or a duration before now.
func pointInTime(name, s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := callbackd.ParseDuration(s); err == nil && d >= 0 {
		t := now.Add(-d).UTC()
		return &t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, settingf("%s %q is not a time; write for example 2026-01-02T15:04:05Z, or 2h for two hours ago", name, s)
	}
	return &t, nil
}

// Run starts a replay.
func (c *replayStartCmd) Run(e *env) error {
	n, err := c.body(time.Now())
	if err != nil {
		return err
	}
	api := c.client()
	if c.DryRun {
		total, err := api.CountReplay(e.ctx, n)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(e.stdout).Encode(wire.ReplayCount{Total: total})
		}
		_, err = fmt.Fprintf(e.stdout, "%s deliveries would be sent\n", humanize.Number(total))
		return err
	}
	r, err := api.StartReplay(e.ctx, n)
	if err != nil {
		return err
	}
	if err := c.print(e.stdout, r); err != nil || !c.Follow {
		return err
	}
	return c.follow(e, api, r)
}

// follow prints a line whenever something has changed, until the end.
func (c *replayStartCmd) follow(e *env, api *client.Client, r wire.Replay) error {
	for r.State == "running" || r.State == "paused" {
		if !sleep(e.ctx, time.Second) {
			return nil // the replay goes on without the one who looked
		}
		now, err := api.Replay(e.ctx, r.ID)
		if err != nil {
			return err
		}
		changed := now.Due != r.Due || now.Pending != r.Pending || now.State != r.State
		r = now
		if !changed {
			continue
		}
		if err := c.print(e.stdout, r); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// print writes one replay, as a line for people.
func (f *callFlags) print(w io.Writer, r wire.Replay) error {
	if f.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s of %s made due: %s delivered, %s failed, %s pending, %s skipped, %s canceled\n",
		r.ID, r.State, humanize.Number(r.Due), humanize.Number(r.Total),
		humanize.Number(r.Delivered), humanize.Number(r.Failed), humanize.Number(r.Pending), humanize.Number(r.Skipped), humanize.Number(r.Canceled))
	return err
}

type replayListCmd struct {
	callFlags
}

// Run lists the replays.
func (c *replayListCmd) Run(e *env) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "REPLAY\tSTATE\tTOTAL\tDUE\tDELIVERED\tFAILED\tPENDING\tCREATED")
	}
	for q := (url.Values{}); ; {
		page, err := c.client().Replays(e.ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Data {
			if c.JSON {
				if err := json.NewEncoder(e.stdout).Encode(r); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.State, humanize.Number(r.Total), humanize.Number(r.Due),
				humanize.Number(r.Delivered), humanize.Number(r.Failed), humanize.Number(r.Pending), r.CreatedAt.Format(time.RFC3339))
		}
		if page.Next == nil {
			return w.Flush()
		}
		q.Set("cursor", *page.Next)
	}
}

// replayID is the argument of the commands on one replay.
type replayID struct {
	callFlags
	ID string `arg:"" help:"The replay, such as rpl_1jzv8q00m0000."`
}

func (c *replayID) run(e *env, f func(context.Context, string) (wire.Replay, error)) error {
	r, err := f(e.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(e.stdout, r)
}

type (
	replayShowCmd   struct{ replayID }
	replayPauseCmd  struct{ replayID }
	replayResumeCmd struct{ replayID }
	replayCancelCmd struct{ replayID }
)

// Run shows the replay.
func (c *replayShowCmd) Run(e *env) error { return c.run(e, c.client().Replay) }

// Run pauses the replay.
func (c *replayPauseCmd) Run(e *env) error { return c.run(e, c.client().PauseReplay) }

// Run resumes the replay.
func (c *replayResumeCmd) Run(e *env) error { return c.run(e, c.client().ResumeReplay) }

// Run cancels the replay.
func (c *replayCancelCmd) Run(e *env) error { return c.run(e, c.client().CancelReplay) }
