package core

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const incidentColumns = "id, key_no, topic, name, kind, callback_no, opened_at, gone_at, closed_at, count, flaps, facts, acked_at, acked_by, muted_until, stage, told_key, told_operator, told_mail, mail_failed, mail_at"

func scanIncident(row Row) (*callbackd.Incident, error) {
	var i callbackd.Incident
	var facts string
	var toldKey, toldOperator, toldMail int
	err := row.Scan(&i.ID, &i.Key, &i.Topic, &i.Name, &i.Kind, &i.Callback, &i.OpenedAt, &i.GoneAt, &i.ClosedAt, &i.Count, &i.Flaps, &facts,
		&i.AckedAt, &i.AckedBy, &i.MutedUntil, &i.Stage, &toldKey, &toldOperator, &toldMail, &i.Mail.Failed, &i.Mail.At)
	if err != nil {
		return nil, err
	}
	i.Told = map[callbackd.Channel]int{callbackd.ToKey: toldKey, callbackd.ToOperator: toldOperator, callbackd.ToMail: toldMail}
	if err := json.Unmarshal([]byte(facts), &i.Facts); err != nil {
		return nil, damaged(fmt.Errorf("the facts of incident %s: %w", i.ID, err))
	}
	return &i, nil
}

func incidentArgs(i *callbackd.Incident) ([]any, error) {
	facts, err := json.Marshal(i.Facts)
	return []any{i.ID, i.Key, string(i.Topic), i.Name, string(i.Kind), i.Callback, i.OpenedAt, i.GoneAt, i.ClosedAt, i.Count, i.Flaps, string(facts),
		i.AckedAt, i.AckedBy, i.MutedUntil, i.Stage, i.Told[callbackd.ToKey], i.Told[callbackd.ToOperator], i.Told[callbackd.ToMail], i.Mail.Failed, i.Mail.At}, err
}

// oneIncident reads the incident that a statement returns; nil when it returns none.
func oneIncident(tx Tx, where string, args ...any) (i *callbackd.Incident, err error) {
	err = tx.Query("SELECT "+incidentColumns+" FROM incidents WHERE "+where, func(row Row) (err error) {
		i, err = scanIncident(row)
		return err
	}, args...)
	return i, err
}

// readIncident reads an incident of a key; AllKeys is possible. lock is the Lock of the
// dialect or empty.
func readIncident(tx Tx, key callbackd.KeyID, id callbackd.IncidentID, lock string) (*callbackd.Incident, error) {
	i, err := oneIncident(tx, "id = $1"+lock, id)
	if err == nil && (i == nil || key != store.AllKeys && i.Key != key) {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "There is no incident %s; incidents are removed some time after they ended.", id)
	}
	return i, err
}

// Unwell is part of [store.Incidents].
func (s *Store) Unwell(ctx context.Context) (out []store.Unwell, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		out = nil
		return eachUnwell(tx, func(u store.Unwell) { out = append(out, u) })
	})
	return out, err
}

// Look is part of [store.Incidents].
func (s *Store) Look(ctx context.Context, at, certBefore time.Time) (out store.Seen, err error) {
	unflushed := s.db.Unflushed() // first: what is flushed in between is counted twice, and never missed
	err = s.db.Snapshot(ctx, func(tx Tx) error {
		out = store.Seen{Certificates: map[callbackd.CallbackID]time.Time{}}
		all, err := readBacklogs(tx, unflushed, at)
		if err != nil {
			return err
		}
		for _, t := range all {
			if t.Pending > 0 {
				out.Backlogs = append(out.Backlogs, t.CallbackBacklog)
			}
		}
		err = tx.Query("SELECT callback_no, cert_not_after FROM receivers WHERE cert_not_after < $1", func(row Row) error {
			var id callbackd.CallbackID
			var ends time.Time
			err := row.Scan(&id, &ends)
			out.Certificates[id] = ends
			return err
		}, certBefore)
		if err != nil {
			return err
		}
		return tx.Query(`SELECT no FROM callbacks c WHERE policy LIKE '%"Expect":%' AND `+liveCallback, func(row Row) error {
			var id callbackd.CallbackID
			err := row.Scan(&id)
			out.Expecting = append(out.Expecting, id)
			return err
		})
	})
	return out, err
}

// OpenIncident is part of [store.Incidents].
func (s *Store) OpenIncident(ctx context.Context, c *callbackd.Condition, at time.Time) (out *callbackd.Incident, err error) {
	err = s.db.Write(ctx, 0, func(tx Tx) error {
		of := c.Subject()
		subject := []any{of.Key, string(of.Topic), of.Name}
		open, err := oneIncident(tx, "key_no = $1 AND topic = $2 AND name = $3 AND closed_at IS NULL"+s.d.Lock, subject...)
		if err != nil {
			return err
		}
		if open != nil {
			out = open
			if !open.See(c, at) {
				return nil
			}
			return writeIncident(tx, open)
		}
		last, err := oneIncident(tx, "key_no = $1 AND topic = $2 AND name = $3 ORDER BY key_no DESC, topic DESC, name DESC, id DESC LIMIT 1", subject...)
		if err != nil {
			return err
		}
		next := callbackd.OpenIncident(c, last, at)
		var newest callbackd.EventID
		if err := tx.Query("SELECT id FROM incidents ORDER BY id DESC LIMIT 1", func(row Row) error { return row.Scan(&newest) }); err != nil {
			return err
		}
		next.ID = callbackd.IncidentID(callbackd.NextEventID(newest, at))
		args, err := incidentArgs(&next)
		if err != nil {
			return err
		}
		n, err := tx.Exec("INSERT INTO incidents ("+incidentColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) ON CONFLICT DO NOTHING", args...)
		if err == nil && n == 0 {
			return ErrRace
		}
		out = &next
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// writeIncident stores what changes of an incident.
func writeIncident(tx Tx, i *callbackd.Incident) error {
	args, err := incidentArgs(i)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE incidents SET kind = $2, gone_at = $3, closed_at = $4, count = $5, flaps = $6, facts = $7, acked_at = $8, acked_by = $9,
		muted_until = $10, stage = $11, told_key = $12, told_operator = $13, told_mail = $14, mail_failed = $15, mail_at = $16 WHERE id = $1`, append([]any{i.ID, string(i.Kind)}, args[7:]...)...)
	return err
}

// ChangeIncident is part of [store.Incidents].
func (s *Store) ChangeIncident(ctx context.Context, key callbackd.KeyID, id callbackd.IncidentID, change func(*callbackd.Incident) error) (i *callbackd.Incident, err error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, 0, func(tx Tx) error {
		if i, err = readIncident(tx, key, id, s.d.Lock); err != nil {
			return err
		}
		before := *i
		if err := change(i); err != nil {
			return err
		}
		store.Made(ctx, i)
		if err := writeIncident(tx, i); err != nil {
			return err
		}
		action := callbackd.AuditActionOfIncident(&before, i)
		if action == "" {
			return nil
		}
		return audit.Write(tx, callbackd.AuditEntry{Key: i.Key, Action: action, Target: i.Callback, Subject: i.ID.String()}, before.AuditState(), i.AuditState())
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

// Incident is part of [store.Incidents].
func (s *Store) Incident(ctx context.Context, key callbackd.KeyID, id callbackd.IncidentID) (i *callbackd.Incident, err error) {
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		i, err = readIncident(tx, key, id, "")
		return err
	})
	return i, err
}

// untold is the condition of the index of incidents of which somebody must be told.
const untold = "(abs(told_key) < stage OR abs(told_operator) < stage OR abs(told_mail) < stage)"

// countIncidents counts the open incidents, and those of which a mail is to be sent.
func countIncidents(tx Tx) (n callbackd.IncidentCounts, err error) {
	err = tx.Query("SELECT count(*) FROM incidents WHERE closed_at IS NULL", func(row Row) error { return row.Scan(&n.Open) })
	if err != nil {
		return n, err
	}
	err = tx.Query("SELECT count(*), count(CASE WHEN mail_failed > 0 THEN 1 END) FROM incidents WHERE "+untold+" AND abs(told_mail) < stage", func(row Row) error {
		return row.Scan(&n.Mails, &n.MailsFailing)
	})
	return n, err
}

// ListIncidents is part of [store.Incidents].
func (s *Store) ListIncidents(ctx context.Context, q store.IncidentQuery) (page store.IncidentPage, err error) {
	more, further := "", false
	if q.Open {
		more += " AND closed_at IS NULL"
	}
	if q.Untold {
		more += " AND " + untold
	}
	page.Incidents, further, err = newestRows(ctx, s, incidentColumns, "incidents", more, q.Key, int64(q.After), q.Limit, scanIncident)
	if further {
		page.Next = page.Incidents[len(page.Incidents)-1].ID
	}
	return page, err
}

// pruneIncidents removes closed incidents that are old, and those beyond what a key keeps.
func (s *Store) pruneIncidents(tx Tx, before time.Time, limit int) (int, error) {
	n, err := tx.Exec("DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE closed_at < $1 ORDER BY closed_at LIMIT $2"+s.d.SkipLocked+")", before, limit)
	if err != nil || int(n) == limit {
		return int(n), err
	}
	var keys []callbackd.KeyID
	err = tx.Query("SELECT key_no FROM incidents WHERE closed_at IS NOT NULL GROUP BY key_no HAVING count(*) > $1", func(row Row) error {
		var key callbackd.KeyID
		err := row.Scan(&key)
		keys = append(keys, key)
		return err
	}, callbackd.MaxClosedIncidents)
	for _, key := range keys {
		if err != nil {
			break
		}
		var more int64
		more, err = tx.Exec("DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE key_no = $1 AND closed_at IS NOT NULL ORDER BY key_no DESC, id DESC LIMIT $2 OFFSET $3)", key, limit, callbackd.MaxClosedIncidents)
		n += more
	}
	return int(n), err
}

// incidents checks the incidents: each by its own rule, whether what it is about exists, and
// that a subject has one open incident at most.
func (c *checker) incidents(context.Context) error {
	keys := map[callbackd.KeyID]bool{0: true} // the whole server
	err := c.tx.Query("SELECT no FROM keys", func(row Row) error {
		var id callbackd.KeyID
		err := row.Scan(&id)
		keys[id] = true
		return err
	})
	if err != nil {
		return err
	}
	open := map[callbackd.IncidentSubject]callbackd.IncidentID{}
	return c.tx.Query("SELECT "+incidentColumns+" FROM incidents ORDER BY id", func(row Row) error {
		i, err := scanIncident(row)
		if err != nil {
			c.report.Fault("an incident cannot be read: %v", err)
			return nil
		}
		for _, fault := range i.Faults() {
			c.report.Fault("%s", fault)
		}
		if !keys[i.Key] {
			c.report.Fault("incident %s is about the API key %d, which does not exist", i.ID, i.Key)
		}
		if i.Closed() { // its callback may have been removed since
			return nil
		}
		if i.Callback != 0 && c.balances[i.Callback] == nil {
			c.report.Fault("incident %s is open and about callback %d, which does not exist", i.ID, i.Callback)
		}
		if first := open[i.IncidentSubject]; first != 0 {
			c.report.Fault("incidents %s and %s are open, and about the same: %s %s of API key %d", first, i.ID, i.Topic, i.Name, i.Key)
		}
		open[i.IncidentSubject] = i.ID
		return nil
	})
}
