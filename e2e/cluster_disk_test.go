package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// The disk of PostgreSQL is full under several nodes: events are refused with the reason, the
// nodes stay, and when there is room they go on by themselves, also after PostgreSQL itself ended.
// Everything that was acknowledged arrives in order.
func TestNodesOutlastAFullDiskOfTheDatabase(t *testing.T) {
	t.Parallel()
	volume, err := os.MkdirTemp("", "callbackd-e2e-disk-") // which another user reaches
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(volume) })
	if err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=128m"); err != nil {
		t.Logf("nothing can be mounted: %v", err)
		return
	}
	t.Cleanup(func() { syscall.Unmount(volume, syscall.MNT_DETACH) })
	pg, err := pgtest.StartIn(volume)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := newNodesOn(t, pg, pg.Schema(t), lease, 2, 2)
	c.shared(2)
	c.begin()
	c.more(100)

	filler := filepath.Join(volume, "filler")
	fill := func() {
		t.Helper()
		if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 128<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the volume ends with %v, want that it is full", err)
		}
	}
	fill()
	c.refusedForTheDisk()
	eventually(t, "a node says that the disk is full", func() bool {
		for i := range c.up {
			cl := *c.cl
			cl.Base = c.node(i).url
			var answer *client.Error
			if errors.As(cl.Do(t.Context(), "GET", "/readyz", nil, nil), &answer) && answer.Status == http.StatusServiceUnavailable && strings.Contains(answer.Message, "disk is full") {
				return true
			}
		}
		return false
	})
	c.disturbed()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.more(100)

	t.Log("PostgreSQL's own log has no space")
	c.disturbed()
	fill()
	c.usesUpTheLog()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := pg.Run(); err != nil { // as a service manager does
		t.Fatal(err)
	}
	c.more(100)
	c.shared(2)
	c.proven()
}

// usesUpTheLog begins new files of PostgreSQL's log until that finds no space for one and ends.
func (c *nodes) usesUpTheLog() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url)
	for err == nil {
		_, err = conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'test', 'x'), pg_switch_wal()")
	}
	if ctx.Err() != nil {
		c.t.Fatal("PostgreSQL has space for its log")
	}
	c.t.Log(err)
	_ = c.pg.Signal(syscall.SIGQUIT) // which reaches it only if it has recovered
	c.pg.Wait()
}

// refusedForTheDisk publishes events until one is refused because the disk of the database is full.
func (c *nodes) refusedForTheDisk() {
	c.t.Helper()
	cl := *c.cl
	for n := range 10_000 {
		ev, err := cl.Publish(c.t.Context(), client.NewEvent{Event: event, SessionKey: "big", Data: map[string]string{"x": strings.Repeat("x", 20_000)}})
		if err == nil {
			c.loads[0].ack(ev.ID)
			continue
		}
		var answer *client.Error
		if !errors.As(err, &answer) || answer.Status != http.StatusServiceUnavailable {
			c.t.Fatalf("event %d is refused with %v, want 503", n, err)
		}
		if strings.Contains(answer.Message, "disk is full") {
			return
		}
		c.t.Logf("event %d: %v", n, err)
	}
	c.t.Fatal("the disk of the database is not full")
}
