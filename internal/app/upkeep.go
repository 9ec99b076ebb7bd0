package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/api"
)

// tokenUses is the time between two writes of when operator tokens were used.
const tokenUses = callbackd.MaxUseDelay / 2

// job is work that a server repeats in the background, step by step. A step is
// short, so that deliveries always find the store's writer free soon.
type job struct {
	name string
	// first is the wait before the first step.
	first time.Duration
	// every is the wait after a step that found no more to do, and after one
	// that failed.
	every time.Duration
	// singleton is set for a job that one node does for all nodes.
	singleton bool
	// step does a part of the work and returns how long to wait before the
	// next one; 0 means every.
	step func(context.Context) (wait time.Duration, err error)
}

const (
	// stepSize is how many rows a step removes or changes.
	stepSize = 200
	// stepPause is the wait between two steps when there is more to do. It
	// leaves the store's writer to deliveries.
	stepPause = 20 * time.Millisecond
	// expiryCheck is how often the store is asked for deliveries that have expired. It is
	// one look at an index.
	expiryCheck = time.Second
	// expirySize is how many deliveries expire in a step: more than stepSize, because a
	// backlog of millions can expire at once.
	expirySize = 500
)

// soonIf returns the wait before the next step: a short one when there is more
// to do.
func soonIf(more bool) time.Duration {
	if more {
		return stepPause
	}
	return 0
}

// background runs functions until it is stopped.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// newBackground keeps the values of ctx but not its end: what runs in the
// background ends with stop only.
func newBackground(ctx context.Context) *background {
	b := &background{}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return b
}

// run starts f, which must return soon after its context ends.
func (b *background) run(f func(context.Context)) {
	b.work.Go(func() { f(b.ctx) })
}

// stop ends the functions and waits for them.
func (b *background) stop(context.Context) error {
	b.cancel()
	b.work.Wait()
	return nil
}

// repeat steps a job until ctx ends. active reports whether this node does the
// jobs of which one node does each for all. A step that fails is logged and
// tried again. A step that panics ends the process, as any other defect does:
// the store survives that, and the service manager starts the process again.
func (j job) repeat(ctx context.Context, active func() bool, log *slog.Logger) {
	wait := j.first
	for pause(ctx, wait) {
		wait = j.every
		if j.singleton && !active() {
			continue
		}
		next, err := j.step(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error("background job failed, trying again", "job", j.name, "error", err)
		case err == nil && next > 0:
			wait = next
		}
	}
}

// jobs returns everything that the server does at intervals.
func (a *App) jobs(c Config, service *api.API) []job {
	events := &eventSweep{store: a.store, log: a.log, retention: c.Retention, archive: a.archive}
	ofKeys := &keySweep{events: events, rest: map[callbackd.KeyID]time.Time{}}
	settings := &settingSweep{store: a.store, log: a.log, rest: map[callbackd.KeyID]time.Time{}}
	ofSessions := &sessionCallbackSweep{store: a.store, retention: c.Retention}
	clock := newStopwatch(time.Now)
	return []job{
		{name: "cancel deliveries of deleted callbacks", every: 2 * time.Second, singleton: true, step: a.finalizeCanceled},
		{name: "expire deliveries", every: expiryCheck, singleton: true, step: a.expire},
		{name: "advance sessions", every: dueCheck, singleton: true, step: a.advanceSessions(time.Now)},
		{name: "remove old events", every: time.Minute, singleton: true, step: ofKeys.step},
		{name: "remove old sessions, logs, statistics and replays", every: time.Minute, singleton: true, step: a.prune(c.Retention, c.AuditRetention)},
		{name: "remove deleted callbacks and replaced settings", first: settingsEvery, every: settingsEvery, singleton: true, step: settings.step},
		{name: "add up the counts of deliveries", every: 5 * time.Second, singleton: true, step: a.addUpCounts},
		{name: "find incidents and tell of them", first: watchEvery, every: watchEvery, singleton: true, step: a.watch},
		{name: "send mails about incidents", first: watchEvery, every: watchEvery, singleton: true, step: a.mail},
		{name: "remove the callbacks of sessions that were removed", first: settingsEvery, every: settingsEvery, singleton: true, step: ofSessions.step},
		{name: "audit what the store did not take at once", first: lateAuditEvery, every: lateAuditEvery, step: a.late.step},
		{name: "check the data directory", first: clockCheck, every: clockCheck, step: a.checkStore},
		{name: "note the use of operator tokens", first: tokenUses, every: tokenUses, step: func(ctx context.Context) (time.Duration, error) {
			return 0, service.StoreTokenUses(ctx)
		}},
		{name: "compare the clocks", first: clockCheck, every: clockCheck, step: a.compareClocks(clock)},
		{name: "read the keyset again", first: KeysetEvery, every: KeysetEvery, step: a.keyset.step},
	}
}
