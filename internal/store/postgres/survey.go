package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// MaxConns is how many connections one node uses.
const MaxConns = hotConns + leaseConns + settingsConns + sharedConns + listenConns

// listenConns is the connection that waits for messages.
const listenConns = 1

// selectServer reads what a [store.ServerSurvey] has. Connections are limited by the server
// and by the role; those of callbackd's own nodes are not subtracted.
const selectServer = `SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_commit'), current_setting('autovacuum'),
		least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
			coalesce((SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user), 1000000))
		- (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'callbackd')`

// Survey looks at a database and changes nothing. now is the clock of this machine. It fails
// where no node of this version can start.
func Survey(ctx context.Context, o Options, now func() time.Time) (out store.Survey, err error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return out, badURL(err)
	}
	configure(config)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return out, fmt.Errorf("the database cannot be reached: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	server := &store.ServerSurvey{Settings: map[string]string{}}
	var fsync, pages, commit, vacuum string
	if err := conn.QueryRow(ctx, selectServer).Scan(&server.Version, &fsync, &pages, &commit, &vacuum, &server.Connections); err != nil {
		return out, err
	}
	server.Settings["fsync"], server.Settings["full_page_writes"] = fsync, pages
	server.Settings["synchronous_commit"], server.Settings["autovacuum"] = commit, vacuum
	out.Server = server
	var at time.Time
	asked := now()
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
		return out, err
	}
	out.Ahead = asked.Add(now().Sub(asked) / 2).Sub(at)
	return out, pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return surveySchema(ctx, tx, &out) })
}

func surveySchema(ctx context.Context, tx pgx.Tx, out *store.Survey) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	out.Program = len(all)
	if mark, err := moving(ctx, tx); err != nil {
		return err
	} else if mark != "" {
		return errMoving
	}
	if err := tx.QueryRow(ctx, "SELECT to_regclass('schema_version') IS NOT NULL").Scan(&out.Made); err != nil || !out.Made {
		return err
	}
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&out.Schema); err != nil {
		return err
	}
	if out.Schema > out.Program {
		return store.NewerSchema(out.Schema, out.Program)
	}
	var newest callbackd.EventID
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM events").Scan(&newest); err != nil {
		return err
	}
	if newest != 0 {
		out.Newest = newest.Time()
	}
	return nil
}
