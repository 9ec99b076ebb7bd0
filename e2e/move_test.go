package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"

	"github.com/jackc/pgx/v5"
)

const complete = "SESSION:COMPLETE"

// mortal is a sink that is dead, with 503 to everything, until it is revived.
func mortal(t *testing.T) (sk *sink, revive func()) {
	sk = newSink(t)
	var alive atomic.Bool
	sk.answer = func(context.Context, try, int64) int {
		if alive.Load() {
			return 200
		}
		return 503
	}
	return sk, func() { alive.Store(true) }
}

// traffic is inspections and events, some to a receiver that is dead. It
// returns the answer that each idempotency key got.
func traffic(t *testing.T, cl *client.Client, live, dead *sink) map[string]wire.Accepted {
	t.Helper()
	hook(t, cl, live.URL, event)
	// The dead one is tried at once, and then not before it has been revived.
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: complete, URL: dead.URL, Retry: []string{"0s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"}}); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := run(t, "simulate", "--server", cl.Base, "--account", cl.Account, "--key", cl.APIKey, "--secret", cl.APISecret, "--sessions", "6", "--speed", "max", "--abandon", "0", "--invalid", "0"); code != 0 {
		t.Fatalf("simulate: %d %s%s", code, out, errs)
	}
	first := map[string]wire.Accepted{}
	for i := range 40 {
		id := fmt.Sprint("once ", i)
		ev := client.NewEvent{Event: []string{event, complete}[i%2], SessionKey: fmt.Sprint("S", i%5), Data: map[string]int{"i": i}, ID: id}
		got, err := cl.Publish(t.Context(), ev)
		if err != nil {
			t.Fatal(err)
		}
		first[id] = got
	}
	live.await(t, "the deliveries to the live receiver", func() bool { return len(live.ids) >= 20 })
	dead.await(t, "first attempts at the dead receiver", func() bool { return len(dead.tries) >= 8 })
	return first
}

// repeatAll publishes again what traffic published.
func repeatAll(t *testing.T, cl *client.Client, first map[string]wire.Accepted) {
	t.Helper()
	for i := range 40 {
		id := fmt.Sprint("once ", i)
		got, err := cl.Publish(t.Context(), client.NewEvent{Event: []string{event, complete}[i%2], SessionKey: fmt.Sprint("S", i%5), Data: map[string]int{"i": i}, ID: id})
		if err != nil || got != first[id] {
			t.Errorf("%s: %+v, %v, was %+v", id, got, err, first[id])
		}
	}
}

// pendingOf is how many deliveries of a balance that fsck printed wait.
func pendingOf(t *testing.T, out string) (n int) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^ *\d+ +SESSION:\S+ +\d+ +\d+ +\d+ +\d+ +\d+ +(\d+) `).FindAllStringSubmatch(out, -1) {
		var p int
		fmt.Sscan(m[1], &p)
		n += p
	}
	return n
}

// The whole way from SQLite to PostgreSQL: what waited is delivered from
// there, idempotency keys stand for the same answers, numbers go on.
func TestMoveToPostgreSQL(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	live, dir := newSink(t), t.TempDir()
	dead, revive := mortal(t)
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	first := traffic(t, cl, live, dead)

	m := newMoved(t, pg, dir)
	m.wantEnd(1, "another callbackd runs on the data directory", "move", "--from", dir)
	wantStop(t, srv)
	before, _, _ := run(t, "fsck", "--data", dir)
	if n := pendingOf(t, before); n < 20 {
		t.Fatalf("%d deliveries wait, want 20 or more:\n%s", n, before)
	}
	m.move()
	// The database has one secret more, of its own audit log.
	secrets := regexp.MustCompile(`(?m)^.* secrets: .*\n`)
	before = secrets.ReplaceAllString(before, "")
	if after := secrets.ReplaceAllString(m.wantEnd(0, "", "fsck"), ""); after != before {
		t.Errorf("fsck of the database says\n%s\nwant what it said of the directory\n%s", after, before)
	}
	if _, errs, code := run(t, "serve", "--data", dir, "--listen", "127.0.0.1:0"); code != 78 || !strings.Contains(errs, "was moved to PostgreSQL") {
		t.Errorf("a server on the old directory ends with %d, want 78, because it was moved: %s", code, errs)
	}

	revive()
	srv = listening(t, start(t, m.command("serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "error")))
	cl.Base = srv.url
	repeatAll(t, cl, first)
	next := nextOf(t, cl, first)
	dead.await(t, "what waited for the dead receiver", func() bool { return len(dead.ids) == 20+6 })
	live.await(t, "the new event", func() bool { return live.ids[next.ID] > 0 })
	wantStop(t, srv)
	if n := pendingOf(t, m.wantEnd(0, "", "fsck")); n != 0 {
		t.Errorf("%d deliveries wait at the end, want 0", n)
	}
	for _, sk := range []*sink{live, dead} {
		sk.takenOnce(t)
	}
}

// moved is a data directory that goes to a database.
type moved struct {
	t      *testing.T
	dir    string
	keyset string
	url    string // the file that has the URL of the database
}

func newMoved(t *testing.T, pg *pgtest.Server, dir string) *moved {
	t.Helper()
	m := &moved{t: t, dir: dir, keyset: filepath.Join(t.TempDir(), "keys.json"), url: filepath.Join(t.TempDir(), "url")}
	if err := os.WriteFile(m.url, []byte(pg.Database(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// command is a command on the database.
func (m *moved) command(args ...string) *exec.Cmd {
	cmd := command(append(args, "--secret-keys", m.keyset)...)
	cmd.Env = append(cmd.Env, "CALLBACKD_MOVE_TO_FILE="+m.url, "CALLBACKD_DATABASE_URL_FILE="+m.url)
	return cmd
}

// wantEnd runs a command on the database, checks how it ends and what it says on
// standard error, and returns what it prints.
func (m *moved) wantEnd(want int, says string, args ...string) (stdout string) {
	m.t.Helper()
	out, errs, code := runCmd(m.t, m.command(args...))
	if code != want || !strings.Contains(errs, says) {
		m.t.Errorf("%q ends with %d and says %q, want %d and %q\n%s", args, code, errs, want, says, out)
	}
	return out
}

// move moves the directory and checks what is printed.
func (m *moved) move() {
	m.t.Helper()
	out, errs, code := runCmd(m.t, m.command("move", "--from", m.dir))
	if code != 0 {
		m.t.Fatalf("the move ends with %d, want 0: %s%s", code, out, errs)
	}
	for _, line := range []string{`(?m)^ *events +\d+ +[0-9a-f]{16}… *$`, "Every table is equal on both sides"} {
		if !regexp.MustCompile(line).MatchString(out) {
			m.t.Errorf("the move prints\n%s\nwant a line %s", out, line)
		}
	}
}

func wantStop(t *testing.T, srv *server) {
	t.Helper()
	if code := srv.term(t); code != 0 {
		t.Fatalf("the stop ends with %d, want 0: %s", code, srv.log)
	}
}

// nextOf publishes another event of a session that has 8, and checks its number.
func nextOf(t *testing.T, cl *client.Client, first map[string]wire.Accepted) wire.Accepted {
	t.Helper()
	last := int64(0)
	for _, a := range first {
		last = max(last, a.Sequence)
	}
	if last != 8 {
		t.Errorf("the last sequence number before the move is %d, want 8", last)
	}
	next, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S0"})
	if err != nil {
		t.Fatal(err)
	}
	if next.Sequence != 9 {
		t.Errorf("the next sequence number is %d, want 9", next.Sequence)
	}
	return next
}

// takenOnce checks that no event was taken twice.
func (s *sink) takenOnce(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.ids {
		if n != 1 {
			t.Errorf("%s was taken %d times, want once", id, n)
		}
	}
}

// A move that is killed goes on where it was; until its end no server starts.
func TestAKilledMoveGoesOn(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	const events = 60_000
	m := &killedMove{t: t, dir: t.TempDir(), url: pg.Database(t)}
	m.filled(events)
	if m.conn, err = pgx.Connect(t.Context(), m.url); err != nil {
		t.Fatal(err)
	}
	defer m.conn.Close(context.Background())
	on := []string{"--database-url", m.url, "--secret-keys", filepath.Join(m.dir, "secret-keys.json")}
	for range 3 {
		m.killed()
		refuses(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, on...), "run the same `callbackd move` again")
	}
	if n := m.count("SELECT count(*) FROM events"); n == 0 || n == events {
		t.Errorf("%d events after the kills, want a part of %d", n, events)
	}
	says(t, m.args(), "Every table is equal on both sides")
	says(t, append([]string{"fsck"}, on...), "60,000 events")
}

// killedMove is a data directory that moves to a database and is killed on the way.
type killedMove struct {
	t        *testing.T
	dir, url string
	conn     *pgx.Conn // to the database
}

func (m *killedMove) args() []string {
	return []string{"move", "--from", m.dir, "--to", m.url, "--secret-keys", filepath.Join(m.dir, "secret-keys.json")}
}

// filled has a server take n events into the directory.
func (m *killedMove) filled(n int) {
	m.t.Helper()
	srv := serve(m.t, m.dir)
	cl := newClient(m.t, m.dir)
	cl.Base = srv.url
	const batch = 1000
	for i := range n / batch {
		var b []client.NewEvent
		for j := range batch {
			b = append(b, client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i, "-", j), Data: map[string]int{"i": i}})
		}
		if err := cl.Do(m.t.Context(), "POST", "/v1/events", b, nil); err != nil {
			m.t.Fatal(err)
		}
	}
	wantStop(m.t, srv)
}

// count returns 0 when the table is not there yet.
func (m *killedMove) count(sql string) (n int64) {
	_ = m.conn.QueryRow(m.t.Context(), sql).Scan(&n)
	return n
}

// killed runs the move until more events are there, and kills it.
func (m *killedMove) killed() {
	m.t.Helper()
	before := m.count("SELECT count(*) FROM events")
	p := start(m.t, command(m.args()...))
	ended := false
	for !ended && m.count("SELECT count(*) FROM events") == before {
		select {
		case _, more := <-p.lines:
			ended = !more
		default:
		}
	}
	p.kill()
	if ended {
		m.t.Fatalf("it ended by itself: %s", p.log)
	}
	if m.count("SELECT count(*) FROM moving") == 0 {
		m.t.Fatal("it was faster than the kill: give it more to move")
	}
}
