// Package export writes events with their deliveries and attempts as JSON, one line an
// event, in the order of their ids. So the last line says where an export that was ended
// goes on.
package export

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// Source has the methods of the store that an export needs. Each call reads one page in a
// transaction of its own, so that none is open for long.
type Source interface {
	view.Deliveries
	EventsAfter(ctx context.Context, q store.EventQuery) (store.EventPage, error)
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	KeyByID(ctx context.Context, id callbackd.KeyID) (*callbackd.Key, error)
}

// Progress says what an export has written so far.
type Progress struct {
	Events, Deliveries, Attempts int64
	First, Last                  callbackd.EventID // the first and the last event; 0 before the first
}

// heldLine is how many bytes of a line are held before they are written. Only an event
// with thousands of attempts has a longer line.
const heldLine = 8 << 20

// Exporter writes events.
type Exporter struct {
	From    Source
	Preview view.Preview
	// Told is called after each event and each page.
	Told func(Progress)

	to      io.Writer
	line    bytes.Buffer // of the present line, what was not written
	begun   bool         // a part of the present line was written
	counted Progress
}

// Run writes the events that q chooses, beginning after q.After. q.Until must be set. What
// it has written when it fails is whole lines, but for an event of more than heldLine
// bytes.
func (x *Exporter) Run(ctx context.Context, q store.EventQuery, to io.Writer) (Progress, error) {
	x.to, x.counted = to, Progress{}
	q.Limit = store.MaxPage
	for {
		page, err := x.From.EventsAfter(ctx, q)
		if err != nil {
			return x.counted, err
		}
		for _, ev := range page.Events {
			if err := x.event(ctx, ev); err != nil {
				return x.counted, err
			}
			x.Told(x.counted)
		}
		x.Told(x.counted)
		if len(page.Events) == 0 && (page.Next == q.After || !page.Next.Time().Before(q.Until)) {
			return x.counted, nil
		}
		q.After = page.Next
	}
}

// Write writes the events with these ids, in their order. One that is not stored is left
// out.
func (x *Exporter) Write(ctx context.Context, ids []callbackd.EventID, to io.Writer) (Progress, error) {
	x.to, x.counted = to, Progress{}
	for _, id := range ids {
		ev, err := x.From.Event(ctx, store.AllKeys, id)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		if err == nil {
			err = x.event(ctx, ev)
		}
		if err != nil {
			return x.counted, err
		}
	}
	return x.counted, nil
}

// exportedEvent is the head of a line: an event as the API shows it, whose deliveries
// follow.
type exportedEvent struct {
	APIKey string `json:"api_key"`
	wire.Event
	Deliveries []string `json:"deliveries,omitempty"` // hides the ids of the event
}

// exportedDelivery is a delivery as the API shows it, whose attempts follow.
type exportedDelivery struct {
	*wire.Delivery
	History []wire.Attempt `json:"history,omitempty"` // hides that of the delivery
}

// event writes the line of an event. One that retention has removed since its page was
// read is left out.
func (x *Exporter) event(ctx context.Context, ev *callbackd.Event) error {
	key, err := x.From.KeyByID(ctx, ev.Key)
	if err != nil {
		return err
	}
	before := x.counted
	x.line.Reset()
	x.begun = false
	if err := x.object(exportedEvent{APIKey: key.APIKey, Event: view.Event(ev)}, "deliveries"); err != nil {
		return err
	}
	for i, cb := range ev.Targets {
		if i > 0 {
			x.line.WriteByte(',')
		}
		err := x.delivery(ctx, ev.Key, callbackd.DeliveryID{Event: ev.ID, Callback: cb})
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			x.counted = before
			if x.begun {
				return callbackd.Errorf(callbackd.KindUnavailable, "event %s was removed while it was exported; export again, from the last whole line on", ev.ID)
			}
			return nil
		}
		if err != nil {
			x.counted = before
			return err
		}
	}
	x.line.WriteString("]}\n")
	if _, err := x.to.Write(x.line.Bytes()); err != nil {
		return err
	}
	x.counted.Events++
	if x.counted.Last = ev.ID; x.counted.First == 0 {
		x.counted.First = ev.ID
	}
	return nil
}

// delivery writes a delivery with all its attempts, oldest first: the API's pages one
// after the other.
func (x *Exporter) delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID) error {
	d, err := view.Describe(ctx, x.From, x.Preview, key, id, 0)
	if err != nil {
		return err
	}
	newest, earlier := d.History, d.Earlier
	d.Earlier = 0
	if err := x.object(exportedDelivery{Delivery: d}, "history"); err != nil {
		return err
	}
	x.counted.Deliveries++
	ended := false // the attempt before ended the delivery
	for before := (earlier-1)%store.MaxHistory + 1; earlier > 1 && before <= earlier; before += store.MaxHistory {
		if before == 1 {
			continue // nothing is before it
		}
		page, err := view.Describe(ctx, x.From, x.Preview, key, id, before)
		if err != nil {
			return err
		}
		if ended, err = x.attempts(page.History, ended); err != nil {
			return err
		}
		x.line.WriteByte(',')
	}
	if _, err := x.attempts(newest, ended); err != nil {
		return err
	}
	x.line.WriteString("]}")
	return nil
}

// attempts writes a page of attempts. ended says that the attempt before them ended the
// delivery, and attempts returns whether the last of them did.
func (x *Exporter) attempts(page []wire.Attempt, ended bool) (bool, error) {
	for i := range page {
		if i > 0 {
			x.line.WriteByte(',')
		}
		page[i].Repeat = page[i].Repeat || i == 0 && ended
		if err := x.value(&page[i]); err != nil {
			return false, err
		}
		x.counted.Attempts++
	}
	return len(page) > 0 && callbackd.State(page[len(page)-1].State).Terminal(), nil
}

// object writes an object without its end, and the beginning of a list as its last member.
func (x *Exporter) object(v any, list string) error {
	if err := x.value(v); err != nil {
		return err
	}
	x.line.Truncate(x.line.Len() - 1)
	x.line.WriteString(`,"` + list + `":[`)
	return nil
}

// value writes a value as the API does, and what is held when it is much.
func (x *Exporter) value(v any) error {
	enc := json.NewEncoder(&x.line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	x.line.Truncate(x.line.Len() - 1) // the end of the line
	if x.line.Len() < heldLine {
		return nil
	}
	// The last byte is held: object takes it back.
	held := x.line.Bytes()
	if _, err := x.to.Write(held[:len(held)-1]); err != nil {
		return err
	}
	x.begun = true
	last := held[len(held)-1]
	x.line.Reset()
	x.line.WriteByte(last)
	return nil
}
