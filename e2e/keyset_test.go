package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
)

// keysetOn runs keyset commands on a store.
type keysetOn struct {
	*testing.T
	on []string
}

// do runs a command that must succeed and print every part.
func (k keysetOn) do(args string, parts ...string) string {
	k.Helper()
	return k.exits(0, args, parts...)
}

func (k keysetOn) exits(want int, args string, parts ...string) string {
	k.Helper()
	out, errs, code := run(k.T, append(append([]string{}, strings.Fields(args)...), k.on...)...)
	wantExit(k.T, args, code, want, out+errs, parts...)
	return out
}

// addKey adds a key and returns its ID.
func (k keysetOn) addKey() string {
	k.Helper()
	found := regexp.MustCompile(`Added the key (\d+)`).FindStringSubmatch(k.do("keyset rotate"))
	if found == nil {
		k.Fatal("the ID of the new key is not printed")
	}
	return found[1]
}

// trickling publishes about 100 events a second until stop, and keeps the id of each event
// that was acknowledged. acked is called after stop.
func trickling(t *testing.T, cl *client.Client) (acked func() []string, stop func()) {
	t.Helper()
	var ids []string
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			a, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, a.ID)
		}
	}()
	return func() []string { return ids }, func() { close(done); <-ended }
}

// The key of a server under load is replaced: no call fails, everything is delivered, and
// the store needs the new key only, also after a restart.
func TestKeysetRotationUnderLoad(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	old := filepath.Join(t.TempDir(), "old.json")
	copyFile(t, filepath.Join(dir, "secret-keys.json"), old)
	acked, stop := trickling(t, cl)
	k := keysetOn{t, []string{"--data", dir}}
	k.do("keyset prune", "nothing to remove")
	k.exits(1, "keyset promote", "keyset rotate", "adds one")
	id := k.addKey()
	k.exits(1, "keyset rotate", "the key "+id+" was added")
	k.do("keyset list", id+" ", "waiting")
	k.do("keyset prune", "nothing to remove")
	k.do("keyset promote", "The key "+id+" is the primary one")
	k.exits(1, "keyset prune", "is needed to open", "keyset reseal")
	newClient(t, dir) // is sealed with the new key by the command, and the server opens it
	k.do("keyset reseal", "with the key "+id, "needs another key")
	k.do("fsck", "secrets: ", " with the key "+id+" (primary)\n")
	k.do("keyset prune --dry-run", "Nothing in the store needs: ")
	k.do("keyset prune", "Removed from ", "Backups that were made before")
	if out := k.do("keyset list"); strings.Count(out, "\n") != 2 {
		t.Errorf("more than one key after prune:\n%s", out)
	}
	if out := k.do("audit list --action keyset.changed", id+"* → "+id+"*\n", "by command line"); strings.Count(out, "keyset.changed") != 3 {
		t.Errorf("rotate, promote and prune are in the audit log as\n%s", out)
	}
	k.do("audit list --action keyset.resealed", id, "secrets: – → ")
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, Name: "later", URL: sk.URL}); err != nil {
		t.Error(err) // what the server seals now
	}
	stop()
	restored(t, cl, sk, acked())
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	k.do("fsck", " with the key "+id+" (primary)\n")
	srv = serve(t, dir)
	cl.Base = srv.url
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "after"}); err != nil {
		t.Error(err)
	}
	out, errs, code := run(t, "fsck", "--data", dir, "--secret-keys", old)
	wantExit(t, "fsck with the keyset of before", code, 1, out+errs, "FAULT: the secret of key ", "is sealed with the key "+id, "with the key "+id+" (not in the file)")
}

// Two nodes have a file each. The key is replaced node by node under load: the order is
// enforced, no call fails, and each call reaches its home.
func TestKeysetRotationOnTwoNodes(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	url, dir := pg.Database(t), t.TempDir()
	files := []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}
	up := func(file string) *server {
		return listening(t, start(t, command("serve", "--listen", "127.0.0.1:0", "--database-url", url, "--secret-keys", file, "--allow-target", "127.0.0.0/8", "--log-level", "error")))
	}
	a := up(files[0])
	spread := func() { copyFile(t, files[0], files[1]) }
	spread()
	b := up(files[1])
	k := keysetOn{t, []string{"--database-url", url, "--secret-keys", files[0]}}
	old := filepath.Join(dir, "old.json")
	copyFile(t, files[0], old)
	sk := newSink(t)
	var stops []func()
	for _, srv := range []*server{a, b} {
		cl := newClientWith(t, "", k.on...)
		cl.Base = srv.url
		hook(t, cl, sk.URL, event)
		acked, stop := trickling(t, cl)
		stops = append(stops, func() { stop(); restored(t, cl, sk, acked()) })
	}
	id := k.addKey()
	k.exits(1, "keyset promote", "does not have the key "+id, "copy the keyset file to every node")
	spread()
	k.do("keyset promote", "The key "+id+" is the primary one") // waits until both nodes say that they have it
	k.do("keyset list", id+" ")
	newClientWith(t, "", k.on...) // sealed with the new key
	spread()
	awaitKeyset(t, k, id)
	k.do("keyset reseal", "needs another key")
	k.do("keyset prune", "Removed from ")
	newClientWith(t, "", k.on...)
	spread()
	for _, stop := range stops {
		stop()
	}
	for _, srv := range []*server{a, b} {
		if code := srv.term(t); code != 0 {
			t.Errorf("stop: %d", code)
		}
	}
	k.do("fsck", " with the key "+id+" (primary)\n")
	if _, errs, code := run(t, "fsck", "--database-url", url, "--secret-keys", files[1]); code != 0 {
		t.Errorf("fsck with the other node's file: %d %s", code, errs)
	}
	out, errs, code := run(t, "fsck", "--database-url", url, "--secret-keys", old)
	wantExit(t, "fsck with the keyset of before", code, 1, out+errs, "FAULT: the secret of key ", "with the key "+id+" (not in the file)")
}

// awaitKeyset waits until no node seals with another key.
func awaitKeyset(t *testing.T, k keysetOn, id string) {
	t.Helper()
	seals := regexp.MustCompile(`(?m)^\d+ \(.*\)  +(\d+)  `)
	for {
		out := k.do("keyset list")
		rows := seals.FindAllStringSubmatch(out, -1)
		if len(rows) != 2 {
			t.Fatalf("the list does not show two nodes:\n%s", out)
		}
		if rows[0][1] == id && rows[1][1] == id {
			return
		}
	}
}
