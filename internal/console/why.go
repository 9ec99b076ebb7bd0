package console

import (
	"cmp"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// why says of deliveries what they wait for, or how they failed. It asks for
// each callback once.
type why struct {
	c         *Console
	v         *visit
	callbacks map[callbackd.CallbackID]*standing
}

// standing is what a page says of a callback's receiver.
type standing struct {
	*callbackd.Callback
	Last  string    // how it failed last, in words, and when; empty: it is well
	Turn  string    // that it waits for others at its host; empty: it does not
	Probe time.Time // before it nothing is sent; zero: nothing holds it up
}

func (c *Console) newWhy(v *visit) *why {
	return &why{c, v, map[callbackd.CallbackID]*standing{}}
}

func (w *why) callback(no callbackd.CallbackID) (*standing, error) {
	if st := w.callbacks[no]; st != nil {
		return st, nil
	}
	cb, err := w.c.Store.CallbackByID(w.v.Context(), no)
	if err != nil {
		return nil, err
	}
	st := &standing{Callback: cb}
	if !cb.Deleted() {
		if err := w.receiver(st); err != nil {
			return nil, err
		}
	}
	w.callbacks[no] = st
	return st, nil
}

// receiver fills in what is known of the callback's receiver.
func (w *why) receiver(st *standing) error {
	now := w.c.now()
	look := w.c.Dispatcher.Diagnosis(st.ID, "", now)
	st.Probe = future(latest(look.OpenUntil, look.ClosedUntil, st.StillClosed(now), look.OriginOpenUntil), now)
	if !st.FailingSince.IsZero() {
		r, err := w.c.Store.Receiver(w.v.Context(), st.ID)
		if err != nil {
			return err
		}
		st.Last = view.LastFailure(&r)
	}
	if look.Probation && (look.OriginInFlight >= look.OriginLimit || look.BeginsAt.After(now)) {
		st.Turn = "it takes turns with other callbacks that have not succeeded at its host yet"
	}
	return nil
}

// future is t, or the zero time when it has passed.
func future(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func latest(ts ...time.Time) time.Time { return slices.MaxFunc(ts, time.Time.Compare) }

// name is how a list names a callback: by its name, or else by its host.
func (st *standing) name() string {
	if st.Name == callbackd.DefaultName {
		return host(st.URL)
	}
	return st.Name
}

// owed says of a delivery why it is not delivered and when it is tried next.
func (w *why) owed(d store.DeliveryView) (owed, error) {
	st, err := w.callback(d.ID.Callback)
	if err != nil {
		return owed{}, err
	}
	out := owed{DeliveryView: d, Receiver: st.name()}
	failure := ""
	if d.Last != nil {
		failure = callbackd.FailureText(d.Last.Fault, d.Last.Status)
	}
	switch {
	case d.State == callbackd.Failed:
		out.Why = failure
	case d.State == callbackd.Canceled && st.Deleted():
		out.Why = "the callback was deleted"
	case d.State == callbackd.Canceled:
		out.Why = "the API key was revoked"
	case d.State != callbackd.Pending:
	case st.Paused():
		out.Why = cmp.Or(failure, "the callback is paused")
	default:
		out.Why, out.Next = cmp.Or(failure, st.Last, st.Turn), future(latest(d.Due, st.Probe), w.c.now())
	}
	return out, nil
}
