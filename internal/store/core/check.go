package core

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// checkChunk is how many rows Check reads at a time.
const checkChunk = 1000

// Check is part of [store.Upkeep]. It reads the events in pages, each with its
// deliveries, and then the pending rows, in one snapshot. Its memory depends on
// the number of callbacks and replays, not of events.
func (s *Store) Check(ctx context.Context) (report *store.Report, err error) {
	err = s.db.Snapshot(ctx, func(tx Tx) error {
		report = &store.Report{}
		c := &checker{s: s, tx: tx, report: report, balances: map[callbackd.CallbackID]*store.Balance{}, replayed: map[callbackd.ReplayID]int64{}}
		return c.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// checker is one run of Check.
type checker struct {
	s        *Store
	tx       Tx
	report   *store.Report
	flushed  callbackd.EventID // deliveries of later events may have no rows yet
	balances map[callbackd.CallbackID]*store.Balance
	replayed map[callbackd.ReplayID]int64 // pending deliveries of each replay
	queued   int64                        // deliveries that have a pending row, or will have one
}

func (c *checker) run(ctx context.Context) (err error) {
	if c.flushed, err = c.s.db.Audit(c.tx, c.report); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{c.secrets, c.keys, c.callbacks, c.events, c.pending, c.replays, c.counts, c.tokens, c.incidents, c.audits} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// keys checks the limits of API keys and their policy for callbacks. It reads the columns
// only: a key with a damaged one cannot be read.
func (c *checker) keys(context.Context) error {
	return c.tx.Query("SELECT no, limits, callback_policy, retention_events FROM keys ORDER BY no", func(row Row) error {
		var id callbackd.KeyID
		var limits, policy, retentions *string
		if err := row.Scan(&id, &limits, &policy, &retentions); err != nil {
			return err
		}
		l, err := readLimits(limits)
		switch fault := l.Fault(); {
		case err != nil:
			c.report.Fault("the limits of API key %d cannot be read: %v", id, err)
		case fault != "":
			c.report.Fault("API key %d cannot be right: %s", id, fault)
		}
		var members map[string]json.RawMessage
		if policy != nil && (json.Unmarshal([]byte(*policy), &members) != nil || members == nil) {
			c.report.Fault("the policy for callbacks of API key %d is no JSON object", id)
		}
		if retentions != nil {
			if _, err := callbackd.ParseRetentions(*retentions); err != nil {
				c.report.Fault("retention_events of API key %d cannot be right: %v", id, err)
			}
		}
		return nil
	})
}

func (c *checker) callbacks(context.Context) error {
	all, err := c.s.allCallbacks(c.tx, c.s.scanSealed) // secrets that do not open are faults
	c.report.Callbacks = make([]store.Balance, len(all))
	for i, cb := range all {
		c.report.Callbacks[i].Callback = cb
		c.balances[cb.ID] = &c.report.Callbacks[i]
	}
	return err
}

// audits checks the chains of the audit log.
func (c *checker) audits(ctx context.Context) error {
	found := store.AuditReport{}
	err := c.s.verifyAudit(ctx, c.tx, nil, nil, &found)
	for _, fault := range found.Faults {
		c.report.Fault("%s", fault)
	}
	c.report.FaultN += found.FaultN - int64(len(found.Faults))
	if errors.Is(err, errAuditKey) {
		c.report.Fault("the audit log is not checked: %v", errAuditKey)
		return nil
	}
	return err
}

// events checks every event with its deliveries.
func (c *checker) events(ctx context.Context) error {
	tell, total := store.ProgressOf(ctx), int64(0)
	if tell != nil {
		if err := c.tx.Query("SELECT count(*) FROM events", func(row Row) error { return row.Scan(&total) }); err != nil {
			return err
		}
	}
	for after := callbackd.EventID(0); ; {
		var evs []*callbackd.Event
		err := c.tx.Query("SELECT "+eventColumns+" FROM events WHERE id > $1 ORDER BY id LIMIT $2", func(row Row) error {
			ev, err := c.s.scanEvent(row)
			evs = append(evs, ev)
			return err
		}, after, checkChunk)
		if err != nil {
			return err
		}
		last := callbackd.EventID(math.MaxInt64) // rows after the last event belong to no event
		if len(evs) == checkChunk {
			last = evs[len(evs)-1].ID
		}
		if err := c.page(evs, after, last); err != nil {
			return err
		}
		if tell != nil {
			tell(c.report.Events, total)
		}
		if err := ctx.Err(); err != nil || len(evs) < checkChunk {
			return err
		}
		after = last
	}
}

// page checks the deliveries of evs, which are all events with ids above after and up to
// last.
func (c *checker) page(evs []*callbackd.Event, after, last callbackd.EventID) error {
	byEvent := eventsByID(evs)
	late, err := c.lateTargets(byEvent, after, last)
	if err != nil {
		return err
	}
	var erased []callbackd.EventID
	var audits []*callbackd.DeliveryAudit
	byID := map[callbackd.DeliveryID]*callbackd.DeliveryAudit{}
	for _, ev := range evs {
		c.withheld(ev)
		if ev.IsErased() {
			c.report.Erased++
			erased = append(erased, ev.ID)
		}
		for _, id := range c.targets(ev, late[ev.ID]) {
			byID[id] = &callbackd.DeliveryAudit{ID: id}
			audits = append(audits, byID[id])
		}
	}
	if err := c.readPending(audits, byID); err != nil {
		return err
	}
	if err := c.readAttempts(byID, after, last); err != nil {
		return err
	}
	c.report.Events += int64(len(evs))
	if err := c.erased(erased, audits); err != nil {
		return err
	}
	for _, a := range audits {
		a.Event = byEvent[a.ID.Event]
		c.delivery(a, a.ID.Event > c.flushed && !slices.Contains(late[a.ID.Event], a.ID.Callback))
	}
	return nil
}

// delivery checks one delivery. One that was not flushed is pending without a row.
func (c *checker) delivery(a *callbackd.DeliveryAudit, unflushed bool) {
	balance := c.balances[a.ID.Callback]
	if balance == nil {
		c.report.Fault("event %s has the target %d, a callback that does not exist", a.ID.Event, a.ID.Callback)
		return
	}
	if unflushed && a.Pending == nil && len(a.Attempts) == 0 {
		a.Pending = &callbackd.Delivery{ID: a.ID}
	}
	if a.Pending != nil {
		c.queued++
	}
	a.Ended = balance.Callback.Deleted()
	balance.Add(a)
	for _, fault := range a.Faults() {
		c.report.Fault("%s", fault)
	}
}

// lateTargets reads the targets that replays added to events.
func (c *checker) lateTargets(evs map[callbackd.EventID]*callbackd.Event, after, last callbackd.EventID) (map[callbackd.EventID][]callbackd.CallbackID, error) {
	late := map[callbackd.EventID][]callbackd.CallbackID{}
	err := c.tx.Query("SELECT event_id, callback_no FROM owed_later WHERE event_id > $1 AND event_id <= $2 ORDER BY event_id, callback_no", func(row Row) error {
		var id callbackd.DeliveryID
		err := row.Scan(&id.Event, &id.Callback)
		if evs[id.Event] == nil {
			c.stray("a late target", id)
			return err
		}
		late[id.Event] = append(late[id.Event], id.Callback)
		return err
	}, after, last)
	return late, err
}

// targets returns the deliveries of an event, each once.
func (c *checker) targets(ev *callbackd.Event, late []callbackd.CallbackID) (ids []callbackd.DeliveryID) {
	for _, cb := range slices.Concat(ev.Targets, late) {
		id := callbackd.DeliveryID{Event: ev.ID, Callback: cb}
		if slices.Contains(ids, id) {
			c.report.Fault("event %s has the target %d twice", ev.ID, cb)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// withheld checks that an event is withheld from no target, and from nobody twice. A
// late target is another matter: a replay sends what was withheld.
func (c *checker) withheld(ev *callbackd.Event) {
	for i, w := range ev.Withheld {
		same := func(other callbackd.Withheld) bool { return other.Callback == w.Callback }
		if slices.Contains(ev.Targets, w.Callback) {
			c.report.Fault("event %s is withheld from %d, which is its target", ev.ID, w.Callback)
		}
		if slices.ContainsFunc(ev.Withheld[:i], same) {
			c.report.Fault("event %s is withheld from %d twice", ev.ID, w.Callback)
		}
	}
}

// erased checks that nothing is left of the data of erased events.
func (c *checker) erased(evs []callbackd.EventID, audits []*callbackd.DeliveryAudit) error {
	if len(evs) == 0 {
		return nil
	}
	for _, a := range audits {
		if a.Pending != nil && slices.Contains(evs, a.ID.Event) {
			c.report.Fault("delivery %s is pending, and the data of its event was erased", a.ID)
		}
	}
	err := c.tx.Query("SELECT id FROM events WHERE id "+c.s.d.In("$1")+" AND data <> $2", func(row Row) error {
		var id callbackd.EventID
		err := row.Scan(&id)
		c.report.Fault("event %s was erased and still has data", id)
		return err
	}, evs, callbackd.ErasedData)
	if err != nil {
		return err
	}
	return c.tx.Query("SELECT event_id, callback_no, n, detail FROM attempts WHERE version > 0 AND event_id "+c.s.d.In("$1"), func(row Row) error {
		var id callbackd.DeliveryID
		var a callbackd.Attempt
		var detail []byte
		if err := row.Scan(&id.Event, &id.Callback, &a.Number, &detail); err != nil {
			return err
		}
		if err := codec.ReadAttempt(detail, &a); err != nil || a.Capture != callbackd.CaptureErased {
			c.report.Fault("attempt %d of delivery %s still has its request and answer, and the data of its event was erased", a.Number, id)
		}
		return nil
	}, evs)
}

// readPending gives deliveries their pending rows.
func (c *checker) readPending(audits []*callbackd.DeliveryAudit, byID map[callbackd.DeliveryID]*callbackd.DeliveryAudit) error {
	ids := make([]callbackd.DeliveryID, len(audits))
	for i, a := range audits {
		ids[i] = a.ID
	}
	d := c.s.d
	return c.tx.Query("SELECT p.callback_no, p.event_id, p.manual, p.due, p.deliver_at, p.expires_at FROM "+d.Pairs("$1")+
		d.Lookup("pending", "p", "p.callback_no = o.callback_no AND p.event_id = o.event_id"), func(row Row) error {
		var p callbackd.Delivery
		err := row.Scan(&p.ID.Callback, &p.ID.Event, &p.Manual, &p.Due, &p.DeliverAt, &p.ExpiresAt)
		byID[p.ID].Pending = &p
		return err
	}, pairs(ids))
}

// readAttempts gives deliveries the rows of their attempts.
func (c *checker) readAttempts(byID map[callbackd.DeliveryID]*callbackd.DeliveryAudit, after, last callbackd.EventID) error {
	var stray callbackd.DeliveryID // the last one that was reported
	return c.tx.Query("SELECT event_id, callback_no, n, version, state FROM attempts WHERE event_id > $1 AND event_id <= $2 ORDER BY event_id, callback_no, n", func(row Row) error {
		var id callbackd.DeliveryID
		var a callbackd.AttemptRow
		err := row.Scan(&id.Event, &id.Callback, &a.Number, &a.Version, &a.State)
		switch {
		case byID[id] != nil:
			byID[id].Attempts = append(byID[id].Attempts, a)
		case id != stray:
			stray = id
			c.stray("an attempt", id)
		}
		return err
	}, after, last)
}

// stray notes a row of a delivery that no event accounts for.
func (c *checker) stray(what string, id callbackd.DeliveryID) {
	c.report.Fault("%s of delivery %s belongs to no event", what, id)
}

// pending finds pending rows that no event accounts for, and counts those of each
// replay.
func (c *checker) pending(ctx context.Context) error {
	for after := (callbackd.DeliveryID{}); ; {
		var ids []callbackd.DeliveryID
		err := c.tx.Query("SELECT callback_no, event_id, replay FROM pending WHERE (callback_no, event_id) > ($1, $2) ORDER BY callback_no, event_id LIMIT $3", func(row Row) error {
			var replay callbackd.ReplayID
			err := row.Scan(&after.Callback, &after.Event, &replay)
			ids = append(ids, after)
			c.replayed[replay]++
			return err
		}, after.Callback, after.Event, checkChunk)
		if err != nil {
			return err
		}
		evs, err := c.s.eventHeaders(c.tx, eventsOfDeliveries(ids), "")
		if err != nil {
			return err
		}
		for _, id := range ids {
			if ev := evs[id.Event]; ev == nil || !slices.Contains(ev.Targets, id.Callback) {
				c.stray("the pending row", id)
			}
		}
		if err := ctx.Err(); err != nil || len(ids) < checkChunk {
			return err
		}
	}
}

// replays checks that what each replay made due has ended or is pending.
func (c *checker) replays(context.Context) error {
	return c.tx.Query("SELECT id, due - skipped - delivered - failed - canceled FROM replays ORDER BY id", func(row Row) error {
		var id callbackd.ReplayID
		var want int64
		err := row.Scan(&id, &want)
		if have := c.replayed[id]; have != want {
			c.report.Fault("replay %s has %d pending deliveries by its counts, and %d pending rows", id, want, have)
		}
		return err
	})
}

// counts checks that the counts of deliveries leave as many pending as there are.
func (c *checker) counts(context.Context) error {
	counts, complete, err := readCounts(c.tx)
	if err == nil && complete && counts.Pending() != c.queued {
		c.report.Fault("%d deliveries are pending by the counts of what was accepted and what ended, and %d are", counts.Pending(), c.queued)
	}
	return err
}
