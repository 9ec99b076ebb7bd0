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
	if out, errs, code := run(t, "simulate", "--url", cl.Base, "--account", cl.Account, "--key", cl.APIKey, "--secret", cl.APISecret, "--sessions", "6", "--speed", "max", "--abandon", "0", "--invalid", "0"); code != 0 {
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
	live.await(t, "what is owed to the live receiver", func() bool { return len(live.ids) >= 20 })
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
	for _, m := range regexp.MustCompile(`(?m)^ *\d+ +SESSION:\S+ +\d+ +\d+ +\d+ +\d+ +(\d+) `).FindAllStringSubmatch(out, -1) {
		var p int
		fmt.Sscan(m[1], &p)
		n += p
	}
	return n
}

// The whole way from SQLite to PostgreSQL: what waited is delivered from
// there, idempotency keys stand for the same answers, numbers go on.
func TestMoveToPostgreSQL(t *testing.T) {
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

	url, keyset := filepath.Join(t.TempDir(), "url"), filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(url, []byte(pg.Database(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	on := func(args ...string) *exec.Cmd {
		cmd := command(append(args, "--secret-keys", keyset)...)
		cmd.Env = append(cmd.Env, "CALLBACKD_MOVE_TO_FILE="+url, "CALLBACKD_DATABASE_URL_FILE="+url)
		return cmd
	}
	if _, errs, code := runCmd(t, on("move", "--from", dir)); code != 1 || !strings.Contains(errs, "another callbackd runs on the data directory") {
		t.Errorf("beside a server: %d %s", code, errs)
	}
	if code := srv.term(t); code != 0 {
		t.Fatalf("stop: %d", code)
	}
	before, _, _ := run(t, "fsck", "--data", dir)
	if pendingOf(t, before) < 20 {
		t.Fatalf("too little waits:\n%s", before)
	}
	out, errs, code := runCmd(t, on("move", "--from", dir))
	if code != 0 || !regexp.MustCompile(`(?m)^ *events +\d+ +[0-9a-f]{16}… *$`).MatchString(out) || !strings.Contains(out, "Every table is equal on both sides") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if after, errs, code := runCmd(t, on("fsck")); code != 0 || after != before {
		t.Errorf("fsck: %d %s\n%s\nwas\n%s", code, errs, after, before)
	}
	if _, errs, code := run(t, "serve", "--data", dir, "--listen", "127.0.0.1:0"); code != 78 || !strings.Contains(errs, "was moved to PostgreSQL") {
		t.Errorf("a server on the old directory: %d %s", code, errs)
	}

	revive()
	srv = listening(t, start(t, on("serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "error")))
	cl.Base = srv.url
	repeatAll(t, cl, first)
	want := 0
	for _, a := range first {
		want = max(want, int(a.Sequence))
	}
	next, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S0"})
	if err != nil || next.Sequence != 9 || want != 8 {
		t.Errorf("after sequence %d comes %d: %v", want, next.Sequence, err)
	}
	dead.await(t, "what waited for the dead receiver", func() bool { return len(dead.ids) == 20+6 })
	live.await(t, "the new event", func() bool { return live.ids[next.ID] > 0 })
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	out, errs, code = runCmd(t, on("fsck"))
	if code != 0 || pendingOf(t, out) != 0 {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
	for _, sk := range []*sink{live, dead} {
		sk.mu.Lock()
		for id, n := range sk.ids {
			if n != 1 {
				t.Errorf("%s was taken %d times", id, n)
			}
		}
		sk.mu.Unlock()
	}
}

// A move that is killed goes on where it was; until its end no server starts.
func TestAKilledMoveGoesOn(t *testing.T) {
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	for i := range 60 {
		var b []client.NewEvent
		for j := range 1000 {
			b = append(b, client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i, "-", j), Data: map[string]int{"i": i}})
		}
		if err := cl.Do(t.Context(), "POST", "/v1/events", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	if code := srv.term(t); code != 0 {
		t.Fatalf("stop: %d", code)
	}
	url, keyset := pg.Database(t), filepath.Join(dir, "secret-keys.json")
	move := func() *exec.Cmd {
		return command("move", "--from", dir, "--to", url, "--secret-keys", keyset)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	count := func(sql string) (n int64) { // 0 when the table is not there yet
		_ = conn.QueryRow(t.Context(), sql).Scan(&n)
		return n
	}
	for range 3 {
		before := count("SELECT count(*) FROM events")
		p := start(t, move())
		ended := false
		for !ended && count("SELECT count(*) FROM events") == before {
			select {
			case _, more := <-p.lines:
				ended = !more
			default:
			}
		}
		p.kill()
		if ended {
			t.Fatalf("it ended by itself: %s", p.log)
		}
		if count("SELECT count(*) FROM moving") == 0 {
			t.Fatal("it was faster than the kill: give it more to move")
		}
		if _, errs, code := run(t, "serve", "--database-url", url, "--secret-keys", keyset, "--listen", "127.0.0.1:0"); code != 1 || !strings.Contains(errs, "run the same `callbackd move` again") {
			t.Fatalf("a server on part of it: %d %s", code, errs)
		}
	}
	if n := count("SELECT count(*) FROM events"); n == 0 || n == 60_000 {
		t.Errorf("%d events after the kills", n)
	}
	if out, errs, code := runCmd(t, move()); code != 0 || !strings.Contains(out, "Every table is equal on both sides") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if out, errs, code := run(t, "fsck", "--database-url", url, "--secret-keys", keyset); code != 0 || !strings.Contains(out, "60,000 events") {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
}
