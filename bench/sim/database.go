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
	w        *World
	cores    []time.Duration // when each is free
	locked   bool            // the cluster's row is locked
	waiting  []func()        // for the row
	down     time.Duration   // until then it answers nothing
	lastID   callbackd.NodeID
	rows     map[callbackd.NodeID]*row
	order    []callbackd.NodeID // of the rows
	owners   [callbackd.Shards]callbackd.NodeID
	revision int64
	cached   *ownership // of the revision

	count   map[string]int
	busy    time.Duration // of all cores
	seconds []time.Duration
}

type row struct {
	lastSeen time.Duration
	leaving  bool
	skew     time.Duration
	node     *node
}

// ownership holds the owners of all shards at a revision.
type ownership struct {
	revision int64
	owners   []callbackd.NodeID
	count    map[callbackd.NodeID]int
}

func (d *database) ownership() *ownership {
	if d.cached == nil || d.cached.revision != d.revision {
		o := &ownership{d.revision, slices.Clone(d.owners[:]), map[callbackd.NodeID]int{}}
		for _, no := range o.owners {
			o.count[no]++
		}
		d.cached = o
	}
	return d.cached
}

// serve runs a statement on the core that is free first, and returns when it is done.
func (d *database) serve(kind string, cost time.Duration) time.Duration {
	first := 0
	for i := range d.cores {
		if d.cores[i] < d.cores[first] {
			first = i
		}
	}
	end := max(d.w.now, d.cores[first]) + cost
	d.cores[first] = end
	if d.count == nil {
		d.count = map[string]int{}
	}
	d.count[kind]++
	d.busy += cost
	for s := int(end / time.Second); len(d.seconds) <= s; {
		d.seconds = append(d.seconds, 0)
	}
	d.seconds[end/time.Second] += cost
	return end
}

// change runs a transaction that locks the cluster's row until its commit. One that
// changes nothing has no commit to wait for.
func (d *database) change(kind string, at func() (changed bool), done func()) {
	begin := func() {
		d.w.at(d.serve(kind, changeCost), func() {
			wait := time.Duration(0)
			if at() {
				wait = commitWait
			}
			d.w.after(wait, func() {
				d.locked = false
				if len(d.waiting) > 0 {
					next := d.waiting[0]
					d.waiting, d.locked = d.waiting[1:], true
					next()
				}
				done()
			})
		})
	}
	if d.locked {
		d.waiting = append(d.waiting, begin)
		return
	}
	d.locked = true
	begin()
}

func (d *database) join(n *node) callbackd.NodeID {
	d.lastID++
	d.revision++
	d.rows[d.lastID] = &row{lastSeen: d.w.now, node: n}
	d.order = append(d.order, d.lastID)
	return d.lastID
}

// heartbeat renews the lease of a node and returns the view. It uses the slice nodes
// again.
func (d *database) heartbeat(b store.Heartbeat, nodes []store.Node) (v store.ClusterView) {
	if r := d.rows[b.ID]; r != nil {
		r.lastSeen, r.leaving, r.skew = d.w.now, b.Leaving, b.Skew
		v.Alive = true
	}
	v.Revision, v.Nodes = d.revision, nodes[:0]
	for _, no := range d.order {
		r := d.rows[no]
		one := store.Node{ID: no, Unseen: d.w.now - r.lastSeen}
		one.Leaving, one.Skew = r.leaving, r.skew
		v.Nodes = append(v.Nodes, one)
	}
	return v
}

func (d *database) claim(no callbackd.NodeID, limit int) (got []callbackd.Shard) {
	if d.rows[no] == nil {
		return nil
	}
	for s := range d.owners {
		if len(got) == limit {
			break
		}
		if d.owners[s] == 0 {
			d.owners[s] = no
			got = append(got, callbackd.Shard(s))
		}
	}
	if len(got) > 0 {
		d.revision++
	}
	return got
}

func (d *database) release(no callbackd.NodeID, shards []callbackd.Shard) {
	for _, s := range shards {
		if d.owners[s] == no {
			d.owners[s] = 0
		}
	}
	d.revision++
}

func (d *database) evict(no callbackd.NodeID, unseen time.Duration) bool {
	r := d.rows[no]
	if r == nil || d.w.now-r.lastSeen < unseen {
		return false
	}
	if unseen > 0 && !r.node.gone && !r.node.frozen && r.node.id == no {
		d.w.wronglyEvicted++
	}
	delete(d.rows, no)
	d.order = slices.DeleteFunc(d.order, func(o callbackd.NodeID) bool { return o == no })
	for s := range d.owners {
		if d.owners[s] == no {
			d.owners[s] = 0
		}
	}
	d.revision++
	return true
}
