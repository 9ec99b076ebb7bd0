package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/cluster"
	"callbackd/internal/console"
	"callbackd/internal/engine"
	"callbackd/internal/replays"
	"callbackd/internal/store"
	"callbackd/wire"
)

// dispatcher takes what the store has committed: the engine of this process,
// or the member that passes it on to the engines of all nodes.
type dispatcher interface {
	callbacks.Dispatcher
	OnCommit([]callbackd.Delivery)
	Replayed([]callbackd.Delivery)
}

// localDispatcher is the dispatcher of a process that has the store to itself.
type localDispatcher struct {
	*engine.Engine
	runner *replays.Runner
}

// ReplaysChanged is part of callbacks.Dispatcher.
func (d localDispatcher) ReplaysChanged() { d.runner.Wake() }

// stepDispatcher takes what the steps of replays changed. The home of a key steps its
// replays, so that only the engine of this process can have a delivery that was canceled.
type stepDispatcher struct {
	dispatcher
	engine *engine.Engine
}

// Canceled is part of replays.Dispatcher.
func (d stepDispatcher) Canceled(ds []callbackd.Delivery) { d.engine.Canceled(ds) }

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "callbackd"
	}
	return name
}

// join makes the process a node on its database.
func (a *App) join(ctx context.Context, c Config, shared store.Cluster, replaysChanged func()) (*cluster.Member, error) {
	return cluster.Join(ctx, cluster.Options{
		Store: shared, Engine: a.engine, Lease: c.Lease, Now: c.Clock, Log: c.Log, ReplaysChanged: replaysChanged,
		Node: store.Node{Name: hostname(), Address: a.URL(), Inner: a.nodeListener.address, Version: Version, StartedAt: a.started},
		KeyOf: func(ctx context.Context, id callbackd.CallbackID) (callbackd.KeyID, error) {
			cb, err := a.store.CallbackByID(ctx, id)
			if err != nil {
				return 0, err
			}
			return cb.Key, nil
		},
		Evicted: a.watcher.NodeLost,
		Attempted: func(ctx context.Context, id callbackd.DeliveryID) (bool, error) {
			cb, err := a.store.CallbackByID(ctx, id.Callback)
			if err != nil {
				return false, err
			}
			v, err := a.store.Delivery(ctx, cb.Key, id, 0)
			return err == nil && v.Attempts > 0, err
		},
	})
}

// leave ends the membership, when there is one.
func (a *App) leave(ctx context.Context) error {
	if a.member == nil {
		return nil
	}
	if err := a.member.Close(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("the other nodes take over when the lease ends: %w", err)
	}
	return nil
}

// runsSingletonJobs reports whether this node does the jobs of which one node
// does each for all: the owner of the first shard.
func (a *App) runsSingletonJobs() bool { return a.member == nil || a.member.Owns(0) }

// isHome reports whether this node is the home of a key: it delivers for the key's
// callbacks and steps its replays.
func (a *App) isHome(key callbackd.KeyID) bool { return a.member == nil || a.member.Home(key).Here }

// nodes returns the nodes on the database; a process that has the store to
// itself is the only one.
func (a *App) nodes(ctx context.Context) ([]console.Node, error) {
	if a.member == nil {
		pending, err := a.store.PendingCallbacks(ctx)
		if err != nil {
			return nil, err
		}
		return []console.Node{{
			Name: hostname(), Version: Version, Address: a.URL(), Self: true, StartedAt: a.started,
			Shards: callbackd.Shards, InFlight: a.engine.InFlight(), Callbacks: len(pending),
		}}, nil
	}
	all, err := a.store.(store.Cluster).Nodes(ctx)
	var out []console.Node
	for _, n := range all {
		out = append(out, console.Node{
			Name: n.Name, Version: n.Version, Address: n.Address, Inner: n.Inner, Self: n.ID == a.member.ID(), StartedAt: n.StartedAt,
			Shards: n.Shards, InFlight: n.InFlight, Callbacks: n.Callbacks,
			LeaseUntil: time.Now().Add(a.member.Timing().EvictAfter - n.Unseen),
		})
	}
	return out, err
}

// wireNodes returns the nodes for the management API.
func (a *App) wireNodes(ctx context.Context) ([]wire.Node, error) {
	nodes, err := a.nodes(ctx)
	var out []wire.Node
	for _, n := range nodes {
		one := wire.Node{Name: n.Name, Version: n.Version, Address: n.Address, Self: n.Self, StartedAt: n.StartedAt.UTC(), Shards: n.Shards, InFlight: n.InFlight, Callbacks: n.Callbacks}
		if !n.LeaseUntil.IsZero() {
			one.LeaseUntil = new(n.LeaseUntil.UTC())
		}
		out = append(out, one)
	}
	return out, err
}
