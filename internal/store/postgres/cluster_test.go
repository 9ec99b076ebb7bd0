package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
)

func (d *database) join(s *Store) callbackd.NodeID {
	d.Helper()
	no, err := s.Join(d.Context(), store.Node{Name: "n", Address: "http://n", Version: "1", StartedAt: time.Now()})
	d.must(err)
	return no
}

// outcomeOf is a first attempt of a delivery that succeeded.
func (d *database) outcomeOf(ev *callbackd.Event) callbackd.Outcome {
	return callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: d.cb.ID}, Session: ev.Session, Sequence: ev.Sequence},
		Attempt: callbackd.Attempt{Number: 1, Version: 1, Result: callbackd.Result{Status: 200, StartedAt: time.Now()}, Decision: callbackd.Decision{State: callbackd.Delivered}}}
}

// A node that slept through its lease and was buried writes no outcome any
// more, claims nothing, and its lease is not renewed. Others go on.
func TestARecordOfAnEvictedNodeIsRefused(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
	zombie, other := d.join(nodes[0]), d.join(nodes[1])
	evs, err := d.accept(nodes[0], time.Now(), "A", "B")
	d.must(err)
	if _, err := nodes[0].Record(t.Context(), d.outcomeOf(evs[0])); err != nil {
		t.Fatalf("a living node: %v", err)
	}
	if buried, err := nodes[1].Evict(t.Context(), zombie, time.Hour); err != nil || buried {
		t.Fatalf("a node whose lease is good is buried: %v, %v", buried, err)
	}
	if buried, err := nodes[1].Evict(t.Context(), zombie, -time.Second); err != nil || !buried {
		t.Fatal(buried, err)
	}
	_, err = nodes[0].Record(t.Context(), d.outcomeOf(evs[1]))
	if callbackd.KindOf(err) != callbackd.KindConflict {
		t.Fatalf("the zombie's record: %v", err)
	}
	t.Logf("refused: %v", err)
	if _, _, err := nodes[0].Claim(t.Context(), zombie, 10); callbackd.KindOf(err) != callbackd.KindConflict {
		t.Errorf("the zombie's claim: %v", err)
	}
	if v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: zombie}, 0); err != nil || v.Alive {
		t.Errorf("the zombie's renewal: %+v, %v", v, err)
	}
	if _, err := d.accept(nodes[0], time.Now(), "C"); err != nil {
		t.Errorf("it may still take events in: %v", err)
	}
	if got, err := nodes[1].Record(t.Context(), d.outcomeOf(evs[1])); err != nil || got.State != callbackd.Delivered {
		t.Errorf("the new owner's record: %v, %v", got, err)
	}
	v, err := nodes[1].Heartbeat(t.Context(), store.Heartbeat{ID: other}, 0)
	if err != nil || len(v.Nodes) != 1 || v.Nodes[0].ID != other {
		t.Errorf("%+v, %v", v, err)
	}
	d.checked(nodes[1])
}

// Who buries a node waits for what that node is recording at that moment:
// there is no moment in which two owners can write.
func TestAnEvictionWaitsForARecordInProgress(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
	no := d.join(nodes[0])
	conn, err := nodes[0].hot.Acquire(t.Context())
	d.must(err)
	defer conn.Release()
	var p pipeline
	p.add("BEGIN", nil)
	nodes[0].fence(&p)
	d.must(p.run(t.Context(), conn.Conn()))
	done := make(chan error, 1)
	go func() { _, err := nodes[1].Evict(context.Background(), no, -time.Second); done <- err }()
	// The burial is in the queue for the lock, and is not over.
	for waiting := false; !waiting; {
		d.must(nodes[1].shared.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND NOT granted)", nodeLocks).Scan(&waiting))
		select {
		case err := <-done:
			t.Fatalf("buried while a record was under way: %v", err)
		default:
		}
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	d.must(<-done)
}

// However many nodes claim and release at once, a shard has one owner, and
// the epoch of a shard grows with each.
func TestAShardHasOneOwner(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 4)
	var work sync.WaitGroup
	var mu sync.Mutex
	owner := map[callbackd.Shard]callbackd.NodeID{}
	for n, s := range nodes {
		no := d.join(s)
		work.Go(func() {
			for i := range 12 {
				got, _, err := s.Claim(t.Context(), no, 500+n*100)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, shard := range got {
					if owner[shard] != 0 {
						t.Errorf("shard %d is claimed by %d and is %d's", shard, no, owner[shard])
					}
					owner[shard] = no
				}
				if i < 11 { // before it is free for others
					for _, shard := range got {
						delete(owner, shard)
					}
				}
				mu.Unlock()
				if i < 11 {
					if _, err := s.Release(t.Context(), no, got); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: 1}, 0)
	d.must(err)
	for s, no := range v.Owners {
		if no != owner[callbackd.Shard(s)] {
			t.Fatalf("shard %d is %d's in the database, %d's for itself", s, no, owner[callbackd.Shard(s)])
		}
	}
	if again, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: 1}, v.Revision); err != nil || again.Owners != nil {
		t.Errorf("the map came again though nothing changed: %v", err)
	}
	// What another frees is not this one's to free.
	if _, err := nodes[1].Release(t.Context(), 2, []callbackd.Shard{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if v, err = nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: 1}, 0); err != nil {
		t.Fatal(err)
	}
	for s := range 3 {
		if was := owner[callbackd.Shard(s)]; was != 0 && was != 2 && v.Owners[s] != was {
			t.Errorf("shard %d of node %d was released by node 2", s, was)
		}
	}
}

// Messages reach who they are for: one node, or all; bodies of any content
// that fits.
func TestPostsArrive(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
	type word struct {
		node int
		body string
	}
	heard := make(chan word, 100)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var nos []callbackd.NodeID
	for i, s := range nodes {
		no := d.join(s)
		nos = append(nos, no)
		ready := make(chan struct{})
		work.Go(func() {
			_ = s.Listen(ctx, no, func() { close(ready) }, func(body string) { heard <- word{i, body} })
		})
		<-ready
	}
	long := fmt.Sprintf("%0*d", store.MaxMessage, 7)
	d.must(nodes[0].Notify(t.Context(), []store.Message{{To: nos[0], Body: "a"}, {To: nos[1], Body: "ü'\"\\\n"}, {Body: long}}))
	var got []word
	for range 4 {
		got = append(got, <-heard)
	}
	for _, want := range []word{{0, "a"}, {1, "ü'\"\\\n"}, {0, long}, {1, long}} {
		if !slices.Contains(got, want) {
			t.Errorf("%d did not hear %.20q", want.node, want.body)
		}
	}
	stop()
	work.Wait()
}

// Somebody who waits at one node for new events of a key hears of what
// another node accepts.
func TestWatchHearsOfOtherNodes(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
	d.join(nodes[0])
	d.join(nodes[1])
	changed, stop := nodes[0].Watch(d.key.ID)
	defer stop()
	for {
		if _, err := d.accept(nodes[1], time.Now(), "A"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
			return
		case <-time.After(2 * watchEvery):
		}
	}
}

// Nodes are shown with what they own and what is pending there.
func TestNodesAreCounted(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 1)
	no := d.join(nodes[0])
	if _, _, err := nodes[0].Claim(t.Context(), no, callbackd.Shards); err != nil {
		t.Fatal(err)
	}
	if _, err := d.accept(nodes[0], time.Now(), "A", "B", "A"); err != nil {
		t.Fatal(err)
	}
	all, err := nodes[0].Nodes(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if n := all[0]; n.ID != no || n.Shards != callbackd.Shards || n.Owed != 1 || n.Backlog != 3 || n.Unseen < 0 || n.Unseen > time.Minute {
		t.Errorf("%+v", n)
	}
	d.must(nodes[0].Leave(t.Context(), no))
	if all, err = nodes[0].Nodes(t.Context()); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}
