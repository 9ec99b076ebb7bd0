package cli

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"callbackd/internal/app"
	"callbackd/internal/humanize"
	"callbackd/internal/store/sqlite"
)

type moveCmd struct {
	From       string `required:"" env:"CALLBACKD_MOVE_FROM" placeholder:"DIR" help:"Data directory of a stopped server."`
	To         string `required:"" env:"CALLBACKD_MOVE_TO" secret:"" placeholder:"URL" help:"PostgreSQL database, empty, that no server runs on. Also from a file: CALLBACKD_MOVE_TO_FILE."`
	SecretKeys string `env:"CALLBACKD_SECRET_KEYS" placeholder:"FILE" help:"Keyset for the servers on PostgreSQL: the one that the directory is sealed with, which is copied there when the file does not exist; default secret-keys.json in the directory."`
}

// Help is shown below the options.
func (moveCmd) Help() string {
	return "Started again after it was broken off, it goes on where it was. Until it has ended no server starts on the database; from its beginning on none starts on the directory."
}

// Run moves, tells how far it is, and prints what was proven.
func (c *moveCmd) Run(e *env) error {
	if c.SecretKeys == "" {
		c.SecretKeys = filepath.Join(c.From, sqlite.KeysetFile)
	}
	start, told := time.Now(), time.Now()
	var at string
	var table, moved, total int64
	var sums []app.Moved
	err := app.Move(e.ctx, c.From, app.StoreConfig{DatabaseURL: c.To, KeysetFile: c.SecretKeys}, func(m app.Moved) {
		if m.Sum != nil {
			if total += m.Sum.Rows; len(sums) == 0 {
				fmt.Fprintln(e.stdout, "all rows are there; comparing both sides")
			}
			sums = append(sums, m)
			return
		}
		if m.Table != at {
			at, table = m.Table, 0
		}
		moved += int64(m.Rows)
		if table += int64(m.Rows); time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(e.stdout, "%s: %s rows\n", at, humanize.Number(table))
		}
	})
	if err != nil {
		if moved > 0 {
			fmt.Fprintf(e.stdout, "%s rows are in the database; the same command goes on from there\n", humanize.Number(moved))
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
	_, err = fmt.Fprintf(e.stdout, "moved %s rows in %s; every table is the same on both sides. Next:\n  %s serve --database-url … --secret-keys %s\n",
		humanize.Number(total), humanize.Latency(time.Since(start)), self(), shellQuote(c.SecretKeys))
	return err
}
