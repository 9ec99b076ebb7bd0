package sim

import (
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// database is one PostgreSQL: what internal/store/postgres keeps there of the
// cluster, and how long it takes. Every statement needs one of the cores; those
// that change hands wait for the row of the cluster, one after the other.
type database struct {
	w        *World
	cores    []time.Duration // when each is free
	locked   bool            // the cluster's row
	waiting  []func()        // for it
	down     time.Duration   // until when nothing is answered
	last     callbackd.NodeID
	rows     map[callbackd.NodeID]*row
	order    []callbackd.NodeID // of the rows
	owners   [callbackd.Shards]callbackd.NodeID
	revision int64
	shown    *ownership // of the revision

	count   map[string]int
	busy    time.Duration // of all cores
	seconds []time.Duration
}

type row struct {
	seen    time.Duration
	leaving bool
	skew    time.Duration
	of      *node
}

// ownership is the map of owners at a revision.
type ownership struct {
	revision int64
	owners   []callbackd.NodeID
	count    map[callbackd.NodeID]int
}

func (d *database) show() *ownership {
	if d.shown == nil || d.shown.revision != d.revision {
		o := &ownership{d.revision, slices.Clone(d.owners[:]), map[callbackd.NodeID]int{}}
		for _, no := range o.owners {
			o.count[no]++
		}
		d.shown = o
	}
	return d.shown
}

// serve is when a statement that begins now is done.
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

// change is a transaction that holds the cluster's row until its commit; one
// that changes nothing is not committed.
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
	d.last++
	d.revision++
	d.rows[d.last] = &row{seen: d.w.now, of: n}
	d.order = append(d.order, d.last)
	return d.last
}

// beat fills the view, whose slice of nodes is used again.
func (d *database) beat(b store.Heartbeat, nodes []store.Node) (v store.ClusterView) {
	if r := d.rows[b.ID]; r != nil {
		r.seen, r.leaving, r.skew = d.w.now, b.Leaving, b.Skew
		v.Alive = true
	}
	v.Revision, v.Nodes = d.revision, nodes[:0]
	for _, no := range d.order {
		r := d.rows[no]
		one := store.Node{ID: no, Unseen: d.w.now - r.seen}
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

func (d *database) bury(no callbackd.NodeID, unseen time.Duration) bool {
	r := d.rows[no]
	if r == nil || d.w.now-r.seen < unseen {
		return false
	}
	if unseen > 0 && !r.of.gone && !r.of.frozen && r.of.no == no {
		d.w.wrongly++
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
