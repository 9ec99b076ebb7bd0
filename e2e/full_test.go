package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// A server is ready from a write that was made to the first that was refused,
// and says why when it is not; what was refused is counted.
func TestReadyIsWhetherWritesAreMade(t *testing.T) {
	t.Parallel()
	disk := newSmallDisk(t)
	srv := serve(t, disk.dir, "--log-level", "info")
	cl := newClient(t, disk.dir)
	cl.Base = srv.url
	cl.HTTP = http.DefaultClient
	ready := func() error { return cl.Do(t.Context(), "GET", "/readyz", nil, nil) }
	publish := func(size int) error {
		_, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"x": strings.Repeat("x", size)}})
		return err
	}
	if err := ready(); err != nil {
		t.Fatalf("at first: %v", err)
	}
	disk.limit(srv.cmd.Process.Pid)
	for _, size := range []int{50_000, 1} {
		for n := 0; publish(size) == nil; n++ {
			if n > 20_000 {
				t.Fatal("the disk is not full")
			}
		}
	}
	for range 20 {
		if err := publish(1); err == nil {
			t.Fatal("there is space after all")
		}
		var answer *client.Error
		if err := ready(); !errors.As(err, &answer) {
			t.Fatalf("while writes are refused, /readyz gives %v, want an answer", err)
		}
		if answer.Status != 503 {
			t.Fatalf("while writes are refused, /readyz answers %d, want 503", answer.Status)
		}
		if !strings.Contains(answer.Message, "disk is full") {
			t.Fatalf("while writes are refused, /readyz says %q, want that the disk is full", answer.Message)
		}
	}
	if n := counted(t, srv, "callbackd_store_refused_total"); n < 20 {
		t.Errorf("%v refused writes are counted", n)
	}
	disk.free(srv.cmd.Process.Pid)
	eventually(t, "it is ready by itself", func() bool { return ready() == nil })
	if err := publish(1); err != nil {
		t.Errorf("it is ready: %v", err)
	}
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"the store refuses writes", "the store takes writes again"} {
		if n := strings.Count(srv.log.String(), want); n == 0 {
			t.Errorf("the log does not say %q: %s", want, srv.log)
		}
	}
}

// A volume without a byte left can be started and purged: the reserve is given
// back for it, and made again when there is space. The reserve's own rules have
// a test in internal/store/sqlite, which needs no mount.
func TestAFullVolumeIsStartedAndPurged(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=40m"); err != nil {
		t.Logf("nothing can be mounted (%v): only the rules are tested", err)
		return
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	dir, reserve := filepath.Join(mount, "d"), filepath.Join(mount, "d", "callbackd.reserve")
	fillOld(t, dir)
	if info, err := os.Stat(reserve); err != nil || info.Size() != 12<<20 {
		t.Fatalf("no reserve: %v", err)
	}
	filler := filepath.Join(mount, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 48<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	srv := serve(t, dir, "--retention", "1h", "--log-level", "info")
	cl := newClient(t, dir)
	cl.Base = srv.url
	eventually(t, "retention has made room", func() bool {
		_, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
		return err == nil
	})
	eventually(t, "it is ready", func() bool { return cl.Do(t.Context(), "GET", "/readyz", nil, nil) == nil })
	// 4 MB, more than the reserve had left for the log. While retention goes on, it needs the log
	// too, so an event may be refused for a moment. A client repeats it.
	for i := range 200 {
		eventually(t, fmt.Sprintf("event %d of 200 is accepted", i), func() bool {
			_, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"x": strings.Repeat("x", 20_000)}})
			return err == nil
		})
	}
	if _, err := os.Stat(reserve); err == nil {
		t.Error("the reserve is held while the volume is full")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reserve is made again", func() bool {
		info, err := os.Stat(reserve)
		return err == nil && info.Size() == 12<<20
	})
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	fsck(t, dir)
}

// A server that was killed when its disk was full, with a log full of what is
// in no other file, is started again without a byte being freed, and answers
// reads.
func TestAFullVolumeIsStartedAfterAKill(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=40m"); err != nil {
		t.Logf("nothing can be mounted (%v): only the rules are tested", err)
		return
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	dir, filler := filepath.Join(mount, "d"), filepath.Join(mount, "filler")
	cl := newClient(t, dir)
	srv := serve(t, dir)
	cl.Base = srv.url
	eventually(t, "there is a reserve", func() bool {
		info, err := os.Stat(filepath.Join(dir, "callbackd.reserve"))
		return err == nil && info.Size() == 12<<20
	})
	accepted := 0
	for ; accepted < 1000; accepted++ {
		if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"x": strings.Repeat("x", 200_000)}}); err != nil {
			break
		}
	}
	if accepted == 0 || accepted == 1000 {
		t.Fatalf("%d events were accepted", accepted)
	}
	srv.kill()
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 48<<20), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	srv = serve(t, dir)
	cl.Base = srv.url
	if err := cl.Do(t.Context(), "GET", "/v1/events?limit=1", nil, nil); err != nil {
		t.Errorf("a list: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	fsck(t, dir)
}

// fillOld makes a data directory with a reserve and some 12 MB of events that
// were accepted two days ago and have no targets.
func fillOld(t *testing.T, dir string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Guard(t.Context())
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "old", APIKey: "old", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	data := fmt.Appendf(nil, `{"x":"%s"}`, bytes.Repeat([]byte("x"), 40_000))
	for range 6 {
		b := store.Batch{Key: k.ID, At: time.Now().Add(-48 * time.Hour)}
		for i := range 50 {
			b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: fmt.Sprint("old", i), Data: data})
		}
		if _, err := s.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
