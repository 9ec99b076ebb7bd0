package postgres

import (
	"context"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// A node that was told of a change does not use settings that it read before, not even
// those of a read that was in progress.
func TestRenewedSettingsAreTheNewest(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	ctx, a, b := t.Context(), nodes[0], nodes[1]
	known := func() bool {
		t.Helper()
		cb, err := b.CallbackByID(ctx, d.cb.ID)
		d.must(err)
		return cb.Paused()
	}
	for range 5 {
		for _, p := range []callbackd.Pause{{Reason: callbackd.PausedByUser, At: time.Now()}, {At: time.Now()}} {
			known()
			_, err := a.ChangeCallback(ctx, d.key.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
				cb.SetPause(p)
				return nil
			})
			d.must(err)
			b.Renew()
			if known() != (p.Reason != callbackd.NotPaused) {
				t.Fatalf("it still has the older setting of %+v", p)
			}
		}
	}
}

// The database session of an expired node that hangs during a record does not keep others
// from evicting the node.
func TestAnExpiredNodesSessionIsEnded(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	ctx, a, b := t.Context(), nodes[0], nodes[1]
	node, _ := d.join(a), d.join(b)
	_, _, err := a.Claim(ctx, node, 10)
	d.must(err)
	conn, err := a.hot.Acquire(ctx)
	d.must(err)
	defer conn.Release()
	for _, sql := range []string{"SET idle_in_transaction_session_timeout = 0", "BEGIN"} {
		_, err = conn.Exec(ctx, sql)
		d.must(err)
	}
	_, err = conn.Exec(ctx, requireNode, nodeLocks, int64(node))
	d.must(err)
	short, cancel := context.WithTimeout(ctx, 3*evictGrace)
	defer cancel()
	if evicted, err := b.Evict(short, node, time.Hour); evicted || err == nil {
		t.Errorf("while its lease is good: evicted %v, %v; want an error at the end of the time", evicted, err)
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		t.Fatalf("the session was ended while the lease is good: %v", err)
	}
	evicted, err := b.Evict(ctx, node, -time.Hour)
	d.must(err)
	if !evicted {
		t.Error("the expired node was not evicted")
	}
	if _, err := conn.Exec(ctx, "COMMIT"); err == nil {
		t.Error("the expired node's session can commit, want it ended")
	}
}

// A watcher of a key at one node is notified of events that another node accepts, also of
// an event that comes right after the watch began, and of the first event of the key.
func TestWatchersAreNotifiedOfOtherNodesEvents(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	for _, s := range nodes {
		_, err := s.Join(t.Context(), store.Node{Name: "n", StartedAt: time.Now()})
		d.must(err)
	}
	for range 4 {
		changed, stop := nodes[0].Watch(d.key.ID)
		_, err := d.accept(nodes[1], time.Now(), "S")
		d.must(err)
		select {
		case <-changed:
		case <-time.After(20 * watchEvery):
			t.Fatal("the watcher was not notified")
		}
		stop()
	}
}
