package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/wire"
)

type replayCmd struct {
	Start  replayStartCmd  `cmd:"" help:"Start a replay, which sends failed deliveries, or any other set of deliveries, again."`
	List   replayListCmd   `cmd:"" help:"List replays and cancellations, newest first."`
	Show   replayShowCmd   `cmd:"" help:"Show a replay and its progress."`
	Pause  replayPauseCmd  `cmd:"" help:"Pause a replay: it sends nothing more until it is resumed."`
	Resume replayResumeCmd `cmd:"" help:"Resume a paused replay."`
	Cancel replayCancelCmd `cmd:"" help:"End a replay. Deliveries that it has made due already are still sent."`
}

type replayStartCmd struct {
	callFlags
	State    []string `placeholder:"STATE" help:"Send deliveries in this state: pending (those that wait become due at once), delivered, failed, canceled or expired. Repeat the option for several. Default: failed, or every state with --target or --missing."`
	Event    string   `help:"Send events of this type only, such as SESSION:STATUS_CHANGE."`
	Callback string   `help:"Send deliveries to this callback only: its ID, such as 12, or its name together with --event."`
	Session  string   `placeholder:"KEY" help:"Send events of this session only."`
	Since    string   `help:"Send events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago."`
	Until    string   `help:"Send events that were accepted before this time, written as for --since."`
	Target   string   `help:"Send to this callback instead of the original one: its ID, or its name together with --event."`
	Missing  bool     `help:"Send only events that were not delivered to the callback and are not pending for it, also those from before it was created."`
	Rate     float64  `help:"Largest number of deliveries a second, such as 50. Default: 0, no limit."`
	DryRun   bool     `help:"Print how many deliveries would be sent, and send none."`
	Follow   bool     `help:"Print the progress until the replay ends."`
}

func (c *replayStartCmd) body(now time.Time) (n wire.NewReplay, err error) {
	n = wire.NewReplay{States: c.State, Event: c.Event, SessionKey: c.Session, Missing: c.Missing, Rate: c.Rate}
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
	if c.DryRun {
		return countReplay(e, &c.callFlags, n, (*client.Client).CountReplay, "sent")
	}
	return startReplay(e, &c.callFlags, n, (*client.Client).StartReplay, c.Follow)
}

// countReplay prints how many deliveries a replay or a cancellation would take, of which becomes
// says what they would be.
func countReplay[N any](e *env, f *callFlags, n N, count func(*client.Client, context.Context, N) (int64, error), becomes string) error {
	api, err := f.client()
	if err != nil {
		return err
	}
	total, err := count(api, e.ctx, n)
	if err != nil {
		return err
	}
	if f.JSON {
		return json.NewEncoder(e.stdout).Encode(wire.ReplayCount{Total: total})
	}
	_, err = fmt.Fprintf(e.stdout, "%s would be %s\n", humanize.Plural(total, "delivery"), becomes)
	return err
}

// startReplay starts a replay or a cancellation.
func startReplay[N any](e *env, f *callFlags, n N, start func(*client.Client, context.Context, N) (wire.Replay, error), follow bool) error {
	api, err := f.client()
	if err != nil {
		return err
	}
	r, err := start(api, e.ctx, n)
	if err != nil {
		return err
	}
	if err := f.print(e.stdout, r); err != nil || !follow {
		return err
	}
	return f.follow(e, api, r)
}

// follow shows the progress until the replay ends.
func (f *callFlags) follow(e *env, api *client.Client, r wire.Replay) error {
	bar := followBar(e, f.JSON, "deliveries", humanize.Number[int64])
	replay := followed[wire.Replay]{
		get:     func(ctx context.Context) (wire.Replay, error) { return api.Replay(ctx, r.ID) },
		running: func(r wire.Replay) bool { return r.State == "running" || r.State == "paused" },
		same:    func(a, b wire.Replay) bool { return a.Due == b.Due && a.Pending == b.Pending && a.State == b.State },
		bar:     bar,
		show:    func(r wire.Replay) { bar.Show(r.Delivered+r.Failed+r.Canceled+r.Skipped, r.Total, r.State) },
		print:   f.print,
	}
	return replay.follow(e, r)
}

// print prints one replay as JSON or as one line of text.
func (f *callFlags) print(w io.Writer, r wire.Replay) error {
	if f.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	if r.Action == "cancel" {
		_, err := fmt.Fprintf(w, "%s  %s  %s of %s canceled, %s skipped\n", r.ID, r.State, humanize.Number(r.Canceled), humanize.Number(r.Total), humanize.Number(r.Skipped))
		return err
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
		fmt.Fprintln(w, "REPLAY\tACTION\tSTATE\tTOTAL\tDUE\tDELIVERED\tFAILED\tCANCELED\tPENDING\tCREATED")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	for q := (url.Values{}); ; {
		page, err := api.Replays(e.ctx, q)
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
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Action, r.State, humanize.Number(r.Total), humanize.Number(r.Due),
				humanize.Number(r.Delivered), humanize.Number(r.Failed), humanize.Number(r.Canceled), humanize.Number(r.Pending), r.CreatedAt.Format(time.RFC3339))
		}
		if page.Next == nil {
			return w.Flush()
		}
		q.Set("cursor", *page.Next)
	}
}

// replayID is the argument of the commands for one replay.
type replayID struct {
	callFlags
	ID string `arg:"" help:"ID of the replay, such as rpl_1jzv8q00m0000."`
}

func (c *replayID) run(e *env, f func(*client.Client, context.Context, string) (wire.Replay, error)) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	r, err := f(api, e.ctx, c.ID)
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
func (c *replayShowCmd) Run(e *env) error { return c.run(e, (*client.Client).Replay) }

// Run pauses the replay.
func (c *replayPauseCmd) Run(e *env) error { return c.run(e, (*client.Client).PauseReplay) }

// Run resumes the replay.
func (c *replayResumeCmd) Run(e *env) error { return c.run(e, (*client.Client).ResumeReplay) }

// Run cancels the replay.
func (c *replayCancelCmd) Run(e *env) error { return c.run(e, (*client.Client).CancelReplay) }
