package console

import (
	"cmp"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// deliveryRow is a delivery in a list.
type deliveryRow struct {
	store.DeliveryView
	Receiver string
	Why      string    // what it waits for, or how it failed
	Next     time.Time // when it is tried next; zero when nothing is planned
}

// rowBuilder makes the rows of a list. It reads each callback once.
type rowBuilder struct {
	c         *Console
	req       *userRequest
	receivers map[callbackd.CallbackID]*receiver
}

func (c *Console) newRowBuilder(req *userRequest) *rowBuilder {
	return &rowBuilder{c, req, map[callbackd.CallbackID]*receiver{}}
}

// receiver is a callback with what pages say about its receiver.
type receiver struct {
	*callbackd.Callback
	LastFailure    string    // how and when it failed last; empty when it is well
	WaitsForOthers string    // that it shares its host's limit; empty when it does not
	NextProbe      time.Time // nothing is sent before; zero when nothing holds it up
}

// name is how lists name a callback: by its name, or by its host when it has
// the default name.
func (r *receiver) name() string {
	if r.Name == callbackd.DefaultName {
		return host(r.URL)
	}
	return r.Name
}

func (b *rowBuilder) receiverOf(id callbackd.CallbackID) (*receiver, error) {
	if r := b.receivers[id]; r != nil {
		return r, nil
	}
	cb, err := b.c.Store.CallbackByID(b.req.Context(), id)
	if err != nil {
		return nil, err
	}
	r := &receiver{Callback: cb}
	if !cb.Deleted() {
		if err := b.fillReceiver(r); err != nil {
			return nil, err
		}
	}
	b.receivers[id] = r
	return r, nil
}

// fillReceiver fills in what is known of the receiver.
func (b *rowBuilder) fillReceiver(r *receiver) error {
	now := b.c.now()
	d := b.c.Dispatcher.Diagnosis(r.ID, "", now)
	r.NextProbe = r.StillClosed(now)
	for _, w := range d.Waits(false, now) {
		switch w.Reason {
		case callbackd.WaitForProbe, callbackd.WaitForReceiver, callbackd.WaitForOriginProbe:
			r.NextProbe = latest(r.NextProbe, w.Until)
		}
		if w.Reason.OfOrigin() {
			r.WaitsForOthers = "it takes turns with other callbacks that have not succeeded at its host yet"
		}
	}
	if !r.FailingSince.IsZero() {
		health, err := b.c.Store.Health(b.req.Context(), r.ID, store.PendingQuery{})
		if err != nil {
			return err
		}
		r.LastFailure = view.LastFailure(&health.Receiver)
	}
	return nil
}

// future returns t, or the zero time when t has passed.
func future(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func latest(ts ...time.Time) time.Time { return slices.MaxFunc(ts, time.Time.Compare) }

// rows makes the rows of deliveries.
func (b *rowBuilder) rows(ds []store.DeliveryView) ([]deliveryRow, error) {
	out := make([]deliveryRow, 0, len(ds))
	for _, d := range ds {
		row, err := b.row(d)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// row makes the row of a delivery.
func (b *rowBuilder) row(d store.DeliveryView) (deliveryRow, error) {
	r, err := b.receiverOf(d.ID.Callback)
	if err != nil {
		return deliveryRow{}, err
	}
	row := deliveryRow{DeliveryView: d, Receiver: r.name()}
	failure := ""
	if d.Last != nil {
		failure = callbackd.FailureText(d.Last.Fault, d.Last.Status)
	}
	switch {
	case d.State == callbackd.Failed:
		row.Why = failure
	case d.State == callbackd.Canceled && r.Deleted():
		row.Why = "the callback was deleted"
	case d.State == callbackd.Canceled:
		row.Why = "a person canceled it"
	case d.State == callbackd.Expired:
		row.Why = cmp.Or(failure, "it was not sent in time")
	case d.State != callbackd.Pending:
	case d.Deferred:
		row.Why, row.Next = "deferred", d.Due
	case r.Paused():
		row.Why = cmp.Or(failure, "the callback is paused")
	default:
		row.Why = cmp.Or(failure, r.LastFailure, r.WaitsForOthers)
		row.Next = future(latest(d.Due, r.NextProbe), b.c.now())
	}
	return row, nil
}
