package cli

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"callbackd/internal/app"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

type moveCmd struct {
	From       string `required:"" env:"CALLBACKD_MOVE_FROM" placeholder:"DIR" help:"Data directory to move. Its server must be stopped."`
	To         string `required:"" env:"CALLBACKD_MOVE_TO" secret:"" placeholder:"URL" help:"Empty PostgreSQL database to move to, which no server uses. Also from a file: CALLBACKD_MOVE_TO_FILE."`
	SecretKeys string `env:"CALLBACKD_SECRET_KEYS" placeholder:"FILE" help:"Keyset file for the servers on PostgreSQL. It must be the directory's own keyset, which is copied to this file when the file does not exist. Default: secret-keys.json in the directory."`
}

// Help is shown below the options.
func (moveCmd) Help() string {
	return "When a move was interrupted, start the same command again: it continues where it stopped. No server can start on the directory once the move has begun, and none on the database before the move has ended."
}

// Run moves the data, shows the progress, and prints that both sides are equal.
func (c *moveCmd) Run(e *env) error {
	if c.SecretKeys == "" {
		c.SecretKeys = filepath.Join(c.From, sqlite.KeysetFile)
	}
	start, told := time.Now(), time.Now()
	var at string
	var table, moved, total int64
	var sums []app.Moved
	bar := progress.New(e.stderr, "rows", humanize.Number[int64])
	ctx := e.ctx
	if bar != nil {
		ctx = store.WithProgress(ctx, func(done, total int64) { bar.Show(done, total, at) })
	}
	defer bar.Clear()
	err := app.Move(ctx, c.From, app.StoreConfig{DatabaseURL: c.To, KeysetFile: c.SecretKeys}, func(m app.Moved) {
		if m.Sum != nil {
			if total += m.Sum.Rows; len(sums) == 0 {
				bar.Clear()
				fmt.Fprintln(e.stdout, "all rows are copied; comparing both sides")
			}
			at, sums = m.Table, append(sums, m)
			return
		}
		if m.Table != at {
			at, table = m.Table, 0
		}
		moved += int64(m.Rows)
		if table += int64(m.Rows); bar == nil && time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(e.stdout, "%s: %s\n", at, humanize.Plural(table, "row"))
		}
	})
	bar.Clear()
	if err != nil {
		if moved > 0 {
			fmt.Fprintf(e.stdout, "%s copied; run the same command again to continue\n", humanize.Plural(moved, "row"))
		}
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "table\trows\tSHA-256 of both sides\t")
	for _, m := range sums {
		hash := "-"
		if m.Sum.Rows > 0 {
			hash = fmt.Sprintf("%x…", m.Sum.Hash[:8])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", m.Table, humanize.Number(m.Sum.Rows), hash)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "Moved %s in %s. Every table is equal on both sides. Start the server with:\n  %s serve --database-url … --secret-keys %s\n",
		humanize.Plural(total, "row"), humanize.Latency(time.Since(start)), self(), shellQuote(c.SecretKeys))
	return err
}
