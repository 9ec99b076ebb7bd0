package sqlite

import (
	"context"
	"fmt"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// Check is part of [store.Upkeep]. It walks the events with their deliveries,
// and then the other tables for rows that no event accounts for, in memory
// that depends on the number of callbacks only.
func (s *Store) Check(ctx context.Context) (*store.Report, error) {
	c := &checker{s: s, report: &store.Report{}, balance: map[callbackd.CallbackID]*store.Balance{}, ended: map[callbackd.CallbackID]bool{}}
	err := s.read(ctx, func(d *db) error {
		c.d = d
		if err := d.query("PRAGMA quick_check(10)", func(st *sqlite3.Stmt) error {
			if text := st.ColumnText(0); text != "ok" {
				c.fault("the database file is damaged: %s", text)
			}
			return nil
		}); err != nil {
			return err
		}
		err := d.query("SELECT mark FROM meta", func(st *sqlite3.Stmt) error { c.mark = callbackd.EventID(st.ColumnInt64(0)); return nil })
		if err != nil {
			return err
		}
		if err := c.callbacks(); err != nil {
			return err
		}
		if err := c.events(); err != nil {
			return err
		}
		return c.strays()
	})
	if err != nil {
		return nil, err
	}
	return c.report, nil
}

type checker struct {
	s       *Store
	d       *db
	mark    callbackd.EventID
	report  *store.Report
	balance map[callbackd.CallbackID]*store.Balance
	ended   map[callbackd.CallbackID]bool
}

func (c *checker) fault(format string, args ...any) {
	c.report.FaultN++
	if len(c.report.Faults) < store.MaxFaults {
		c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
	}
}

func (c *checker) callbacks() error {
	all, err := c.s.AllCallbacks(c.d)
	if err != nil {
		return err
	}
	c.report.Callbacks = make([]store.Balance, len(all))
	for i, cb := range all {
		c.report.Callbacks[i].Callback = cb
		c.balance[cb.ID] = &c.report.Callbacks[i]
		c.ended[cb.ID] = cb.Deleted()
	}
	return nil
}

func (c *checker) events() error {
	return c.d.query("SELECT "+eventColumns+" FROM events ORDER BY id", func(st *sqlite3.Stmt) error {
		ev := scanEvent(st)
		c.report.Events++
		if err := c.indexed(ev); err != nil {
			return err
		}
		accepted := len(ev.Targets)
		if err := c.d.addLater(ev); err != nil {
			return err
		}
		for i, no := range ev.Targets {
			if slices.Contains(ev.Targets[:i], no) {
				c.fault("event %s is owed to callback %d twice", ev.ID, no)
				continue
			}
			if err := c.delivery(ev, no, i < accepted); err != nil {
				return err
			}
		}
		return nil
	})
}

// indexed checks that an event up to the mark is found by key and session.
func (c *checker) indexed(ev *callbackd.Event) error {
	if ev.ID > c.mark {
		return nil
	}
	n := 0
	err := c.d.query(`SELECT 1 FROM key_events WHERE key_no = ?1 AND id = ?2
		UNION ALL SELECT 1 FROM session_events WHERE key_no = ?1 AND session = ?3 AND sequence = ?4 AND id = ?2`,
		func(*sqlite3.Stmt) error { n++; return nil }, int64(ev.Key), int64(ev.ID), ev.Session, ev.Sequence)
	if err == nil && n != 2 {
		c.fault("event %s is in %d of the 2 indexes", ev.ID, n)
	}
	return err
}

// delivery checks that one delivery is in exactly one state. Only one that
// was owed from the start may be young.
func (c *checker) delivery(ev *callbackd.Event, no callbackd.CallbackID, first bool) error {
	id := callbackd.DeliveryID{Event: ev.ID, Callback: no}
	b := c.balance[no]
	if b == nil {
		c.fault("event %s is owed to callback %d, which does not exist", ev.ID, no)
		return nil
	}
	b.Accepted++
	pending, manual := false, false
	err := c.d.query("SELECT manual, session, sequence FROM pending WHERE callback_no = ? AND event_id = ?", func(st *sqlite3.Stmt) error {
		pending, manual = true, st.ColumnBool(0)
		if st.ColumnText(1) != ev.Session || st.ColumnInt64(2) != ev.Sequence {
			c.fault("delivery %s waits with another session or sequence than its event has", id)
		}
		return nil
	}, int64(no), int64(ev.ID))
	if err != nil {
		return err
	}
	var last callbackd.State
	n, terminal := int64(0), 0
	err = c.d.query("SELECT n, version, state FROM attempts WHERE event_id = ? AND callback_no = ? ORDER BY n", func(st *sqlite3.Stmt) error {
		n++
		if st.ColumnInt64(0) != n {
			c.fault("delivery %s has attempt %d where %d was expected", id, st.ColumnInt64(0), n)
			n = st.ColumnInt64(0)
		}
		if st.ColumnInt64(1) > 0 {
			b.Attempts++
			if last.Terminal() {
				b.Repeats++
			}
		}
		if last = callbackd.State(st.ColumnText(2)); last.Terminal() {
			terminal++
		}
		return nil
	}, int64(ev.ID), int64(no))
	if err != nil {
		return err
	}
	if first && !pending && n == 0 && ev.ID > c.mark {
		pending = true // young
	}
	switch {
	case pending && last.Terminal() && !manual:
		c.fault("delivery %s is %s and still waits", id, last)
	case !pending && !last.Terminal():
		c.fault("delivery %s has not ended and does not wait: it is lost", id)
	}
	switch {
	case pending && c.ended[no]:
		b.Canceled++
	case pending:
		b.Pending++
	case last == callbackd.Delivered:
		b.Delivered++
	case last == callbackd.Failed:
		b.Failed++
	case last == callbackd.Canceled:
		b.Canceled++
	}
	return nil
}

// strays finds rows that belong to no event, and replays that do not add up.
func (c *checker) strays() error {
	stray := func(what string) func(*sqlite3.Stmt) error {
		return func(st *sqlite3.Stmt) error {
			ev, ok := callbackd.EventID(st.ColumnInt64(0)), st.ColumnBool(3)
			no := callbackd.CallbackID(st.ColumnInt64(1))
			if st.ColumnType(2) != sqlite3.NULL {
				for _, o := range codec.Targets(st.ColumnRawBlob(2)) {
					ok = ok || o == no
				}
			}
			if !ok {
				c.fault("%s of delivery %s belongs to no event", what, callbackd.DeliveryID{Event: ev, Callback: no})
			}
			return nil
		}
	}
	for what, from := range map[string]string{"the pending row": "pending x", "the first attempt": "(SELECT * FROM attempts WHERE n = 1) x"} {
		err := c.d.query("SELECT x.event_id, x.callback_no, e.owed, o.event_id IS NOT NULL FROM "+from+
			" LEFT JOIN events e ON e.id = x.event_id LEFT JOIN owed_later o ON o.event_id = x.event_id AND o.callback_no = x.callback_no", stray(what))
		if err != nil {
			return err
		}
	}
	err := c.d.query("SELECT event_id, callback_no FROM owed_later WHERE event_id NOT IN (SELECT id FROM events)", func(st *sqlite3.Stmt) error {
		c.fault("delivery %s belongs to no event", callbackd.DeliveryID{Event: callbackd.EventID(st.ColumnInt64(0)), Callback: callbackd.CallbackID(st.ColumnInt64(1))})
		return nil
	})
	if err != nil {
		return err
	}
	return c.replays()
}

// replays checks that what replays made due has ended or waits.
func (c *checker) replays() error {
	return c.d.query(`SELECT r.id, r.due - r.skipped - r.delivered - r.failed - r.canceled,
		(SELECT count(*) FROM pending p WHERE p.replay = r.id AND p.replay != 0) FROM replays r`, func(st *sqlite3.Stmt) error {
		if want, have := st.ColumnInt64(1), st.ColumnInt64(2); want != have {
			c.fault("replay %s has %d deliveries pending by its counts, and %d that wait", callbackd.ReplayID(st.ColumnInt64(0)), want, have)
		}
		return nil
	})
}
