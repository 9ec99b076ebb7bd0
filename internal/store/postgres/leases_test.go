package postgres

import (
	"context"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
)

// A node that was told of a change does not answer with what it had asked for
// a moment before, not even with the answer to a question under way.
func TestRenewedSettingsAreTheNewest(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
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
				t.Fatalf("it still knows the other of %+v", p)
			}
		}
	}
}

// A dead node's session in the middle of a record, with nobody behind it that
// would ever end it, does not keep the node from being buried.
func TestADeadNodesSessionIsEnded(t *testing.T) {
	_, nodes := newDatabase(t, pgtest.URL(t), 2)
	ctx, a, b := t.Context(), nodes[0], nodes[1]
	join := func(s *Store) callbackd.NodeID {
		t.Helper()
		no, err := s.Join(ctx, store.Node{Name: "n", StartedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return no
	}
	dead, _ := join(a), join(b)
	if _, _, err := a.Claim(ctx, dead, 10); err != nil {
		t.Fatal(err)
	}
	conn, err := a.hot.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SET idle_in_transaction_session_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, requireNode, nodeLocks, int64(dead)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 3*evictGrace)
	defer cancel()
	if buried, err := b.Evict(short, dead, time.Hour); buried || err == nil {
		t.Errorf("a node that lives was buried: %v, %v", buried, err)
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		t.Fatalf("a living node's session was ended: %v", err)
	}
	if buried, err := b.Evict(ctx, dead, -time.Hour); !buried || err != nil {
		t.Errorf("%v, %v", buried, err)
	}
	if _, err := conn.Exec(ctx, "COMMIT"); err == nil {
		t.Error("the dead node's session stands")
	}
}

// Who watches a key at one node is told of what another accepts, also of what
// comes right after it began to watch, and of the first event there is.
func TestWatchersAreNotifiedOfOtherNodesEvents(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
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
			t.Fatal("not told")
		}
		stop()
	}
}
