package sim

import (
	"context"
	"log/slog"
	"time"

	"callbackd"
	"callbackd/internal/cluster"
	"callbackd/internal/store"
)

// node is one process: a real member on a model of the store and the engine.
type node struct {
	w      *World
	number int // in the order of starts
	clock  *nodeClock
	engine *engine
	conns  chan struct{} // has a value for each connection in use
	ended  chan struct{} // closed when the process must end
	member *cluster.Member

	// The world's mu guards the rest.
	id       callbackd.NodeID // in whose name the store records; 0: not joined
	ending   bool             // ended is closed
	gone     bool             // the process was killed: it reaches the database no more
	leaving  bool
	thawed   chan struct{} // closed when it thaws; nil: it is not frozen
	thawedAt time.Duration
}

func newNode(w *World, rate float64) *node {
	n := &node{
		w:      w,
		number: len(w.nodes) + 1,
		conns:  make(chan struct{}, leaseConns),
		ended:  make(chan struct{}),
	}
	n.clock = &nodeClock{n: n, rate: rate}
	n.engine = newEngine(n)
	return n
}

// live is the life of the process.
func (n *node) live() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	member, err := n.join(ctx)
	for err != nil && !n.isGone() {
		n.clock.Sleep(ctx, time.Second)
		member, err = n.join(ctx)
	}
	if err != nil {
		return
	}
	n.w.mu.Lock()
	n.member = member
	n.w.mu.Unlock()
	n.w.work.Go(func() { n.engine.startAttempts(ctx) })
	<-n.ended
	_ = member.Close(ctx) // the process of a killed node reaches nothing
	n.w.mu.Lock()
	n.gone = true
	n.w.mu.Unlock()
}

func (n *node) join(ctx context.Context) (*cluster.Member, error) {
	return cluster.Join(ctx, cluster.Options{
		Store:  n.store(),
		Engine: n.engine,
		Node:   store.Node{},
		Lease:  n.w.config.Lease,
		Log:    slog.New(slog.DiscardHandler),
		Clock:  n.clock,
		Now:    n.clock.Wall,
	})
}

// waitWhileFrozen returns when the process is not frozen. Every event that reaches the
// process calls it.
func (n *node) waitWhileFrozen() {
	for {
		n.w.mu.Lock()
		thawed := n.thawed
		n.w.mu.Unlock()
		if thawed == nil {
			return
		}
		<-thawed
	}
}

func (n *node) isGone() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.gone
}

// frozen reports whether the process is frozen. The caller holds the world's mu.
func (n *node) frozen() bool { return n.thawed != nil }

// The following happens to a node. The caller holds the world's mu.

func (n *node) kill() {
	n.engine.drop()
	n.gone = true
	n.thaw()
	n.close()
}

// close ends the process as a signal does.
func (n *node) close() {
	n.ending = true
	close(n.ended)
}

func (n *node) leave() {
	n.leaving = true
	n.engine.markLost()
	n.w.work.Go(n.member.Leave)
}

// freeze stops the process for d. A suspended machine's monotonic clock stands still.
// Some attempts are under way, whose records come too late.
func (n *node) freeze(d time.Duration, suspended bool) {
	if n.w.config.Starts > 0 {
		for range 3 {
			n.engine.startAttempt()
		}
	}
	n.engine.markLost()
	n.thawed = make(chan struct{})
	if suspended {
		n.clock.stop()
	}
	n.w.work.Go(func() {
		time.Sleep(d)
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		n.thaw()
	})
}

func (n *node) thaw() {
	if n.thawed == nil {
		return
	}
	n.clock.resume()
	n.thawedAt = n.w.now()
	close(n.thawed)
	n.thawed = nil
}
