package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// rowLimit is the time after which a measurement is given up.
const rowLimit = 30 * time.Second

// steadyRate is the rate at which latencies are measured, in events a second.
const steadyRate = 500

// storedKeys is the number of API keys that share the load. Each has a callback,
// because nodes divide the callbacks. The number of sessions is a multiple of it.
const storedKeys = 10

// productionLike holds the settings of a server that is durable and has enough memory.
var productionLike = []string{
	"fsync=on", "synchronous_commit=on", "full_page_writes=on",
	"shared_buffers=512MB", "min_wal_size=1GB", "max_wal_size=4GB", "checkpoint_timeout=15min",
}

func postgresCommand(fs *flag.FlagSet) func() error {
	b := &bench{}
	fs.IntVar(&b.n, "events", 10_000, "events of each measurement")
	fs.IntVar(&b.c, "c", 64, "connections")
	fs.IntVar(&b.rounds, "rounds", 3, "interleaved repetitions")
	fs.IntVar(&b.sessions, "sessions", 2000, "sessions the events are spread over")
	fs.StringVar(&b.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	nodes := fs.Int("nodes", 3, "nodes of the last column")
	return func() error { return b.postgres(*nodes) }
}

// stored is callbackd on one store: the processes that serve it, and the
// database's server, if it has one.
type stored struct {
	name  string
	c     int // connections that load it
	nodes []*process
	db    *database
	to    func() target // signed anew
	runs  []storedFigures
}

// storedFigures holds the result of one measurement. Counts are for one event.
type storedFigures struct {
	rate                 float64
	server, database     time.Duration
	accept50, accept99   time.Duration
	arrival50, arrival99 time.Duration
	bytes, wal, images   float64
	repeated             int
}

func (b *bench) postgres(nodes int) error {
	dir, err := os.MkdirTemp(b.dir, "callbackd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.dir != "" {
		os.Setenv("TMPDIR", b.dir) // where the databases go
	}
	server, self, err := buildBoth(dir)
	if err != nil {
		return err
	}
	if b.sink, err = start(self, "sink"); err != nil {
		return err
	}
	defer b.sink.stop()
	var all []*stored
	for _, v := range []struct {
		name        string
		nodes, c    int
		hasDatabase bool
	}{
		{"SQLite", 1, b.c, false},
		{"PostgreSQL, 1 node", 1, b.c, true},
		{fmt.Sprintf("%d nodes", nodes), nodes, b.c, true},
		{fmt.Sprintf("%d nodes, %d connections", nodes, nodes*b.c), nodes, nodes * b.c, true},
	} {
		s := &stored{name: v.name, c: v.c}
		all = append(all, s)
		defer s.stop()
		if v.hasDatabase {
			if s.db, err = startDatabase(); err != nil {
				return err
			}
		}
		if err := b.serve(s, server, filepath.Join(dir, strconv.Itoa(len(all))), v.nodes); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for i := range b.rounds {
		for _, s := range all {
			fmt.Fprintf(os.Stderr, "round %d of %d, %s\n", i+1, b.rounds, s.name)
			f, err := b.measureStored(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.runs = append(s.runs, f)
		}
	}
	sync, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	b.printStored(all, sync)
	return nil
}

// serve starts the nodes of s, which have the keyset of the first.
func (b *bench) serve(s *stored, server, dir string, nodes int) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	options := []string{"--data", dir}
	if s.db != nil {
		options = []string{"--database-url", s.db.server.URL(""), "--secret-keys", filepath.Join(dir, "secret-keys.json")}
	}
	for range nodes {
		p, err := start(server, append([]string{"serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "warn"}, options...)...)
		if err != nil {
			return err
		}
		s.nodes = append(s.nodes, p)
	}
	var keys []*client.Client
	for range storedKeys {
		cl, err := b.prepare(server, s.nodes[0], options...)
		if err != nil {
			return err
		}
		keys = append(keys, cl)
	}
	s.to = func() (t target) {
		for _, cl := range keys {
			h := signed(cl)
			for _, p := range s.nodes {
				t = append(t, place{p.url + "/v1/events", h})
			}
		}
		return t
	}
	return nil
}

func (s *stored) stop() {
	for _, p := range s.nodes {
		p.stop()
	}
	if s.db != nil {
		s.db.server.Stop()
	}
}

// measureStored measures s at the highest rate, and then at a steady one.
func (b *bench) measureStored(s *stored) (f storedFigures, err error) {
	watch := time.AfterFunc(rowLimit, func() {
		fmt.Fprintf(os.Stderr, "%s: stopped after %v; give fewer -events\n", s.name, rowLimit)
		for _, p := range s.nodes {
			p.cmd.Process.Kill()
		}
	})
	defer watch.Stop()
	if err := b.warm(s); err != nil {
		return f, err
	}
	before, err := s.uses()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := b.arrive(s, b.n, 0, &f); err != nil {
		return f, err
	}
	f.rate = float64(b.n) / time.Since(begin).Seconds()
	time.Sleep(300 * time.Millisecond) // the last outcomes are recorded too
	after, err := s.uses()
	if err != nil {
		return f, err
	}
	n := time.Duration(b.n)
	f.server, f.database = (after.server-before.server)/n, (after.database-before.database)/n
	f.bytes, f.wal = float64(after.bytes-before.bytes)/float64(b.n), float64(after.wal-before.wal)/float64(b.n)
	if s.db != nil {
		images, err := s.db.images(before.wal, after.wal)
		if err != nil {
			return f, err
		}
		f.images = float64(images) / float64(b.n)
	}
	return f, b.arrive(s, 5*steadyRate, steadyRate, &f)
}

// warm publishes events that are not measured, and ends with a checkpoint.
func (b *bench) warm(s *stored) error {
	if err := b.arrive(s, b.n/20, 0, &storedFigures{}); err != nil || s.db == nil {
		return err
	}
	return s.db.checkpoint()
}

// arrive publishes n events and waits until they arrived. Latencies are those of its
// last call, repeats those of all calls.
func (b *bench) arrive(s *stored, n int, rate float64, f *storedFigures) error {
	if _, err := asked(b.sink.url, "/?reset=1"); err != nil {
		return err
	}
	a, err := load(s.to(), n, s.c, b.sessions, rate)
	if err != nil {
		return err
	}
	if err := awaitFor(b.sink.url, n, rowLimit); err != nil {
		return err
	}
	at, err := asked(b.sink.url, "/?full=1")
	f.accept50, f.accept99, f.arrival50, f.arrival99 = a.p50, a.p99, at.P50, at.P99
	f.repeated += at.Repeated
	return err
}

// used returns what was used so far.
type used struct {
	server, database time.Duration
	bytes, wal       int64
}

func (s *stored) uses() (u used, err error) {
	for _, p := range s.nodes {
		d, err := p.cpu()
		if err != nil {
			return u, err
		}
		u.server += d
	}
	if s.db != nil {
		err = s.db.uses(&u)
	}
	return u, err
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
	db := &database{server: s}
	ctx := context.Background()
	if db.conn, err = pgx.Connect(ctx, s.URL("")); err == nil {
		// It counts what of the log is page images.
		_, err = db.conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	}
	if err == nil {
		db.pid, err = postmaster(s.Dir)
	}
	if err == nil {
		err = db.age()
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return db, nil
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

// age makes the server's log have files to use again, as after some time of use. A new
// file would first be filled with zeros.
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
	return d.conn.QueryRow(context.Background(), "SELECT pg_database_size(current_database()), pg_current_wal_lsn() - '0/0'::pg_lsn").Scan(&u.bytes, &u.wal)
}

// images is how much of the log between two places is images of pages that
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

func (b *bench) printStored(all []*stored, sync time.Duration) {
	fmt.Printf("%s, %s, %d cores; %d events of 1 KiB, %d connections, %d sessions, %d rounds interleaved, medians; fsync %v; latencies at %d/s\n\n",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), b.n, b.c, b.sessions, b.rounds, sync.Round(10*time.Microsecond), steadyRate)
	title, rule := "| figure", "|---"
	for _, s := range all {
		title, rule = title+" | "+s.name, rule+"|---"
	}
	fmt.Printf("%s |\n%s|\n", title, rule)
	row := func(figure string, cell func(s *stored) string) {
		fmt.Printf("| %s", figure)
		for _, s := range all {
			fmt.Printf(" | %s", cell(s))
		}
		fmt.Println(" |")
	}
	duration := func(get func(storedFigures) time.Duration) func(*stored) string {
		return func(s *stored) string { return median(of(s.runs, get)).Round(time.Microsecond).String() }
	}
	counted := func(get func(storedFigures) float64) func(*stored) string {
		return func(s *stored) string {
			if s.db == nil {
				return ""
			}
			return fmt.Sprintf("%.0f", median(of(s.runs, get)))
		}
	}
	total := func(s *stored) float64 {
		return float64(median(of(s.runs, func(f storedFigures) time.Duration { return f.server + f.database })))
	}
	row("events/s end to end, durable", func(s *stored) string {
		return fmt.Sprintf("%.0f", median(of(s.runs, func(f storedFigures) float64 { return f.rate })))
	})
	row("CPU an event, server processes", duration(func(f storedFigures) time.Duration { return f.server }))
	row("CPU an event, database", duration(func(f storedFigures) time.Duration { return f.database }))
	row("CPU an event, together", func(s *stored) string { return time.Duration(total(s)).Round(time.Microsecond).String() })
	row("… against SQLite", func(s *stored) string { return fmt.Sprintf("%.2f", total(s)/total(all[0])) })
	row("… against PostgreSQL, 1 node", func(s *stored) string { return fmt.Sprintf("%.2f", total(s)/total(all[1])) })
	row("accepted within, p50", duration(func(f storedFigures) time.Duration { return f.accept50 }))
	row("accepted within, p99", duration(func(f storedFigures) time.Duration { return f.accept99 }))
	row("publish to arrival, p50", duration(func(f storedFigures) time.Duration { return f.arrival50 }))
	row("publish to arrival, p99", duration(func(f storedFigures) time.Duration { return f.arrival99 }))
	row("database bytes an event", counted(func(f storedFigures) float64 { return f.bytes }))
	row("WAL bytes an event", counted(func(f storedFigures) float64 { return f.wal }))
	row("… of them page images, right after a checkpoint", counted(func(f storedFigures) float64 { return f.images }))
	row("each event arrived once", func(s *stored) string {
		repeated := 0
		for _, f := range s.runs {
			repeated += f.repeated
		}
		if repeated == 0 {
			return "yes"
		}
		return fmt.Sprintf("no: %d arrivals too many", repeated)
	})
}
