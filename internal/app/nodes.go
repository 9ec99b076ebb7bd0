package app

import (
	"context"
	"os"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/cluster"
	"callbackd/internal/console"
	"callbackd/internal/store"
)

// dispatcher is the engine of this process, or what stands before the engines
// of all nodes.
type dispatcher interface {
	api.Dispatcher
	OnCommit([]callbackd.Delivery)
	Replay([]callbackd.Delivery)
}

// kicker is the console's runner of replays.
type kicker func()

// Kick is part of it.
func (k kicker) Kick() { k() }

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
		Node: store.Node{Name: hostname(), Address: a.URL(), Version: Version, StartedAt: a.started},
		Tried: func(ctx context.Context, id callbackd.DeliveryID) (bool, error) {
			cb, err := a.store.CallbackByID(ctx, id.Callback)
			if err != nil {
				return false, err
			}
			v, err := a.store.Delivery(ctx, cb.Key, id)
			return err == nil && v.Attempts > 0, err
		},
	})
}

// chores tells whether the work that is one node's for all is this one's: it
// goes with the first shard.
func (a *App) singletonJobs() bool { return a.member == nil || a.member.Owns(0) }

// choreReplays has no running replays for nodes that do not run them.
type choreReplays struct {
	store.Store
	a *App
}

// RunningReplays is part of the runner's store.
func (s choreReplays) RunningReplays(ctx context.Context) ([]callbackd.ReplayID, error) {
	if !s.a.singletonJobs() {
		return nil, nil
	}
	return s.Store.RunningReplays(ctx)
}

// nodes is the nodes on the database, or this process when it has one of its
// own.
func (a *App) nodes(ctx context.Context) ([]console.Node, error) {
	if a.member == nil {
		owed, err := a.store.Backlogs(ctx)
		if err != nil {
			return nil, err
		}
		return []console.Node{{Name: hostname(), Version: Version, Address: a.URL(), Self: true, StartedAt: a.started, Shards: callbackd.Shards, InFlight: a.engine.InFlight(), Backlog: int64(len(owed))}}, nil
	}
	all, err := a.store.(store.Cluster).Nodes(ctx)
	var out []console.Node
	for _, n := range all {
		out = append(out, console.Node{Name: n.Name, Version: n.Version, Address: n.Address, Self: n.ID == a.member.ID(), StartedAt: n.StartedAt,
			Shards: n.Shards, InFlight: n.InFlight, Backlog: int64(n.Owed), LeaseUntil: time.Now().Add(a.member.Timing().Dead - n.Unseen)})
	}
	return out, err
}
