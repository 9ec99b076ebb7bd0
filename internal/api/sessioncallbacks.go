package api

import (
	"net/http"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
	"callbackd/wire"
)

// admitCallback checks what depends on the key and on the operator's switches of a callback
// that is given to one session.
func (a *API) admitCallback(c *call, cb *callbackd.Callback) error {
	if err := a.admit(c, cb); err != nil {
		return err
	}
	if a.MaskHeaders {
		if err := callbacks.RefuseMasks(cb.Headers); err != nil {
			return err
		}
	}
	return callbacks.CheckForSession(cb)
}

// admitGiven is admitCallback of all that events give. Most give none.
func (a *API) admitGiven(c *call, events []store.NewEvent) error {
	n := 0
	for i := range events {
		if cb := events[i].Callback; cb != nil {
			n++
			if err := a.admitCallback(c, cb); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return nil
	}
	return a.Tests.Sessions.Allow(c.Context(), a.Store, c.key.ID, n, time.Now())
}

// given returns the callbacks that accepted events gave their sessions, for each event; nil
// for one that gave none. It tells the engine about those that they changed.
func (a *API) given(w http.ResponseWriter, c *call, b *store.Batch, evs []*callbackd.Event) ([]*wire.Callback, error) {
	out := make([]*wire.Callback, len(evs))
	known := map[string][]*callbackd.Callback{}
	for i, ev := range evs {
		next := b.Events[i].Callback
		if next == nil {
			continue
		}
		all, ok := known[ev.Session]
		if !ok {
			page, err := a.Store.ListCallbacks(c.Context(), store.CallbackQuery{Key: c.key.ID, Session: ev.Session})
			if err != nil {
				return nil, err
			}
			all = page.Callbacks
			known[ev.Session] = all
		}
		at := slices.IndexFunc(all, next.TwinOf)
		if at < 0 { // it was deleted meanwhile
			continue
		}
		cb := all[at]
		now := b.At.Truncate(time.Millisecond)
		repeatable := b.Idempotency != "" || b.Events[i].Idempotency != ""
		out[i] = a.showGiven(w, cb, cb.CreatedAt.Equal(now) || repeatable && madeWith(cb, ev))
		if cb.UpdatedAt.Equal(now) && !cb.CreatedAt.Equal(now) {
			a.Dispatcher.CallbackChanged(cb.ID)
		}
	}
	return out, nil
}

// madeWith reports whether an event may have given its session the callback, so that the
// repeat of a call whose answer was lost gets the secret too. The time in the id of an event
// can be a little later than that of its call.
func madeWith(cb *callbackd.Callback, ev *callbackd.Event) bool {
	since := ev.Accepted().Sub(cb.CreatedAt)
	return since >= 0 && since < time.Second
}

// showGiven returns a callback for the answer to the call that gave it. made says that the
// call made it: then the answer has its secret, which is never shown again.
func (a *API) showGiven(w http.ResponseWriter, cb *callbackd.Callback, made bool) *wire.Callback {
	out := a.show(cb)
	if made && len(cb.Secrets) == 1 && cb.Version == 1 {
		out.Secret = cb.Secrets[0].Value.Reveal()
		w.Header().Set("Cache-Control", "no-store")
	}
	a.advise(w, cb)
	return &out
}
