package e2e

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"

	"github.com/jackc/pgx/v5"
)

// older is the commit that the tests of upgrades upgrade from: the last one before notices,
// the audit log, expiry, erasure, limits and session callbacks came.
const older = "b6ea68622670aa02b2b858cdd5101975233db213"

// olderBinary returns the binary of the older commit, built from the history.
func olderBinary(t *testing.T) string {
	t.Helper()
	bin, err := buildOlder()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var buildOlder = sync.OnceValues(func() (string, error) {
	if exec.Command("git", "cat-file", "-e", older+"^{commit}").Run() != nil {
		return "", errors.New("the history has no commit " + older + ", from which the test upgrades: clone the whole repository, or get the rest of it with git fetch --unshallow")
	}
	dir := filepath.Join(filepath.Dir(binary), "older")
	archive := exec.Command("git", "-C", "..", "archive", older, "--", "*.go", "go.mod", "go.sum", "internal", "wire", "client", "cmd")
	out, err := archive.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := archive.Start(); err != nil {
		return "", err
	}
	if err := errors.Join(unpack(out, dir), archive.Wait()); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "callbackd-older")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/callbackd")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", older, err, said)
	}
	return bin, nil
})

// unpack writes the files of an archive to a new folder.
func unpack(archive io.Reader, dir string) error {
	for files := tar.NewReader(archive); ; {
		h, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, content, 0o600)); err != nil {
			return err
		}
	}
}

// upgrade is a store that servers of both versions work on, one after the other.
type upgrade struct {
	t        *testing.T
	older    string
	store    []string                                   // the options that name it
	recorded func(t *testing.T) map[try]bool            // the attempts whose outcomes are stored
	server   func(bin string, more ...string) *exec.Cmd // serve on the store
}

func newUpgrade(t *testing.T, store []string, recorded func(t *testing.T) map[try]bool) *upgrade {
	u := &upgrade{t: t, older: olderBinary(t), store: store, recorded: recorded}
	u.server = func(bin string, more ...string) *exec.Cmd {
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--log-level", "error"}, store...)
		return by(bin, command(append(args, more...)...))
	}
	return u
}

func (u *upgrade) serve(bin string) *server {
	u.t.Helper()
	return listening(u.t, start(u.t, u.server(bin)))
}

// kinds is data of every kind that the older version writes.
type kinds struct {
	cl                         *client.Client
	live, dead, refusing, held *sink
	revive                     func() // of dead and held
	accept                     func() // of refusing
	first                      map[string]wire.Accepted
	replay                     string
	failed, canceled           []string // IDs of deliveries
}

const (
	refused = "SESSION:STAGE_CHANGE"
	held    = "SESSION:SMS_PROCESS"
)

// deliveries returns the sorted IDs of the deliveries of an event type in a state.
func deliveries(t *testing.T, cl *client.Client, state, ev string) (ids []string) {
	t.Helper()
	list, err := cl.Deliveries(t.Context(), url.Values{"state": {state}, "event": {ev}, "limit": {"100"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Data {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	return ids
}

// publishTo publishes an event.
func publishTo(t *testing.T, cl *client.Client, ev string, session string) {
	t.Helper()
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: ev, SessionKey: session, Data: map[string]int{"n": 1}}); err != nil {
		t.Fatal(err)
	}
}

// writeKinds has a server write data of every kind: inspections, deliveries that are
// delivered, pending, failed and canceled, a callback that signs in, and a replay that waits.
func writeKinds(t *testing.T, cl *client.Client) *kinds {
	t.Helper()
	k := &kinds{cl: cl, live: newSink(t)}
	var reviveHeld func()
	k.refusing, k.accept = mortal(t)
	k.dead, k.revive = mortal(t)
	k.held, reviveHeld = mortal(t)
	reviveDead := k.revive
	k.revive = func() { reviveDead(); reviveHeld() }
	k.first = traffic(t, cl, k.live, k.dead)
	for ev, cb := range map[string]client.NewCallback{ // not before, or inspections would open the breaker
		refused: {URL: k.refusing.URL, Retry: []string{"0s"}, Headers: map[string]string{"X-Secret": "s"}, Policy: &client.Policy{Auth: &wire.Auth{Bearer: &wire.BearerAuth{Token: "t"}}}},
		held:    {URL: k.held.URL, Retry: []string{"0s", "1h"}},
	} {
		cb.Event = ev
		if _, err := cl.CreateCallback(t.Context(), cb); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		publishTo(t, cl, refused, fmt.Sprint("R", i))
		publishTo(t, cl, held, fmt.Sprint("H", i))
	}
	k.refusing.await(t, "first attempts that are refused", func() bool { return len(k.refusing.tries) >= 3 })
	k.held.await(t, "first attempts that are held", func() bool { return len(k.held.tries) >= 3 })
	eventually(t, "everything pending is canceled", func() bool {
		// A cancellation that comes between an attempt and its record is made again.
		if _, err := cl.CancelPending(t.Context(), wire.NewCancellation{Event: held}); err != nil {
			t.Fatal(err)
		}
		return len(deliveries(t, cl, "pending", held)) == 0
	})
	eventually(t, "what is refused has failed", func() bool { return len(deliveries(t, cl, "pending", refused)) == 0 })
	r, err := cl.StartReplay(t.Context(), wire.NewReplay{States: []string{"delivered"}, Event: event, SessionKey: "S0", Rate: 2})
	if err == nil {
		r, err = cl.PauseReplay(t.Context(), r.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.replay = r.ID
	k.failed, k.canceled = deliveries(t, cl, "failed", refused), deliveries(t, cl, "canceled", held)
	if len(k.failed) < 3 || len(k.canceled) < 3 {
		t.Fatalf("%d deliveries failed and %d are canceled, want 3 or more of each", len(k.failed), len(k.canceled))
	}
	return k
}

// kept checks, with the newer version, that everything is as it was, and goes on.
func (k *kinds) kept(t *testing.T) {
	t.Helper()
	if got := deliveries(t, k.cl, "failed", refused); !slices.Equal(got, k.failed) {
		t.Errorf("failed deliveries are %q, want %q as before the upgrade", got, k.failed)
	}
	if got := deliveries(t, k.cl, "canceled", held); !slices.Equal(got, k.canceled) {
		t.Errorf("canceled deliveries are %q, want %q as before the upgrade", got, k.canceled)
	}
	repeatAll(t, k.cl, k.first)
	k.revive()
	k.dead.await(t, "what waited for the dead receiver", func() bool { return len(k.dead.ids) == 20+6 })
	if _, err := k.cl.ResumeReplay(t.Context(), k.replay); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replay that was paused is done", func() bool {
		r, err := k.cl.Replay(t.Context(), k.replay)
		return err == nil && r.State == "done"
	})
	k.accept()
	if _, err := k.cl.StartReplay(t.Context(), wire.NewReplay{States: []string{"failed"}, Event: refused}); err != nil {
		t.Fatal(err)
	}
	k.refusing.await(t, "what had failed", func() bool { return len(k.refusing.ids) == len(k.failed) })
	if sessions, err := k.cl.Sessions(t.Context(), url.Values{}); err != nil || len(sessions.Data) != 6 {
		t.Errorf("there are %d sessions, %v, want 6", len(sessions.Data), err)
	}
}

// run writes data of every kind with the older version, kills that under load, and goes on
// with this one.
func (u *upgrade) run() {
	t := u.t
	t.Helper()
	srv := u.serve(u.older)
	cl := newClientBy(t, u.older, "", u.store...)
	cl.Base = srv.url
	k := writeKinds(t, cl)

	l := &load{wake: k.live.wake}
	l.base.Store(&srv.url)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for w, publish := range []func(context.Context, client.Client, func(int) string){l.single, l.batches, l.repeats} {
		work.Go(func() { publish(ctx, *cl, func(i int) string { return fmt.Sprintf("L%d-%d", w, i%5) }) })
	}
	k.live.await(t, "the load goes on", func() bool { return l.n.Load() >= 300 })
	srv.kill()
	k.live.await(t, "what was under way ends", func() bool { return k.live.conns == 0 })
	broken := map[try]int{}
	k.live.notRecorded(u.recorded(t), broken)

	srv = u.serve(binary)
	cl.Base = srv.url
	l.base.Store(&srv.url)
	more := l.n.Load() + 100
	k.live.await(t, "the load goes on after the upgrade", func() bool { return l.n.Load() >= more })
	stop()
	work.Wait()
	k.live.await(t, "every acknowledged event arrives", func() bool {
		all := true
		l.acked.Range(func(id, _ any) bool { all = k.live.ids[id.(string)] > 0; return all })
		return all
	})
	k.live.wantRepeatsOf(t, broken)
	k.kept(t)
	wantStop(t, srv)
	k.live.neverEarlier(t)
	for _, args := range [][]string{{"fsck"}, {"audit", "verify"}} {
		says(t, append(args, u.store...))
	}
	u.neverBack()
}

// neverEarlier checks that no event of a session came for the first time after a later one.
// Unlike inOrder it takes sessions of whose events a callback gets only some.
func (s *sink) neverEarlier(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for session, seqs := range s.arrivals {
		last, seen := int64(0), map[int64]bool{}
		for _, seq := range seqs {
			if !seen[seq] && seq < last {
				t.Errorf("session %s: %d arrived after %d", session, seq, last)
			}
			seen[seq], last = true, max(last, seq)
		}
	}
}

// neverBack checks that the older version refuses what this one has upgraded, with a reason,
// and leaves it as it is.
func (u *upgrade) neverBack() {
	u.t.Helper()
	for _, cmd := range []*exec.Cmd{u.server(u.older), by(u.older, command(append([]string{"keys", "list"}, u.store...)...))} {
		out, errs, code := runCmd(u.t, cmd)
		wantExit(u.t, "the older version", code, 78, out+errs, "written by a newer callbackd")
	}
	says(u.t, append([]string{"fsck"}, u.store...))
}

// What the older version stored in a data directory is served by this one, after a kill under
// load: everything arrives in order, and only what was in flight arrives again.
func TestUpgradeOfADataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newUpgrade(t, []string{"--data", dir}, func(t *testing.T) map[try]bool { return recorded(t, dir) }).run()
}

// The same on PostgreSQL.
func TestUpgradeOfADatabase(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	db := pg.Schema(t)
	newUpgrade(t, []string{"--database-url", db, "--secret-keys", filepath.Join(t.TempDir(), "keys.json")}, func(t *testing.T) map[try]bool {
		conn, err := pgx.Connect(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		out := map[try]bool{}
		rows, _ := conn.Query(t.Context(), "SELECT event_id, n FROM attempts WHERE version > 0")
		var id int64
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error {
			out[try{callbackd.EventID(id).String(), n}] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}).run()
}

// nodesToUpgrade starts n nodes of the older version with a load. Nodes that start after that
// have this one.
func nodesToUpgrade(t *testing.T, n, callbacks int) (c *nodes, older string) {
	t.Helper()
	older = olderBinary(t)
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c = newNodesBy(t, older, pg, pg.Schema(t), lease, n, callbacks)
	c.shared(n)
	c.begin()
	c.binary = binary
	return c, older
}

// Nodes of the older version are replaced by nodes of this one, one after the other, while
// the load goes on: nothing is lost, and order holds. An older node does not start any more.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	c, bin := nodesToUpgrade(t, 3, 6)
	c.more(200)
	for i := range c.up {
		old, fresh := c.node(i), c.serve(c.url)
		if i == 0 {
			c.more(100) // while nodes of both versions work
		}
		c.replace(i, fresh)
		if code := old.term(t); code != 0 {
			t.Errorf("node %d ends with %d: %s", i, code, old.log)
		}
		c.shared(3)
		c.more(50)
		if i == 0 {
			c.refusesOlder(bin)
		}
	}
	c.proven()
}

// In the middle of an upgrade nodes of both versions die under load: a newer node takes over from
// an older one, and the last older one from a newer one. Nothing is lost, and order holds.
func TestNodesOfBothVersionsSurviveEachOther(t *testing.T) {
	t.Parallel()
	c, _ := nodesToUpgrade(t, 2, 4)
	c.more(100)

	t.Log("an older node dies beside a newer one")
	newer := c.serve(c.url)
	c.shared(3)
	c.node(0).kill()
	c.disturbed()
	c.replace(0, newer)
	c.shared(2)
	c.more(100)

	t.Log("a newer node dies beside an older one")
	newer.kill()
	c.disturbed()
	c.shared(1)
	c.more(100) // half of the calls reach the older node

	t.Log("the last older node is replaced")
	c.replace(0, c.serve(c.url))
	c.shared(2)
	last, fresh := c.node(1), c.serve(c.url)
	c.replace(1, fresh)
	if code := last.term(t); code != 0 {
		t.Errorf("the last older node ends with %d: %s", code, last.log)
	}
	c.shared(2)
	c.more(50)
	c.proven()
}

// refusesOlder checks that a node of the older version does not start beside newer ones.
func (c *nodes) refusesOlder(bin string) {
	c.t.Helper()
	out, errs, code := runCmd(c.t, by(bin, c.command(c.url)))
	wantExit(c.t, "an older node", code, 78, out+errs, "written by a newer callbackd")
	if strings.Contains(out, "listening") {
		c.t.Error("an older node takes calls")
	}
}
