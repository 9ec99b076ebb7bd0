package cli

import (
	"fmt"
	"time"

	"callbackd/internal/humanize"
	"callbackd/internal/store/sqlite"
)

type backupCmd struct {
	dataFlag
	To            string `required:"" env:"CALLBACKD_BACKUP_TO" placeholder:"DIR" help:"Directory to create for the copy. The copy is a data directory too."`
	WithoutKeyset bool   `env:"CALLBACKD_BACKUP_WITHOUT_KEYSET" help:"Leave the keyset out of the copy. No secret in the copy can be read without it, so keep the keyset elsewhere."`
}

// Run copies the data directory.
func (c *backupCmd) Run(e *env) error {
	if c.DatabaseURL != "" {
		return settingf("--database-url: this command copies a data directory only. Back up PostgreSQL with pg_dump or pg_basebackup; docs/operating.md says how")
	}
	start := time.Now()
	ctx, clear := withBar(e, "", humanize.Size[int64])
	size, err := sqlite.Backup(ctx, sqlite.Options{Dir: c.Data, KeysetFile: c.SecretKeys}, c.To, !c.WithoutKeyset)
	clear()
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Copied %s in %s to %s.\n", humanize.Size(size), humanize.Latency(time.Since(start)), c.To)
	if !c.WithoutKeyset {
		fmt.Fprintln(e.stdout, "The copy contains the keyset: anyone who has the copy can read every secret.")
	}
	_, err = fmt.Fprintf(e.stdout, "Check the copy with:\n  %s fsck --data %s\n", self(), shellQuote(c.To))
	return err
}
