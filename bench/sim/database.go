package sim

import (
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// database is one PostgreSQL server: the tables of the cluster that
// internal/store/postgres keeps, and the time that statements take. Every statement
// needs a core. Statements that change an owner lock the cluster's row, so they come
// one after the other.
type database struct {
	w   *World
	row chan struct{} // the lock of the cluster's row; those who wait get it in their order

	// The world's mu guards the rest.
	cores     []time.Duration // when each is free
	down      time.Duration   // until then it answers nothing
	lastID    callbackd.NodeID
	rows      map[callbackd.NodeID]*row
	order     []callbackd.NodeID // of the rows
	owners    [callbackd.Shards]callbackd.NodeID
	revision  int64
	seen      []callbackd.NodeID // the owners at seenAt, which readers share
	seenAt    int64
	listeners map[*listener]bool

	count   map[string]int
	busy    time.Duration // of all cores
	seconds []time.Duration
}

type row struct {
	store.Heartbeat
	lastSeen time.Duration
	node     *node
}

// listener is a connection that receives messages.
type listener struct {
	id       callbackd.NodeID
	messages chan string
	lost     chan struct{} // closed when the connection is lost
}

func newDatabase(w *World) *database {
	return &database{
		w:         w,
		row:       make(chan struct{}, 1),
		cores:     make([]time.Duration, w.config.Cores),
		rows:      map[callbackd.NodeID]*row{},
		revision:  1,
		listeners: map[*listener]bool{},
		count:     map[string]int{},
	}
}

// serve runs a statement on the core that is free first, and returns when it is done.
func (d *database) serve(kind string, cost time.Duration) {
	d.w.mu.Lock()
	now := d.w.now()
	first := 0
	for i := range d.cores {
		if d.cores[i] < d.cores[first] {
			first = i
		}
	}
	end := max(now, d.cores[first]) + cost
	d.cores[first] = end
	d.count[kind]++
	d.busy += cost
	for s := int(end / time.Second); len(d.seconds) <= s; {
		d.seconds = append(d.seconds, 0)
	}
	d.seconds[end/time.Second] += cost
	d.w.mu.Unlock()
	time.Sleep(end - now)
}

// change runs a transaction that locks the cluster's row until its commit. One that
// changes nothing has no commit to wait for.
func (d *database) change(kind string, at func() (changed bool)) {
	d.row <- struct{}{}
	d.serve(kind, changeCost)
	d.w.mu.Lock()
	changed := at()
	d.w.mu.Unlock()
	if changed {
		time.Sleep(commitWait)
	}
	<-d.row
}

// The caller of all that follows holds the world's mu.

// goAway makes the database answer nothing until a time.
func (d *database) goAway(until time.Duration) {
	d.down = until
	for l := range d.listeners {
		close(l.lost)
	}
	clear(d.listeners)
}

func (d *database) isDown() bool { return d.w.now() < d.down }

// send gives a message to the nodes that listen for it. Each node may miss it.
func (d *database) send(m store.Message) {
	for l := range d.listeners {
		if (m.To == 0 || m.To == l.id) && !d.w.isLost() {
			select {
			case l.messages <- m.Body:
			default: // the node is frozen and has enough to read
			}
		}
	}
}

func (d *database) join(n *node) callbackd.NodeID {
	d.lastID++
	d.revision++
	d.rows[d.lastID] = &row{Heartbeat: store.Heartbeat{ID: d.lastID}, lastSeen: d.w.now(), node: n}
	d.order = append(d.order, d.lastID)
	return d.lastID
}

// heartbeat renews the lease of a node and returns the view.
func (d *database) heartbeat(b store.Heartbeat, known int64) store.ClusterView {
	now := d.w.now()
	v := store.ClusterView{At: time.Now(), Revision: d.revision, Nodes: make([]store.Node, len(d.order))}
	if r := d.rows[b.ID]; r != nil {
		r.lastSeen, r.Heartbeat = now, b
		v.Alive = true
	}
	for i, id := range d.order {
		r := d.rows[id]
		v.Nodes[i].ID = id
		v.Nodes[i].Unseen = now - r.lastSeen
		v.Nodes[i].Heartbeat = r.Heartbeat
	}
	if d.revision != known {
		if d.seenAt != d.revision {
			d.seen, d.seenAt = slices.Clone(d.owners[:]), d.revision
		}
		v.Owners = d.seen
	}
	return v
}

func (d *database) claim(id callbackd.NodeID, limit int) (got []callbackd.Shard) {
	for s := range d.owners {
		if len(got) == limit {
			break
		}
		if d.owners[s] == 0 {
			d.owners[s] = id
			got = append(got, callbackd.Shard(s))
		}
	}
	if len(got) > 0 {
		d.revision++
	}
	return got
}

func (d *database) release(id callbackd.NodeID, shards []callbackd.Shard) {
	for _, s := range shards {
		if d.owners[s] == id {
			d.owners[s] = 0
		}
	}
	d.revision++
}

func (d *database) evict(id callbackd.NodeID, unseen time.Duration) bool {
	r := d.rows[id]
	if r == nil || d.w.now()-r.lastSeen < unseen {
		return false
	}
	if unseen > 0 && !r.node.gone && !r.node.frozen() && r.node.id == id {
		d.w.wronglyEvicted++
	}
	delete(d.rows, id)
	d.order = slices.DeleteFunc(d.order, func(o callbackd.NodeID) bool { return o == id })
	for s := range d.owners {
		if d.owners[s] == id {
			d.owners[s] = 0
		}
	}
	d.revision++
	return true
}
