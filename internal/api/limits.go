package api

import (
	"fmt"
	"math"
	"net/http"

	"callbackd"
	"callbackd/internal/keylimit"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// accept accepts a batch within the limits of its key. A batch without idempotency keys
// cannot be a repeat, so it is refused before it costs the store anything.
func (a *API) accept(w http.ResponseWriter, c *call, b *store.Batch) ([]*callbackd.Event, error) {
	c.makesEvents = true
	size, mayRepeat := 0, b.Idempotency != ""
	for i := range b.Events {
		size += len(b.Events[i].Data)
		mayRepeat = mayRepeat || b.Events[i].Idempotency != ""
	}
	limited, err := a.Limits.Begin(c.Context(), c.key, len(b.Events), size)
	if err != nil {
		return nil, err
	}
	if mayRepeat {
		b.Admit = limited.Admit
	} else {
		err = limited.Admit()
	}
	var evs []*callbackd.Event
	if err == nil {
		err = a.unlessOverloaded(c, len(b.Events), func() (err error) {
			evs, err = a.Store.Accept(c.Context(), *b)
			return err
		})
	}
	limited.Done(evs)
	c.made = evs
	rateHeaders(w.Header(), limited)
	return evs, err
}

// withinLimits makes a change that may fire events, such as one of a session. It takes one
// event of the key's rate.
func (a *API) withinLimits(c *call, change func() ([]*callbackd.Event, error)) error {
	c.makesEvents = true
	limited, err := a.Limits.Begin(c.Context(), c.key, 1, 0)
	if err != nil {
		return err
	}
	if err := limited.Admit(); err != nil {
		return err
	}
	var evs []*callbackd.Event
	err = a.unlessOverloaded(c, 1, func() (err error) {
		evs, err = change()
		return err
	})
	limited.Done(evs)
	c.made = evs
	return err
}

// unlessOverloaded runs a command that makes so many events, unless too many of them wait for
// the store. An array waits until there is room.
func (a *API) unlessOverloaded(c *call, events int, command func() error) error {
	accepting, err := a.Overload.Begin(c.Context(), c.key.APIKey, events)
	if err != nil {
		return err
	}
	defer a.Overload.End(accepting)
	return command()
}

// overloadWarning is logged once a minute.
const overloadWarning = "events are refused: more come than can be stored in time"

// overloaded reports whether a call was refused because of an overload.
func overloaded(err error) bool {
	limit, _ := callbackd.LimitOf(err)
	return limit == callbackd.LimitOverload
}

// rateHeaders adds the headers of draft-ietf-httpapi-ratelimit-headers-10.
func rateHeaders(h http.Header, limited *keylimit.Call) {
	limits, left, full, ok := limited.Left()
	if !ok {
		return
	}
	burst := limits.PublishBurst()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"publish_rate";q=%.0f;w=%.0f`, burst, math.Ceil(burst/limits.PublishRate)))
	h.Set("RateLimit", fmt.Sprintf(`"publish_rate";r=%.0f;t=%.0f`, math.Floor(left), math.Ceil(full.Seconds())))
}

// getLimits answers with the limits in force of a key, and what it uses of them.
func (a *API) getLimits(w http.ResponseWriter, c *call) error {
	out, err := view.Limits(c.Context(), a.Store, a.Limits, c.key)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}
