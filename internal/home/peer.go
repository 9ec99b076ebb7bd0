package home

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Limits and times of a peer.
const (
	maxLinks = 1024 // connections to one node with a call under way
	maxIdle  = 256
	// idleTimeout is shorter than the other side's, so that it is not the other side
	// that closes a connection which is about to be used.
	idleTimeout = time.Minute
	// connectTimeout limits how long a call waits for a new connection. A node that
	// takes longer does not answer.
	connectTimeout = 500 * time.Millisecond
	// pingEvery is how long a node with calls under way may be silent until it is
	// pinged, and how often one that is away is pinged.
	pingEvery = 500 * time.Millisecond
	// pingTimeout is how long it may take to answer. After two pings without an answer
	// the node is away: about two seconds after it has stopped answering.
	pingTimeout = 700 * time.Millisecond
	// forgetAfter is how long a node without calls is remembered.
	forgetAfter = time.Minute
)

// state is whether calls are sent to a node.
type state int

const (
	reachable state = iota
	away            // it did not answer: no call is sent to it until it answers a ping
)

// Reasons why a call gets no connection.
var (
	errAway = errors.New("the node did not answer a moment ago")
	errFull = errors.New("too many calls to the node are under way")
)

// peer is another node, with the connections to it.
type peer struct {
	router  *Router
	node    callbackd.NodeID
	address string

	heard  atomic.Int64 // when it answered last, in nanoseconds since 1970
	used   atomic.Int64 // when the last call for it came, in nanoseconds since 1970
	pinger *link        // only watch uses it

	mu       sync.Mutex
	state    state
	idle     []*link // the last used one last
	active   map[*link]bool
	dials    int
	frames   *frameClient          // for the next call; nil: none yet
	carriers map[*frameClient]bool // all that are open
	connects bool                  // a call makes frames
	noFrames bool                  // the node knows none
}

func newPeer(r *Router, at callbackd.Home) *peer {
	p := &peer{router: r, node: at.Node, address: at.Address, active: map[*link]bool{}, carriers: map[*frameClient]bool{}}
	p.used.Store(time.Now().UnixNano())
	return p
}

// take returns a connection for a call, which only reads or may change something. It is
// given back with put or drop.
func (p *peer) take(ctx context.Context, reads bool) (*link, error) {
	now := time.Now()
	p.used.Store(now.UnixNano())
	for {
		l, err := p.takeIdle(reads)
		if err != nil {
			return nil, err
		}
		if l == nil {
			return p.takeNew(ctx, reads)
		}
		if now.Sub(l.idleSince) < idleTimeout && l.isSilent() {
			return l, nil
		}
		p.drop(l)
	}
}

// takeIdle returns an idle connection, or nil when a new one may be made.
func (p *peer) takeIdle(reads bool) (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch n := len(p.idle); {
	case p.state == away:
		return nil, errAway
	case n > 0:
		l := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		l.reads = reads
		p.active[l] = true
		return l, nil
	case len(p.active)+p.dials >= maxLinks:
		return nil, errFull
	}
	p.dials++
	return nil, nil
}

func (p *peer) takeNew(ctx context.Context, reads bool) (*link, error) {
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := p.dial(limited)
	p.mu.Lock()
	p.dials--
	if err == nil {
		l.reads = reads
		p.active[l] = true
	}
	p.mu.Unlock()
	if err != nil && ctx.Err() == nil { // it is not the caller who gave up
		p.setAway(err)
	}
	return l, err
}

// put gives back a connection that can be used again.
func (p *peer) put(l *link) {
	l.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, l)
	if p.state == away || len(p.idle) >= maxIdle || p.router.ctx.Err() != nil {
		l.Close()
		return
	}
	p.idle = append(p.idle, l)
}

// drop closes a connection.
func (p *peer) drop(l *link) {
	l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, l)
}

// setAway says that the node does not answer.
func (p *peer) setAway(err error) {
	p.mu.Lock()
	was := p.state
	p.state = away
	p.closeIdle()
	p.mu.Unlock()
	if was != away {
		p.router.Log.Warn("a node cannot be reached: this node answers its calls until it can", "node", int64(p.node), "node_address", p.address, "error", err)
	}
}

// closeIdle closes the connections without calls. p.mu is held.
func (p *peer) closeIdle() {
	for _, l := range p.idle {
		l.Close()
	}
	p.idle = nil
}

// renew replaces connections whose frames are sealed with a key that is not in use any
// more. They end when the calls under way have their answers.
func (p *peer) renew() {
	p.mu.Lock()
	carriers := slices.Collect(maps.Keys(p.carriers))
	p.mu.Unlock()
	for _, c := range carriers {
		if !p.router.signer.has(c.key) {
			c.leave()
		}
	}
}

func (p *peer) setReachable() {
	p.mu.Lock()
	p.state = reachable
	p.mu.Unlock()
	p.router.Log.Info("a node can be reached again", "node", int64(p.node), "node_address", p.address)
}

// breakOffAll ends all calls that are under way.
func (p *peer) breakOffAll() {
	p.breakOff(func(*link) bool { return true })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = nil
	for c := range p.carriers {
		c.fail(errAway)
	}
}

// breakOff ends the chosen calls that are under way with a connection of their own.
func (p *peer) breakOff(chosen func(*link) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.active {
		if chosen(l) {
			l.Close()
		}
	}
}

// watch pings the node while calls wait for it, or while it is away, until the router is
// closed or the node is not needed any more.
func (p *peer) watch() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	defer p.close()
	for {
		select {
		case <-p.router.ctx.Done():
			return
		case now := <-tick.C:
			p.expire(now)
			if p.isUnused(now) {
				p.router.forget(p)
				return
			}
			p.look(now)
		}
	}
}

// look pings the node when it is away, or when calls wait and it has been silent for
// pingEvery.
func (p *peer) look(now time.Time) {
	p.mu.Lock()
	state, waiting := p.state, p.isWaiting()
	p.mu.Unlock()
	silent := now.Sub(time.Unix(0, p.heard.Load())) >= pingEvery
	if state == reachable && !(waiting && silent) {
		return
	}
	err := p.ping()
	switch {
	case state == away && err == nil:
		p.setReachable()
	case state == reachable && err != nil:
		if err = p.ping(); err != nil { // pinged twice, because this process may have been the slow one
			p.setAway(err)
			p.breakOffAll()
		}
	}
}

// ping asks the node whether it answers.
func (p *peer) ping() error {
	ctx, cancel := context.WithTimeout(p.router.ctx, pingTimeout)
	defer cancel()
	if p.pinger == nil {
		var err error
		p.pinger, err = p.dial(ctx) // dial makes the node answer a ping
		return err
	}
	err := p.pinger.prove(ctx, p)
	if err != nil {
		p.pinger.Close()
		p.pinger = nil
	}
	return err
}

// expire closes connections that were idle for too long, and ends calls in frames that
// have been waiting for too long.
func (p *peer) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.carriers {
		c.expire(now)
	}
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) >= idleTimeout {
		p.idle[n].Close()
		n++
	}
	if n > 0 {
		p.idle = append([]*link(nil), p.idle[n:]...)
	}
}

// isWaiting reports whether a call is under way. p.mu is held.
func (p *peer) isWaiting() bool {
	for c := range p.carriers {
		if c.isWaiting() {
			return true
		}
	}
	return len(p.active) > 0
}

func (p *peer) isUnused(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials == 0 && !p.isWaiting() && now.Sub(time.Unix(0, p.used.Load())) >= forgetAfter
}

// close closes all connections.
func (p *peer) close() {
	p.mu.Lock()
	p.state = away
	p.closeIdle()
	p.mu.Unlock()
	if p.pinger != nil {
		p.pinger.Close()
	}
	p.breakOffAll()
}
