// Package home answers each call at the home of its API key: the node that accepts the
// key's events, changes its sessions and callbacks, and delivers.
//
// A node that gets a call for another node's key forwards it. A small change goes in a
// frame of the one connection that carries many calls at a time. Anything else has a
// connection for itself. There is one hop at most: a call that was forwarded is answered where it
// arrives, or refused there as not its own. When the home cannot be reached, the node
// answers the call by itself, because every node can. A call that was sent and got no
// answer is not sent again: it may have taken effect.
//
// Nodes have a listener of their own, apart from the one for clients. Each request there
// is signed, and each frame sealed, with a key that all nodes have in common. Each
// connection has proven that it leads to the node that is meant before a client's call is
// sent over it.
package home

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Options holds the options of a Router. All but Count and Ready are required.
type Options struct {
	// Find returns the home of a key. Refresh reads the owners again for Find.
	Find    func(callbackd.KeyID) callbackd.Home
	Refresh func(context.Context) error
	// Self returns the ID of this node.
	Self func() callbackd.NodeID
	// KeyOf returns the key that a call is about; 0 when it is about none or about all.
	KeyOf func(*http.Request) callbackd.KeyID
	// Keys are the keys of this node: see [Router.SetKeys].
	Keys [][]byte
	// Now is the time that the nodes agree on.
	Now func() time.Time
	// Fail answers a call with an error.
	Fail func(http.ResponseWriter, *http.Request, error)
	Log  *slog.Logger
	// Ready reports whether this node can answer calls; nil: it always can.
	Ready func(context.Context) error
	// Count counts calls; nil: they are not counted.
	Count Counter
}

// Counter counts calls for the metrics.
type Counter interface {
	// Forwarded counts a call that another node has answered.
	Forwarded()
	// HomeAway counts a call that this node answered because the home did not.
	HomeAway()
	// HomeSilent counts a call that was sent to the home and got no answer.
	HomeSilent()
}

type noCounter struct{}

func (noCounter) Forwarded()  {}
func (noCounter) HomeAway()   {}
func (noCounter) HomeSilent() {}

// Router forwards calls to the homes of their keys. Make it with [New].
type Router struct {
	Options
	signer signer
	ctx    context.Context // of all peers; Close ends it
	cancel context.CancelFunc
	work   sync.WaitGroup
	ending atomic.Bool // EndReads was called

	mu    sync.Mutex
	peers map[callbackd.NodeID]*peer
}

// New makes a Router.
func New(o Options) *Router {
	if o.Count == nil {
		o.Count = noCounter{}
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	r := &Router{Options: o, peers: map[callbackd.NodeID]*peer{}}
	r.signer.set(o.Keys)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// SetKeys replaces the keys by which nodes know each other. Two nodes need one in common.
// No further call goes over a connection that was made with a key that is gone.
func (r *Router) SetKeys(keys [][]byte) {
	r.signer.set(keys)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		p.renew()
	}
}

// EndReads ends streams and calls that wait for something to happen, because this node
// stops. Streams end as if there were nothing more; the others are answered here.
func (r *Router) EndReads() {
	r.ending.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		p.breakOff(func(l *link) bool { return l.reads })
	}
}

// Close closes the connections to other nodes. Calls that are under way are broken off.
func (r *Router) Close() {
	r.cancel()
	r.work.Wait()
}

// Handler has each call answered by the home of its key. When that is this node, or cannot
// be reached, here answers.
func (r *Router) Handler(here http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		key := r.KeyOf(req)
		if key == 0 {
			here.ServeHTTP(w, req)
			return
		}
		to := r.Find(key)
		if to.Here || to.Address == "" {
			here.ServeHTTP(w, req)
			return
		}
		b := readBody(req)
		if !r.forward(w, req, key, to, b) {
			b.restore(req)
			here.ServeHTTP(w, req)
		}
	})
}

// reads reports whether a call changes nothing, so that it may be made twice.
func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// refreshTimeout is how long a call waits for news of who is the home.
const refreshTimeout = 300 * time.Millisecond

// forward has a call answered by the home of its key. It returns false when this node
// must answer it.
func (r *Router) forward(w http.ResponseWriter, req *http.Request, key callbackd.KeyID, to callbackd.Home, b *body) bool {
	for range 2 {
		switch r.peer(to).forward(w, req, key, b) {
		case answered:
			r.Count.Forwarded()
			return true
		case unanswered:
			r.Count.HomeSilent()
			if reads(req) && !b.opened {
				return false
			}
			r.Fail(w, req, errSilent)
			return true
		case unreachable:
			r.Count.HomeAway()
			return false
		case broken:
			return false
		}
		next := r.refreshed(req.Context(), key)
		if next.Here || next.Address == "" {
			return false
		}
		if next.Node == to.Node { // it gives up the key, and no other node has claimed it
			break
		}
		to = next
	}
	r.Count.HomeAway()
	return false
}

var errSilent = callbackd.Errorf(callbackd.KindUnavailable, "The node that this API key belongs to did not answer. The call may have taken effect or not; it is safe to repeat it with the Idempotency-Key that it was sent with.")

// refreshed returns the home of a key after the home that was known has refused.
func (r *Router) refreshed(ctx context.Context, key callbackd.KeyID) callbackd.Home {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if err := r.Refresh(ctx); err != nil {
		r.Log.Debug("the owners of shards are not refreshed", "error", err)
	}
	return r.Find(key)
}

// peer returns the node that is the home.
func (r *Router) peer(at callbackd.Home) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[at.Node]
	if p == nil {
		p = newPeer(r, at)
		r.peers[at.Node] = p
		r.work.Go(p.watch)
	}
	return p
}

// forget removes a node that has got no calls for a while.
func (r *Router) forget(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, p.node)
}
