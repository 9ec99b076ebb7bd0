package app

import (
	"context"
	"math"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/notices"
	"callbackd/internal/obs"
	"callbackd/internal/store"
)

// watchEvery is how often incidents are looked for.
const watchEvery = 5 * time.Second

// newWatcher returns what finds incidents.
func (a *App) newWatcher(c Config, m *obs.Metrics) *notices.Watcher {
	o := notices.Options{
		Store: a.store, Log: c.Log, OperatorKey: c.NoticeKey, Accepted: m.Accepted, Now: c.watchClock,
		BacklogOld: c.BacklogOld, DiskLow: c.DiskLow, Archive: a.archiveFailing,
	}
	if c.Mail != nil {
		o.Mailer, o.Mailed = c.Mail, m.Mailed
	}
	if c.PublicURL != nil {
		o.ConsoleURL = c.PublicURL.JoinPath(console.Root, "incidents").String()
	}
	if disk, ok := a.store.(interface{ DiskFree() int64 }); ok {
		o.DiskFree = disk.DiskFree
	}
	if data := o.DiskFree; a.archive != nil {
		o.DiskFree = func() int64 {
			free, ok := a.archive.free()
			if !ok {
				free = math.MaxInt64
			}
			if data != nil {
				free = min(free, data())
			}
			return free
		}
	}
	if shared, ok := a.store.(store.Cluster); ok {
		o.Nodes = func(ctx context.Context) (map[string]callbackd.NodesOfName, error) {
			nodes, err := shared.Nodes(ctx)
			alive := map[string]callbackd.NodesOfName{}
			for i := range nodes {
				of := alive[nodes[i].Name]
				alive[nodes[i].Name] = callbackd.NodesOfName{Newest: max(of.Newest, nodes[i].ID), N: of.N + 1}
			}
			return alive, err
		}
	}
	return notices.New(o)
}

// mail sends mails about incidents. It is not part of watch, because a mail server may hang.
func (a *App) mail(ctx context.Context) (time.Duration, error) {
	return 0, a.watcher.Mail(ctx)
}

// watch finds incidents and sends their notices.
func (a *App) watch(ctx context.Context) (time.Duration, error) {
	more, err := a.watcher.Step(ctx)
	return soonIf(more), err
}
