package notices

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
)

const (
	// slowEvery is how often pending deliveries, certificates, silences, the disk and the
	// nodes are looked at. The next look is later when one took long.
	slowEvery  = 30 * time.Second
	slowFactor = 20
	// ownEvery is how often the client certificates of all callbacks are looked at.
	ownEvery = time.Hour
)

// slowLook is what the last look at what is not cheap to see found.
type slowLook struct {
	at    time.Time // of the look, by the clock of the rules
	next  time.Time // when to look again, by that clock
	found map[callbackd.IncidentSubject]*callbackd.Condition
	nodes map[string]callbackd.NodesOfName // that are alive: see [Options]

	ownNext time.Time
	own     []ownCertificate
}

// ownCertificate is a client certificate that ends soon.
type ownCertificate struct {
	callback callbackd.CallbackID
	ends     time.Time
}

// lookSlowly looks again when it is time.
func (w *Watcher) lookSlowly(ctx context.Context, now time.Time) error {
	if now.Before(w.slow.next) && !now.Before(w.slow.at) { // else the clock was set back
		return nil
	}
	start := time.Now()
	found := map[callbackd.IncidentSubject]*callbackd.Condition{}
	add := func(c *callbackd.Condition) {
		if c != nil {
			found[c.Subject()] = c
		}
	}
	seen, err := w.Store.Look(ctx, now, now.Add(callbackd.CertificateEndsWithin))
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return w.lookAtBacklogs(ctx, seen.Backlogs, now, add) },
		func() error { return w.lookAtCertificates(ctx, seen.Certificates, now, add) },
		func() error { return w.lookForSilence(ctx, seen.Expecting, now, add) },
		func() error { return w.lookAtNodes(ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if w.DiskFree != nil {
		add(callbackd.DiskCondition(w.DiskFree(), w.DiskLow))
	}
	if w.Archive != nil {
		add(callbackd.ArchiveCondition(w.Archive()))
	}
	w.slow.found, w.slow.at, w.slow.next = found, now, now.Add(max(slowEvery, slowFactor*time.Since(start)))
	return nil
}

func (w *Watcher) lookAtBacklogs(ctx context.Context, all []callbackd.CallbackBacklog, now time.Time, add func(*callbackd.Condition)) error {
	for _, b := range all {
		if b.OldestDue.IsZero() || now.Sub(b.OldestDue) < w.BacklogOld { // not worth reading the callback
			continue
		}
		cb, err := w.callback(ctx, b.ID)
		if err != nil {
			return err
		}
		if cb != nil {
			add(callbackd.BacklogCondition(cb, b, w.BacklogOld, now))
		}
	}
	return nil
}

func (w *Watcher) lookAtCertificates(ctx context.Context, receivers map[callbackd.CallbackID]time.Time, now time.Time, add func(*callbackd.Condition)) error {
	for id, ends := range receivers {
		cb, err := w.callback(ctx, id)
		if err != nil {
			return err
		}
		if cb != nil {
			add(callbackd.CertificateCondition(cb, ends, false, now))
		}
	}
	if err := w.readOwnCertificates(ctx, now); err != nil {
		return err
	}
	for _, own := range w.slow.own {
		cb, err := w.callback(ctx, own.callback)
		if err != nil {
			return err
		}
		if cb != nil {
			add(callbackd.CertificateCondition(cb, callbacks.ClientCertEnds(cb), true, now))
		}
	}
	return nil
}

// readOwnCertificates walks all callbacks for client certificates that end soon.
func (w *Watcher) readOwnCertificates(ctx context.Context, now time.Time) error {
	if now.Before(w.slow.ownNext) {
		return nil
	}
	var own []ownCertificate
	for q := (store.CallbackQuery{Key: store.AllKeys, Limit: store.MaxPage}); ; {
		page, err := w.Store.ListCallbacks(ctx, q)
		if err != nil {
			return err
		}
		for _, cb := range page.Callbacks {
			if ends := callbacks.ClientCertEnds(cb); callbackd.CertificateCondition(cb, ends, true, now) != nil {
				own = append(own, ownCertificate{cb.ID, ends})
			}
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	w.slow.own, w.slow.ownNext = own, now.Add(ownEvery)
	return nil
}

func (w *Watcher) lookForSilence(ctx context.Context, expecting []callbackd.CallbackID, now time.Time, add func(*callbackd.Condition)) error {
	for _, id := range expecting {
		cb, err := w.callback(ctx, id)
		if err != nil {
			return err
		}
		if cb == nil || now.Sub(cb.UpdatedAt) < cb.Policy.Expect {
			continue
		}
		last := w.lastOfCallback
		if cb.Event == callbackd.NoticeSilence {
			last = w.lastOfKey
		}
		at, err := last(ctx, cb, now.Add(-cb.Policy.Expect))
		if err != nil {
			return err
		}
		add(callbackd.SilenceCondition(cb, at, now))
	}
	return nil
}

// lastOfCallback returns when the last event for a callback was accepted; zero when none is
// stored. Tests do not count.
func (w *Watcher) lastOfCallback(ctx context.Context, cb *callbackd.Callback, _ time.Time) (time.Time, error) {
	for q := (store.DeliveryQuery{Key: cb.Key, Callback: cb.ID, Limit: 20}); ; {
		page, err := w.Store.ListDeliveries(ctx, q)
		if err != nil {
			return time.Time{}, err
		}
		for _, d := range page.Deliveries {
			if !d.Event.Test {
				return d.Event.Accepted(), nil
			}
		}
		if q.After = page.Next; q.After == (callbackd.DeliveryID{}) {
			return time.Time{}, nil
		}
	}
}

// lastOfKey returns when the last event of a callback's key was accepted; zero when none was
// since a time. Tests and notices do not count.
func (w *Watcher) lastOfKey(ctx context.Context, cb *callbackd.Callback, since time.Time) (time.Time, error) {
	for _, within := range []time.Time{since, {}} {
		for q := (store.EventQuery{Key: cb.Key, Since: within, Limit: 20}); ; {
			page, err := w.Store.ListEvents(ctx, q)
			if err != nil {
				return time.Time{}, err
			}
			for _, ev := range page.Events {
				if !ev.Test && !ev.Type.IsNotice() {
					return ev.Accepted(), nil
				}
			}
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
	}
	return time.Time{}, nil
}

// lookAtNodes reads which nodes are alive.
func (w *Watcher) lookAtNodes(ctx context.Context) (err error) {
	if w.Nodes != nil {
		w.slow.nodes, err = w.Nodes(ctx)
	}
	return err
}
