package console

import (
	"cmp"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/story"
)

// why says of deliveries what they wait for, or how they failed. It asks for
// each callback once.
type why struct {
	c         *Console
	v         *visit
	callbacks map[callbackd.CallbackNo]*standing
}

// standing is what a page says of a callback's receiver.
type standing struct {
	*callbackd.Callback
	Last  string    // how it failed last, in words, and when; empty: it is well
	Probe time.Time // before it nothing is sent; zero: nothing holds it up
}

func (c *Console) newWhy(v *visit) *why {
	return &why{c, v, map[callbackd.CallbackNo]*standing{}}
}

func (w *why) callback(no callbackd.CallbackNo) (*standing, error) {
	if st := w.callbacks[no]; st != nil {
		return st, nil
	}
	cb, err := w.c.Store.CallbackByNo(w.v.Context(), no)
	if err != nil {
		return nil, err
	}
	st := &standing{Callback: cb}
	if !cb.Deleted() {
		r, err := w.c.Store.Receiver(w.v.Context(), no)
		if err != nil {
			return nil, err
		}
		if !cb.FailingSince.IsZero() { // only then may a probe be waited for, and the owner's word be worth its time
			look := w.c.Dispatcher.Outlook(no, "", w.c.now())
			st.Last, st.Probe = story.LastFailure(&r), latest(look.OpenUntil, look.ClosedUntil, cb.ClosedUntil)
			if !st.Probe.After(w.c.now()) {
				st.Probe = time.Time{}
			}
		}
	}
	w.callbacks[no] = st
	return st, nil
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
	case d.State != callbackd.Pending:
	case st.Paused():
		out.Why = cmp.Or(failure, "the callback is paused")
	default:
		out.Why, out.Next = cmp.Or(failure, st.Last), d.Due
		if st.Probe.After(out.Next) {
			out.Next = st.Probe
		}
	}
	return out, nil
}
