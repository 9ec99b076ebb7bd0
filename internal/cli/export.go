package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/export"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/store"
)

type exportCmd struct {
	Settings exportSettingsCmd `cmd:"" help:"Print API keys with their callbacks as a file for callbackd apply. It has references in place of secrets."`
	Events   exportEventsCmd   `cmd:"" help:"Write the stored events with their deliveries and attempts, one JSON line an event, also while a server runs. An export that was ended goes on."`
}

type exportEventsCmd struct {
	dataFlag
	Key    string `env:"CALLBACKD_EXPORT_KEY" help:"Export events of this API key only. Default: of all keys."`
	Since  string `env:"CALLBACKD_EXPORT_SINCE" help:"Export events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago. Default: all that are stored."`
	Until  string `env:"CALLBACKD_EXPORT_UNTIL" help:"Export events that were accepted before this time, written as for --since. Default: now."`
	Format string `env:"CALLBACKD_EXPORT_FORMAT" enum:"jsonl" default:"jsonl" help:"Format: jsonl, one JSON object a line."`
	Out    string `env:"CALLBACKD_EXPORT_OUT" placeholder:"FILE" help:"File to write to. When it exists, the export goes on after its last whole line. Default: standard output."`
	After  string `env:"CALLBACKD_EXPORT_AFTER" placeholder:"ID" help:"Begin after the event with this ID, such as the last one that an earlier export wrote to standard output."`
}

// Help is shown below the options.
func (exportEventsCmd) Help() string {
	return "When an export to a file was interrupted, start the same command again, with the same --key and --since: it goes on after the last whole line. Secrets are masked as the API does. Exit code 0 when all is written, 1 when it was interrupted, 78 when an option is invalid."
}

// query reads the options, but for the key.
func (c *exportEventsCmd) query(now time.Time) (q store.EventQuery, err error) {
	since, err := pointInTime("--since", c.Since, now)
	if err != nil {
		return q, err
	}
	until, err := pointInTime("--until", c.Until, now)
	if err != nil {
		return q, err
	}
	q.Until = now
	if since != nil {
		q.Since = *since
	}
	if until != nil {
		q.Until = *until
	}
	if !q.Since.Before(q.Until) {
		return q, settingf("--since %q is not before --until; nothing lies between them", c.Since)
	}
	if c.After != "" {
		var ok bool
		if q.After, ok = callbackd.ParseEventID(c.After); !ok {
			return q, settingf("--after %q is not the ID of an event; it is the member id of a line, such as evt_0dk3q5r8t2v4w", c.After)
		}
	}
	return q, nil
}

// Run exports the events.
func (c *exportEventsCmd) Run(e *env) (err error) {
	start := time.Now()
	q, err := c.query(start)
	if err != nil {
		return err
	}
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if c.Key != "" {
		key, err := s.Key(e.ctx, c.Key)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			return settingf("there is no API key %s; `callbackd keys list` shows them", c.Key)
		}
		if err != nil {
			return err
		}
		q.Key = key.ID
	}
	x := &exporting{start: start, told: start, to: e.stderr, bar: progress.New(e.stderr, "", nil)}
	if err := x.findEnd(e.ctx, s, q); err != nil {
		return err
	}
	if c.Out == "" {
		return x.run(e, s, q, &toStdout{w: e.stdout, sums: sha256.New()})
	}
	file, err := export.OpenFile(c.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if q, err = c.goOn(e, s, q, file); err != nil {
		return err
	}
	return x.run(e, s, q, file)
}

// goOn makes the query begin after the last event of the file, and says so. It refuses a
// file that another query began.
func (c *exportEventsCmd) goOn(e *env, s store.Store, q store.EventQuery, file *export.File) (store.EventQuery, error) {
	if file.Cut > 0 {
		fmt.Fprintf(e.stderr, "removed a torn last line of %s from %s\n", humanize.Size(file.Cut), c.Out)
	}
	if file.Events == 0 {
		return q, nil
	}
	if c.Key != "" && file.Key != c.Key {
		return q, settingf("%s has events of other API keys than %s; give the options that it was begun with, or another file", c.Out, c.Key)
	}
	first := q
	first.Limit = 1
	for {
		page, err := s.EventsAfter(e.ctx, first)
		if err != nil {
			return q, err
		}
		if len(page.Events) > 0 && page.Events[0].ID < file.First {
			return q, settingf("%s begins with event %s, and event %s is before it: the file was begun with other options; give those, or another file", c.Out, file.First, page.Events[0].ID)
		}
		if len(page.Events) > 0 || page.Next == first.After || page.Next >= file.First {
			break
		}
		first.After = page.Next
	}
	q.After = max(q.After, file.Last)
	fmt.Fprintf(e.stderr, "%s has %s; going on after %s of %s\n", c.Out, humanize.Plural(file.Events, "event"), file.Last, humanize.Time(file.Last.Time()))
	return q, nil
}

// target is where an export is written to.
type target interface {
	io.Writer
	Sync() error
	Sum() []byte
}

// toStdout is standard output with its hash.
type toStdout struct {
	w    io.Writer
	sums hash.Hash
}

// Write is part of target.
func (o *toStdout) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.sums.Write(b[:n])
	return n, err
}

// Sync does nothing: what reads standard output keeps it.
func (o *toStdout) Sync() error { return nil }

// Sum is part of target.
func (o *toStdout) Sum() []byte { return o.sums.Sum(nil) }

// exporting is an export with its progress.
type exporting struct {
	start, told time.Time
	to          io.Writer
	bar         *progress.Bar // nil unless to is a terminal
	end         time.Time     // when the last event of the export was accepted; zero without a bar
	bytes       int64
}

// How often the progress is said: on a terminal, and elsewhere.
const (
	everyOnTerminal = time.Second / 2
	everyElsewhere  = 10 * time.Second
)

// findEnd finds the last event of the export. How far the export has come is how much of the
// time from its first event to its last one it has written: counting the events of an API key
// would take long itself.
func (x *exporting) findEnd(ctx context.Context, s store.Store, q store.EventQuery) error {
	if x.bar == nil {
		return nil
	}
	x.told = time.Time{} // the bar is shown from the first event on
	q.After, q.Limit = 0, 1
	for {
		page, err := s.ListEvents(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Events) > 0 {
			x.end = page.Events[0].ID.Time()
			return nil
		}
		if page.Next == 0 {
			return nil
		}
		q.After = page.Next
	}
}

// run writes the events to a target and says what it wrote.
func (x *exporting) run(e *env, s store.Store, q store.EventQuery, to target) error {
	w := bufio.NewWriterSize(io.MultiWriter(to, (*countedBytes)(&x.bytes)), 256<<10)
	exporter := export.Exporter{From: s, Preview: app.Preview(), Told: func(p export.Progress) { x.tell(p) }}
	done, err := exporter.Run(e.ctx, q, w)
	err = errors.Join(err, w.Flush())
	if syncErr := to.Sync(); err == nil {
		err = syncErr
	}
	x.bar.Clear()
	if err != nil {
		where := "nothing was written"
		if done.Last != 0 {
			where = fmt.Sprintf("%s written, the last one is %s", humanize.Plural(done.Events, "event"), done.Last)
		}
		fmt.Fprintf(e.stderr, "interrupted: %s; to go on, give the same command again, without --out with --after and that ID\n", where)
		if errors.Is(err, context.Canceled) {
			return exit(exitFailed)
		}
		return err
	}
	fmt.Fprintf(e.stderr, "exported %s, %s and %s in %s: %s\n", humanize.Plural(done.Events, "event"), humanize.Plural(done.Deliveries, "delivery"),
		humanize.Plural(done.Attempts, "attempt"), humanize.Latency(time.Since(x.start)), humanize.Size(x.bytes))
	size := x.bytes
	if file, ok := to.(*export.File); ok {
		size = file.Size
	}
	_, err = fmt.Fprintf(e.stderr, "SHA-256 of all %s bytes: %x\n", humanize.Number(size), to.Sum())
	return err
}

// countedBytes counts what is written.
type countedBytes int64

// Write is part of io.Writer.
func (n *countedBytes) Write(b []byte) (int, error) {
	*n += countedBytes(len(b))
	return len(b), nil
}

// tell says the progress when it is time.
func (x *exporting) tell(p export.Progress) {
	every := everyElsewhere
	if x.bar != nil {
		every = everyOnTerminal
	}
	if time.Since(x.told) < every {
		return
	}
	x.told = time.Now()
	line := fmt.Sprintf("%s events, %s attempts, %s", humanize.Number(p.Events), humanize.Number(p.Attempts), humanize.Size(x.bytes))
	if p.Last != 0 {
		line += ", up to " + humanize.Time(p.Last.Time())
	}
	switch first := p.First.Time(); {
	case x.bar == nil:
		fmt.Fprintln(x.to, line)
	case p.Last == 0 || !x.end.After(first):
		x.bar.Status(line)
	default:
		x.bar.Show(int64(p.Last.Time().Sub(first)), int64(x.end.Sub(first)), line)
	}
}
