package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
)

// publishing publishes from several goroutines until stop, and keeps the id of each
// event that was acknowledged.
func publishing(t *testing.T, cl *client.Client) (acked func() []string, stop func()) {
	t.Helper()
	var mu sync.Mutex
	var ids []string
	var work sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				a, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S" + string(rune('a'+i%20)), Data: map[string]int{"i": i}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids = append(ids, a.ID)
				mu.Unlock()
			}
		})
	}
	return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), ids...)
		}, func() {
			close(done)
			work.Wait()
		}
}

// restored proves that a restored store has every event that was acknowledged
// before the backup began, and delivers what it does not know to be delivered.
func restored(t *testing.T, cl *client.Client, sk *sink, before []string) {
	t.Helper()
	for _, id := range before {
		if err := cl.Do(t.Context(), "GET", "/v1/events/"+id, nil, nil); err != nil {
			t.Fatalf("%s was acknowledged before the backup: %v", id, err)
		}
	}
	sk.await(t, "every event of the backup", func() bool {
		for _, id := range before {
			if sk.ids[id] == 0 {
				return false
			}
		}
		return true
	})
}

// A backup of a server under load has all events that were acknowledged before, in their
// order, and is a data directory that a server starts on.
func TestBackupBesideAServerUnderLoad(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	acked, stop := publishing(t, cl)
	sk.await(t, "the load has begun", func() bool { return len(sk.ids) > 500 })
	to := filepath.Join(t.TempDir(), "copies", "monday")
	backup := []string{"backup", "--data", dir, "--to", to}
	refuses(t, backup, "no such file")
	if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	var before []string
	for range 3 { // the last one is restored
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		before = acked()
		says(t, backup, "The copy contains the keyset", "callbackd fsck --data "+to)
	}
	stop()
	refuses(t, backup, "exists already")
	onlyEntry(t, to)
	wantStop(t, srv)
	sk.mu.Lock()
	sk.inOrder(t)
	once := len(sk.tries)
	sk.mu.Unlock()

	waits := pendingOf(t, says(t, []string{"fsck", "--data", to}))
	srv = serve(t, to)
	cl.Base = srv.url
	restored(t, cl, sk, before)
	wantStop(t, srv)
	fsck(t, to)
	if again := sk.sent() - once; again > waits {
		t.Errorf("%d were sent again, and %d waited at the backup", again, waits)
	}
}

// onlyEntry checks that nothing else is in a path's directory, not even hidden.
func onlyEntry(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s is next to the backup", e.Name())
		}
	}
}

// sent returns how many attempts the sink got, repeated ones included.
func (s *sink) sent() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.tries {
		n += times
	}
	return n
}

// Without the keyset nothing opens; with it put there, everything does.
func TestBackupWithoutTheKeyset(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	newClient(t, dir)
	out, errs, code := run(t, "backup", "--data", dir, "--to", to, "--without-keyset")
	if code != 0 || strings.Contains(out, "keyset is in it") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if _, errs, code := run(t, "fsck", "--data", to); code != exitSetting || !strings.Contains(errs, "secret-keys.json") {
		t.Errorf("%d %s", code, errs)
	}
	if out, errs, code := run(t, "keys", "list", "--data", to, "--secret-keys", filepath.Join(dir, "secret-keys.json")); code != 0 || !strings.Contains(out, "acme") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if _, errs, code := run(t, "backup", "--database-url", "postgres://x/y", "--to", to+"2"); code != exitSetting || !strings.Contains(errs, "pg_dump") {
		t.Errorf("%d %s", code, errs)
	}
}

// A dump that PostgreSQL makes of a database under load has all that was
// acknowledged before, and is one that a server starts on once it is restored
// into another database.
func TestBackupOfPostgreSQL(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	keyset := filepath.Join(t.TempDir(), "keys.json")
	up := func(url string) *server {
		return listening(t, start(t, command("serve", "--listen", "127.0.0.1:0", "--database-url", url, "--secret-keys", keyset, "--allow-target", "127.0.0.0/8", "--log-level", "error")))
	}
	url := pg.Database(t)
	srv := up(url)
	cl := newClientWith(t, "", "--database-url", url, "--secret-keys", keyset)
	cl.Base = srv.url
	sk := newSink(t)
	hook(t, cl, sk.URL, event)
	acked, stop := publishing(t, cl)
	sk.await(t, "the load has begun", func() bool { return len(sk.ids) > 500 })
	before := acked()
	dump := output(t, pg.Command("pg_dump", "-Fc", "--no-owner", "-d", url), nil)
	stop()
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}

	again := pg.Database(t)
	output(t, pg.Command("pg_restore", "--no-owner", "--exit-on-error", "-d", again), dump)
	proof := func() {
		t.Helper()
		if out, errs, code := run(t, "fsck", "--database-url", again, "--secret-keys", keyset); code != 0 {
			t.Errorf("fsck: %d %s%s", code, out, errs)
		}
	}
	proof()
	if _, errs, code := run(t, "fsck", "--database-url", again, "--secret-keys", filepath.Join(t.TempDir(), "new.json")); code != exitSetting || !strings.Contains(errs, "is missing: restore it from the backup") {
		t.Errorf("without the keyset: %d %s", code, errs)
	}
	srv = up(again)
	cl.Base = srv.url
	restored(t, cl, sk, before)
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	proof()
}

func output(t *testing.T, cmd *exec.Cmd, stdin []byte) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v %s", cmd.Args, err, errs.String())
	}
	return out.Bytes()
}
