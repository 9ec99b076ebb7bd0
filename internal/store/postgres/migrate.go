package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
	"callbackd/internal/store/seal"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema.
type migration struct {
	version int                                // the number of its file
	sql     string                             // its statements
	fill    func(core.Tx, *core.Dialect) error // runs after the statements; may be nil
}

// fills has the functions that run after the statements of steps, by the names of the
// steps' files.
var fills = map[string]func(core.Tx, *core.Dialect) error{"last_errors.sql": core.FillLastErrors, "counts.sql": fillCounts}

func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []migration
	for i, name := range names {
		number, rest, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		sql, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, migration{version, string(sql), fills[rest]})
	}
	return out, nil
}

// lockSetup makes nodes that start at the same time do so one after the other, however
// long the first one takes. The lock ends with the transaction. Nodes of other databases
// or schemas do not wait for it.
const lockSetup = "SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(hashtextextended('callbackd ' || current_schema(), 0))"

// setup upgrades the schema and opens the keyset in one transaction. Only one node at a
// time can do so. With o.Existing it upgrades nothing, and fails when the schema has another
// version.
func setup(ctx context.Context, conn *pgx.Conn, o *Options) (*seal.Sealer, error) {
	var sealer *seal.Sealer
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSetup); err != nil {
			return err
		}
		mark, err := moving(ctx, tx)
		if err != nil {
			return err
		}
		if mark != "" {
			return errMoving
		}
		if o.Existing {
			err = current(ctx, tx)
		} else if err = migrate(ctx, tx); err != nil {
			err = fmt.Errorf("migrate: %w", err)
		}
		if err != nil {
			return err
		}
		if o.AnyKeyset {
			sealer, err = seal.Open(o.KeysetFile, false)
		} else {
			sealer, err = openKeyset(ctx, tx, o.KeysetFile, !o.Existing)
		}
		return err
	})
	return sealer, err
}

func migrate(ctx context.Context, tx pgx.Tx) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	return migrateBy(ctx, tx, all)
}

// current returns an error when the database has no store of callbackd, or one of another
// version.
func current(ctx context.Context, tx pgx.Tx) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	there, have := false, 0
	if err := tx.QueryRow(ctx, "SELECT to_regclass('schema_version') IS NOT NULL").Scan(&there); err != nil {
		return err
	}
	if !there {
		return callbackd.Errorf(callbackd.KindSetting, "the database holds no store of callbackd; name the right one with --database-url, or start a server on it first")
	}
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&have); err != nil {
		return err
	}
	if have < len(all) {
		return callbackd.Errorf(callbackd.KindSetting, "the database was written by an older callbackd (schema %d, this one needs %d), and this command upgrades nothing: use that version, or start a server of this one first", have, len(all))
	}
	if have > len(all) {
		return store.NewerSchema(have, len(all))
	}
	return nil
}

// migrateBy runs the steps that the schema does not have yet.
func migrateBy(ctx context.Context, tx pgx.Tx, all []migration) error {
	if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)"); err != nil {
		return err
	}
	have := 0
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&have); err != nil {
		return err
	}
	if have > len(all) {
		return store.NewerSchema(have, len(all))
	}
	for _, m := range all[have:] {
		// The simple protocol takes a whole file of statements.
		if _, err := tx.Conn().PgConn().Exec(ctx, m.sql).ReadAll(); err != nil {
			return fmt.Errorf("step %d: %w", m.version, err)
		}
		if m.fill != nil {
			if err := m.fill(seamTx{ctx, tx}, &dialect); err != nil {
				return fmt.Errorf("step %d: %w", m.version, err)
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO schema_version (version) VALUES ($1)", m.version); err != nil {
			return err
		}
	}
	return nil
}

// canary is a text that the settings table has in sealed form. A node with another keyset
// cannot open it and does not start. Otherwise it would write secrets that other nodes
// cannot read.
const canary = "callbackd"

// openKeyset opens the keyset in file. The first node of an empty database may create it.
// All other nodes must have a copy.
func openKeyset(ctx context.Context, tx pgx.Tx, file string, create bool) (*seal.Sealer, error) {
	var sealed []byte
	if err := tx.QueryRow(ctx, "SELECT canary FROM settings").Scan(&sealed); err != nil {
		return nil, err
	}
	sealer, err := seal.Open(file, sealed == nil && create)
	if err != nil {
		return nil, fmt.Errorf("%w; every node needs a copy of the same file", err)
	}
	if sealed == nil && create {
		if sealed, err = sealer.Seal([]byte(canary), canary); err != nil {
			return nil, err
		}
		_, err = tx.Exec(ctx, "UPDATE settings SET canary = $1", sealed)
		return sealer, err
	}
	if _, err := sealer.Unseal(sealed, canary); err != nil && sealed != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset "+file+" is not the one this database is sealed with: give this node a copy of the file that the other nodes use (--secret-keys)")
	}
	return sealer, nil
}
