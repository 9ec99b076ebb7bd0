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
)

func (d *database) join(s *Store) callbackd.NodeID {
	d.Helper()
	id, err := s.Join(d.Context(), store.Node{Name: "n", Address: "http://n", Version: "1", StartedAt: time.Now()})
	d.must(err)
	return id
}

// outcomeOf is a first attempt of a delivery that succeeded.
func (d *database) outcomeOf(ev *callbackd.Event) *callbackd.Outcome {
	return &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: d.cb.ID}, Session: ev.Session, Sequence: ev.Sequence},
		Attempt: callbackd.Attempt{Number: 1, Version: 1, Result: callbackd.Result{Status: 200, StartedAt: time.Now()}, Decision: callbackd.Decision{State: callbackd.Delivered}}}
}

// evicted returns the ids of a node on the first store, which the second one has
// evicted, and of the second node.
func (d *database) evicted(nodes []*Store) (expired, other callbackd.NodeID) {
	d.Helper()
	expired, other = d.join(nodes[0]), d.join(nodes[1])
	evicted, err := nodes[1].Evict(d.Context(), expired, -time.Second)
	d.must(err)
	if !evicted {
		d.Fatal("a node whose lease has expired is not evicted")
	}
	return expired, other
}

// isConflict checks that an error is a conflict.
func (d *database) isConflict(what string, err error) {
	d.Helper()
	if callbackd.KindOf(err) != callbackd.KindConflict {
		d.Errorf("%s: the error is %v, want a conflict", what, err)
	}
}

func TestANodeWithALeaseIsNotEvicted(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	node := d.join(nodes[0])
	d.join(nodes[1])
	evs, err := d.accept(nodes[0], time.Now(), "A")
	d.must(err)
	evicted, err := nodes[1].Evict(t.Context(), node, time.Hour)
	d.must(err)
	if evicted {
		t.Error("a node whose lease is good was evicted")
	}
	if _, err := nodes[0].Record(t.Context(), d.outcomeOf(evs[0])); err != nil {
		t.Errorf("its outcome: %v", err)
	}
}

// A node that was evicted while it was suspended writes no outcome, claims nothing, and
// cannot renew its lease. It may still accept events.
func TestARecordOfAnEvictedNodeIsRefused(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	expired, _ := d.evicted(nodes)
	evs, err := d.accept(nodes[0], time.Now(), "A")
	if err != nil {
		t.Fatalf("an event: %v", err)
	}
	_, err = nodes[0].Record(t.Context(), d.outcomeOf(evs[0]))
	d.isConflict("its outcome", err)
	_, _, err = nodes[0].Claim(t.Context(), expired, 10)
	d.isConflict("its claim", err)
	v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: expired}, 0)
	d.must(err)
	if v.Alive {
		t.Error("its heartbeat renewed the lease")
	}
	d.checked(nodes[1])
}

// After an eviction the other nodes record outcomes, and see only each other.
func TestOtherNodesGoOnAfterAnEviction(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	_, other := d.evicted(nodes)
	evs, err := d.accept(nodes[0], time.Now(), "A")
	d.must(err)
	got, err := nodes[1].Record(t.Context(), d.outcomeOf(evs[0]))
	d.must(err)
	if got.State != callbackd.Delivered {
		t.Errorf("the new owner's outcome is recorded as %s, want delivered", got.State)
	}
	v, err := nodes[1].Heartbeat(t.Context(), store.Heartbeat{ID: other}, 0)
	d.must(err)
	var ids []callbackd.NodeID
	for _, n := range v.Nodes {
		ids = append(ids, n.ID)
	}
	if want := []callbackd.NodeID{other}; !slices.Equal(ids, want) {
		t.Errorf("the nodes are %v, want %v", ids, want)
	}
}

// An eviction waits for what the node is recording at that moment, so that two
// owners can never write at once.
func TestAnEvictionWaitsForARecordInProgress(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	node := d.join(nodes[0])
	conn, err := nodes[0].hot.Acquire(t.Context())
	d.must(err)
	defer conn.Release()
	var p pipeline
	p.add("BEGIN", nil)
	nodes[0].fence(&p)
	d.must(p.run(t.Context(), conn.Conn()))
	done := make(chan error, 1)
	go func() { _, err := nodes[1].Evict(context.Background(), node, -time.Second); done <- err }()
	for waiting := false; !waiting; {
		d.must(nodes[1].shared.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = $1 AND NOT granted)", nodeLocks).Scan(&waiting))
		select {
		case err := <-done:
			t.Fatalf("the node was evicted while a record was under way: %v", err)
		default:
		}
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	d.must(<-done)
}

// owners has the owners of shards, as the nodes that claimed the shards know them.
type owners struct {
	mu sync.Mutex
	by map[callbackd.Shard]callbackd.NodeID
}

// claimed keeps the shards as the node's, and fails when one has an owner.
func (o *owners) claimed(t *testing.T, node callbackd.NodeID, shards []callbackd.Shard) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, shard := range shards {
		if was := o.by[shard]; was != 0 {
			t.Errorf("node %d claimed shard %d of node %d", node, shard, was)
		}
		o.by[shard] = node
	}
}

// release forgets the owners of shards, before the database does.
func (o *owners) release(shards []callbackd.Shard) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, shard := range shards {
		delete(o.by, shard)
	}
}

// claimAndRelease claims shards a dozen times and releases them except for the
// last time.
func (o *owners) claimAndRelease(t *testing.T, s *Store, node callbackd.NodeID, limit int) {
	const rounds = 12
	for i := range rounds {
		shards, _, err := s.Claim(t.Context(), node, limit)
		if err != nil {
			t.Error(err)
			return
		}
		o.claimed(t, node, shards)
		if i == rounds-1 {
			return
		}
		o.release(shards)
		if _, err := s.Release(t.Context(), node, shards); err != nil {
			t.Error(err)
		}
	}
}

// A shard has one owner, however many nodes claim and release at once.
func TestAShardHasOneOwner(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 4)
	all := owners{by: map[callbackd.Shard]callbackd.NodeID{}}
	var work sync.WaitGroup
	var ids []callbackd.NodeID
	for n, s := range nodes {
		id := d.join(s)
		ids = append(ids, id)
		work.Go(func() { all.claimAndRelease(t, s, id, 500+n*100) })
	}
	work.Wait()
	v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: ids[0]}, 0)
	d.must(err)
	for shard, node := range v.Owners {
		if want := all.by[callbackd.Shard(shard)]; node != want {
			t.Fatalf("shard %d belongs to node %d in the database, want node %d, which claimed it", shard, node, want)
		}
	}
}

// The owners of shards come with a heartbeat after a change only.
func TestOwnersComeAfterAChange(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	node := d.join(nodes[0])
	_, _, err := nodes[0].Claim(t.Context(), node, 10)
	d.must(err)
	v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: node}, 0)
	d.must(err)
	if len(v.Owners) != callbackd.Shards {
		t.Errorf("the first heartbeat has %d owners, want %d", len(v.Owners), callbackd.Shards)
	}
	v, err = nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: node}, v.Revision)
	d.must(err)
	if v.Owners != nil {
		t.Errorf("the next heartbeat has %d owners, want none: nothing changed", len(v.Owners))
	}
}

func TestANodeReleasesItsOwnShardsOnly(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	owner, other := d.join(nodes[0]), d.join(nodes[1])
	shards, _, err := nodes[0].Claim(t.Context(), owner, 10)
	d.must(err)
	_, err = nodes[1].Release(t.Context(), other, shards)
	d.must(err)
	v, err := nodes[0].Heartbeat(t.Context(), store.Heartbeat{ID: owner}, 0)
	d.must(err)
	for _, shard := range shards {
		if got := v.Owners[shard]; got != owner {
			t.Errorf("shard %d belongs to node %d after another node released it, want node %d", shard, got, owner)
		}
	}
}

// A message reaches the node it is for, or all nodes. Its body may have any content up to
// the limit.
func TestMessagesArrive(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	type word struct {
		node int
		body string
	}
	heard := make(chan word, 100)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var ids []callbackd.NodeID
	for i, s := range nodes {
		id := d.join(s)
		ids = append(ids, id)
		ready := make(chan struct{})
		work.Go(func() {
			_ = s.Listen(ctx, id, func() { close(ready) }, func(body string) { heard <- word{i, body} })
		})
		<-ready
	}
	long := fmt.Sprintf("%0*d", store.MaxMessage, 7)
	d.must(nodes[0].Notify(t.Context(), []store.Message{{To: ids[0], Body: "a"}, {To: ids[1], Body: "ü'\"\\\n"}, {Body: long}}))
	var got []word
	for range 4 {
		got = append(got, <-heard)
	}
	for _, want := range []word{{0, "a"}, {1, "ü'\"\\\n"}, {0, long}, {1, long}} {
		if !slices.Contains(got, want) {
			t.Errorf("node %d did not get the message %.20q", want.node, want.body)
		}
	}
	stop()
	work.Wait()
}

// A watcher of a key at one node is notified of events that another node accepts.
func TestWatchersAreNotifiedOverNodes(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
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
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	node := d.join(nodes[0])
	if _, _, err := nodes[0].Claim(t.Context(), node, callbackd.Shards); err != nil {
		t.Fatal(err)
	}
	if _, err := d.accept(nodes[0], time.Now(), "A", "B", "A"); err != nil {
		t.Fatal(err)
	}
	all, err := nodes[0].Nodes(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	n := all[0]
	d.equal("the node", n.ID, node)
	d.equal("its shards", n.Shards, callbackd.Shards)
	d.equal("its callbacks with deliveries", n.Callbacks, 1)
	d.equal("its backlog", n.Backlog, int64(3))
	if n.Unseen < 0 || n.Unseen > time.Minute {
		t.Errorf("the lease was renewed %s ago, want 0 to 1 min", n.Unseen)
	}
	d.must(nodes[0].Leave(t.Context(), node))
	if all, err = nodes[0].Nodes(t.Context()); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}
