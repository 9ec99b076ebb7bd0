// Package notices finds incidents and tells of them. The rules are those of
// [callbackd.Incident]; incidents are in the store, so that a restart neither forgets nor
// repeats one. A notice is an ordinary event that is accepted, delivered and explained like
// any other.
package notices

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/ratelimit"
	"callbackd/internal/store"

	"golang.org/x/time/rate"
)

// Store has the methods of the store that a watcher needs.
type Store interface {
	store.Incidents
	Accept(ctx context.Context, b store.Batch) ([]*callbackd.Event, error)
	CallbackByID(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error)
	ListDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error)
	ListEvents(ctx context.Context, q store.EventQuery) (store.EventPage, error)
	ListCallbacks(ctx context.Context, q store.CallbackQuery) (store.CallbackPage, error)
	Health(ctx context.Context, id callbackd.CallbackID, q store.PendingQuery) (store.Health, error)
	Key(ctx context.Context, apiKey string) (*callbackd.Key, error)
	KeyByID(ctx context.Context, id callbackd.KeyID) (*callbackd.Key, error)
}

// Options holds the options of a Watcher. Store and Log are required.
type Options struct {
	Store Store
	Log   *slog.Logger
	// OperatorKey is the text of the API key whose callbacks get the notices about all
	// keys; empty: none.
	OperatorKey string
	// BacklogOld is since when a delivery has been due when its callback's backlog is old,
	// and DiskLow how many bytes are free when the disk is low. 0: the defaults.
	BacklogOld time.Duration
	DiskLow    int64
	// DiskFree returns the free bytes of the volume of the data directory; nil: there is
	// none.
	DiskFree func() int64
	// Archive returns why the archive cannot be written, and since when; nil: it can be. nil:
	// there is none.
	Archive func() (since time.Time, err error)
	// Nodes returns the nodes that are alive, by their names. nil: there is one only.
	Nodes func(ctx context.Context) (map[string]callbackd.NodesOfName, error)
	// Mailer sends mails about all keys to the operator; nil: nobody gets mails. Mailed is
	// called after each try, with its error.
	Mailer Mailer
	Mailed func(error)
	// ConsoleURL is where the operator sees the incidents; empty: it is not known.
	ConsoleURL string
	// Accepted is called with the number of events that were accepted.
	Accepted func(events int)
	// Now is the clock of the rules of incidents; nil: time.Now.
	Now func() time.Time
}

const (
	// maxChanges is how many incidents one step opens, changes or tells of, so that a step
	// is short when thousands of callbacks fail at once.
	maxChanges = 200
	// noticeRate and noticeBurst limit the notices on one channel to one key. What is above
	// waits, and is not told at all when its incident ends meanwhile.
	noticeRate  = 1.0 / 15 // a second
	noticeBurst = 20
)

// Watcher finds incidents and tells of them. Make it with [New].
type Watcher struct {
	Options
	stepping sync.Mutex // one step at a time
	slow     slowLook
	passed   passed
	limits   *ratelimit.Limiter[recipient]
	mailing  mailing
}

// recipient is who gets notices on a channel.
type recipient struct {
	channel callbackd.Channel
	key     callbackd.KeyID
}

// New returns a watcher.
func New(o Options) *Watcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BacklogOld == 0 {
		o.BacklogOld = callbackd.DefaultBacklogOld
	}
	if o.DiskLow == 0 {
		o.DiskLow = callbackd.DefaultDiskLow
	}
	if o.Accepted == nil {
		o.Accepted = func(int) {}
	}
	if o.Mailed == nil {
		o.Mailed = func(error) {}
	}
	return &Watcher{
		mailing: mailing{limit: rate.NewLimiter(mailRate, mailBurst)},
		Options: o, limits: ratelimit.New[recipient](noticeRate, noticeBurst),
		passed: passed{seen: map[callbackd.IncidentSubject]*callbackd.Condition{}},
	}
}

// Step looks once for what is wrong, and tells of what changed. One node calls it for all.
// more reports that there is more to do at once.
func (w *Watcher) Step(ctx context.Context) (more bool, err error) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	changed, err := w.look(ctx)
	if err != nil {
		return false, err
	}
	told, err := w.tell(ctx)
	return changed >= maxChanges || told >= maxChanges, err
}

// look opens, changes and closes incidents, and returns how many.
func (w *Watcher) look(ctx context.Context) (changes int, err error) {
	now := w.Now()
	conditions, err := w.conditions(ctx, now)
	if err != nil {
		return 0, err
	}
	for after := callbackd.IncidentID(0); ; {
		page, err := w.Store.ListIncidents(ctx, store.IncidentQuery{Key: store.AllKeys, Open: true, After: after, Limit: store.MaxPage})
		if err != nil {
			return changes, err
		}
		for i := range page.Incidents {
			open := &page.Incidents[i]
			c := conditions[open.IncidentSubject]
			delete(conditions, open.IncidentSubject)
			changed, err := w.follow(ctx, open, c, now)
			if err != nil {
				return changes, err
			}
			if changed {
				changes++
			}
			if changes >= maxChanges {
				return changes, nil
			}
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	for _, c := range conditions {
		if changes >= maxChanges {
			break
		}
		if !c.Opens(now) {
			continue
		}
		if err := w.open(ctx, c, now); err != nil {
			return changes, err
		}
		changes++
	}
	return changes, nil
}

// follow changes an open incident by its condition, which is nil when it is gone.
func (w *Watcher) follow(ctx context.Context, i *callbackd.Incident, c *callbackd.Condition, now time.Time) (changed bool, err error) {
	change := func(i *callbackd.Incident) bool { return i.See(c, now) }
	if c == nil {
		ended, err := w.ended(ctx, i)
		if err != nil {
			return false, err
		}
		if i.NodeIsBack(w.slow.nodes) {
			ended = callbackd.EndedBack
		}
		change = func(i *callbackd.Incident) bool { return i.Miss(now, ended) }
	} else if err := w.describe(ctx, c); err != nil {
		return false, err
	}
	try := *i
	if !change(&try) {
		return false, nil
	}
	_, err = w.Store.ChangeIncident(ctx, store.AllKeys, i.ID, func(i *callbackd.Incident) error {
		change(i)
		return nil
	})
	return true, err
}

// ended says whether what an incident is about is gone.
func (w *Watcher) ended(ctx context.Context, i *callbackd.Incident) (callbackd.EndReason, error) {
	if i.Callback == 0 {
		return callbackd.EndedWell, nil
	}
	cb, err := w.Store.CallbackByID(ctx, i.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && cb.Deleted() {
		return callbackd.EndedDeleted, nil
	}
	return callbackd.EndedWell, err
}

// open opens an incident.
func (w *Watcher) open(ctx context.Context, c *callbackd.Condition, now time.Time) error {
	if err := w.describe(ctx, c); err != nil {
		return err
	}
	i, err := w.Store.OpenIncident(ctx, c, now)
	if err == nil && i.OpenedAt.Equal(now) {
		w.Log.Warn("incident opened", "incident", i.ID.String(), "callback", int64(i.Callback))
	}
	return err
}
