package sim

import (
	"time"

	"callbackd"
)

// startAttempts starts attempts for shards that the node believes it owns.
func (n *node) startAttempts() {
	if n.w.config.Starts == 0 {
		return
	}
	n.sleep(time.Duration(n.w.rng.ExpFloat64()/n.w.config.Starts*float64(time.Second)), func() {
		s := callbackd.Shard(n.w.rng.IntN(callbackd.Shards))
		for range callbackd.Shards {
			if n.shards[s] == owned {
				break
			}
			s = (s + 1) % callbackd.Shards
		}
		if n.shards[s] == owned && n.notAdopted == 0 && n.leased() {
			n.attempt(s)
		}
		n.startAttempts()
	})
}

// attempt makes one attempt, which takes a while, and then records it.
func (n *node) attempt(s callbackd.Shard) {
	w := n.w
	w.attempts++
	if at := w.db.owners[s]; at != n.id {
		w.violation("shard %d: node %d starts an attempt, and node %d owns it", s, n.id, at)
	}
	took := time.Duration(w.rng.ExpFloat64() * float64(100*time.Millisecond))
	if w.rng.IntN(50) == 0 {
		took += 5 * time.Second
	}
	no := n.id
	n.inFlight[s]++
	n.sleep(took, func() {
		rest := time.Duration(0)
		if w.now == n.thawedAt { // a suspended machine continues where it was
			rest = time.Duration(w.rng.Int64N(int64(3 * time.Second)))
		}
		n.sleep(rest, func() { n.record(s, no) })
	})
}

// record records an outcome under the number that the node had when the attempt
// began. The database refuses it when that number was evicted.
func (n *node) record(s callbackd.Shard, no callbackd.NodeID) {
	w := n.w
	if n.id != no {
		w.refused++
		return
	}
	w.after(w.latency(), func() {
		w.at(w.db.serve("record", recordCost), func() {
			if w.db.rows[no] == nil {
				w.refused++
			} else if at := w.db.owners[s]; at != no {
				w.violation("shard %d: node %d records, and node %d owns it", s, no, at)
			}
			w.after(w.latency(), func() {
				n.run(func() { n.recorded(s, no) })
			})
		})
	})
}

func (n *node) recorded(s callbackd.Shard, no callbackd.NodeID) {
	if n.id != no {
		return
	}
	if n.inFlight[s]--; n.inFlight[s] == 0 && n.shards[s] == draining {
		n.drained = append(n.drained, s)
		n.release()
	}
}
