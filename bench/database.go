package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// productionLike holds the settings of a server that is durable and has enough memory.
var productionLike = []string{
	"fsync=on", "synchronous_commit=on", "full_page_writes=on",
	"shared_buffers=512MB", "min_wal_size=1GB", "max_wal_size=4GB", "checkpoint_timeout=15min",
}

// database is a PostgreSQL server that only the bench uses.
type database struct {
	server *pgtest.Server
	conn   *pgx.Conn
	pid    int
}

func startDatabase(settings ...string) (*database, error) {
	s, err := pgtest.Start(append(productionLike, settings...)...)
	if err != nil {
		return nil, err
	}
	atExit(s.Stop)
	db := &database{server: s}
	ctx := context.Background()
	if db.conn, err = pgx.Connect(ctx, s.URL("")); err == nil {
		// The extension counts the page images in the log.
		_, err = db.conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	}
	if err == nil {
		db.pid, err = postmaster(s.Dir)
	}
	if err == nil {
		err = db.age()
	}
	return db, err
}

// postmaster returns the first process of a server, the parent of all others.
func postmaster(dir string) (int, error) {
	f, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// age fills the server's log with files that can be reused, as after some time of use.
// The server would first fill a new file with zeros.
func (d *database) age() error {
	for range 16 {
		if _, err := d.conn.Exec(context.Background(), "SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()"); err != nil {
			return err
		}
	}
	return d.checkpoint()
}

func (d *database) checkpoint() error {
	_, err := d.conn.Exec(context.Background(), "CHECKPOINT")
	return err
}

// uses adds what the server has used: its processes, those that ended too,
// and the sizes of the database and of the log.
func (d *database) uses(u *used) error {
	own, err := statOf(d.pid)
	if err != nil {
		return err
	}
	u.database += own.self + own.ended
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if st, err := statOf(pid); err == nil && st.parent == d.pid { // others end meanwhile
			u.database += st.self
		}
	}
	return d.conn.QueryRow(context.Background(), "SELECT pg_database_size(current_database()), pg_current_wal_flush_lsn() - '0/0'::pg_lsn").Scan(&u.bytes, &u.wal)
}

// images returns how many bytes of the log between two positions are images of pages that
// were written for the first time after a checkpoint.
func (d *database) images(from, to int64) (n int64, err error) {
	err = d.conn.QueryRow(context.Background(),
		"SELECT coalesce(sum(fpi_size), 0)::bigint FROM pg_get_wal_stats('0/0'::pg_lsn + $1::bigint, '0/0'::pg_lsn + $2::bigint)", from, to).Scan(&n)
	return n, err
}

// printStatements prints what each statement cost the database for one event.
func (d *database) printStatements(events int) error {
	ctx := context.Background()
	if _, err := d.conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		return err
	}
	rows, err := d.conn.Query(ctx, `SELECT calls, total_exec_time, shared_blks_hit, wal_bytes::bigint, regexp_replace(query, '\s+', ' ', 'g')
		FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 14`)
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Println("calls; an event: time, pages, bytes of log; statement")
	for rows.Next() {
		var calls, pages, wal int64
		var ms float64
		var sql string
		if err := rows.Scan(&calls, &ms, &pages, &wal, &sql); err != nil {
			return err
		}
		n := float64(events)
		fmt.Printf("%7d %6.1fµs %5.1f %6.0f  %.110s\n", calls, 1000*ms/n, float64(pages)/n, float64(wal)/n, sql)
	}
	return rows.Err()
}
