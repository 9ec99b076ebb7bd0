package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"callbackd/internal/archive"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/safetext"
)

type archiveCmd struct {
	Verify archiveVerifyCmd `cmd:"" help:"Check the files of an archive against their manifests: hashes, counts, and that each line is JSON."`
	Cat    archiveCatCmd    `cmd:"" help:"Print the events of an archive, one JSON line an event."`
}

type archiveVerifyCmd struct {
	Dir  string `arg:"" help:"The directory of serve --archive."`
	JSON bool   `help:"Print JSON instead of text."`
}

// Help is shown below the options.
func (archiveVerifyCmd) Help() string {
	return "A server may write to the archive meanwhile. Exit code 0 when all is as the manifests say, 1 when something is not, 78 when the directory cannot be read."
}

// Run prints what it finds. It fails when there is a fault.
func (c *archiveVerifyCmd) Run(e *env) error {
	bar := progress.New(e.stderr, "files", humanize.Number[int64])
	r, err := archive.Verify(e.ctx, c.Dir, func(done, total int64) { bar.Show(done, total, "") })
	bar.Clear()
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(e.stdout).Encode(r)
	} else {
		for _, f := range r.Faults {
			fmt.Fprintf(e.stdout, "%s: %s\n", safetext.Line(f.File), safetext.Replace(f.Message))
		}
		for _, name := range r.Unfinished {
			fmt.Fprintf(e.stdout, "%s: has a write that was interrupted or is under way; its events are still in the store\n", name)
		}
		_, err = fmt.Fprintf(e.stdout, "%s, %s, events: %s, deliveries: %s, attempts: %s, faults: %s\n", humanize.Plural(r.Files, "file"), humanize.Size(r.Bytes),
			humanize.Number(r.Events), humanize.Number(r.Deliveries), humanize.Number(r.Attempts), humanize.Number(len(r.Faults)))
	}
	if err == nil && len(r.Faults) > 0 {
		return exit(exitFailed)
	}
	return err
}

type archiveCatCmd struct {
	Dir   string `arg:"" help:"The directory of serve --archive."`
	Key   string `env:"CALLBACKD_ARCHIVE_KEY" help:"Print events of this API key only. Default: of all keys."`
	Since string `help:"Print events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago. Default: all."`
	Until string `help:"Print events that were accepted before this time, written as for --since. Default: all."`
}

// Help is shown below the options.
func (archiveCatCmd) Help() string {
	return "An event that was archived twice, because a crash came before it was removed, is printed twice: its last line counts. Exit code 0 when all was read, 1 when a file is damaged, 78 when an option is invalid."
}

// Run prints the events.
func (c *archiveCatCmd) Run(e *env) error {
	q, now := archive.Filter{Key: c.Key}, time.Now()
	for _, option := range []struct {
		name, value string
		to          *time.Time
	}{{"--since", c.Since, &q.Since}, {"--until", c.Until, &q.Until}} {
		at, err := pointInTime(option.name, option.value, now)
		if err != nil {
			return err
		}
		if at != nil {
			*option.to = *at
		}
	}
	out := bufio.NewWriterSize(e.stdout, 256<<10)
	err := archive.Cat(e.ctx, c.Dir, q, out)
	return errors.Join(err, out.Flush())
}
