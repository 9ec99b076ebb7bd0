package cli

import (
	"fmt"
	"time"

	"callbackd/internal/humanize"
	"callbackd/internal/store/sqlite"
)

type backupCmd struct {
	dataFlag
	To            string `required:"" env:"CALLBACKD_BACKUP_TO" placeholder:"DIR" help:"Directory to make for the copy, which is a data directory itself."`
	WithoutKeyset bool   `env:"CALLBACKD_BACKUP_WITHOUT_KEYSET" help:"Leave the keyset out: the copy opens no secret without it. Keep it elsewhere then."`
}

// Run copies the data directory.
func (c *backupCmd) Run(e *env) error {
	if c.DatabaseURL != "" {
		return settingf("--database-url: PostgreSQL has its own ways, pg_dump and pg_basebackup; docs/operating.md says how. This command copies a data directory")
	}
	start := time.Now()
	size, err := sqlite.Backup(e.ctx, sqlite.Options{Dir: c.Data, KeysetFile: c.SecretKeys}, c.To, !c.WithoutKeyset)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "copied %s in %s to %s\n", humanize.Size(size), humanize.Latency(time.Since(start)), c.To)
	if !c.WithoutKeyset {
		fmt.Fprintln(e.stdout, "the keyset is in it: whoever has the copy reads every secret")
	}
	_, err = fmt.Fprintf(e.stdout, "prove it: %s fsck --data %s\n", self(), shellQuote(c.To))
	return err
}
