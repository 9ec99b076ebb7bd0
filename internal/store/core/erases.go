package core

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const eraseColumns = "id, key_no, selected_by, subject, dry_run, created_at, ended_at, up_to, phase, progress, salt, match, receipt, group_id, group_size"

func scanErase(row Row) (*callbackd.Erase, error) {
	var e callbackd.Erase
	var progress string
	err := row.Scan(&e.ID, &e.Key, &e.By, &e.Subject, &e.DryRun, &e.CreatedAt, &e.EndedAt, &e.UpTo, &e.Phase, &progress, &e.Salt, &e.Match, &e.Receipt, &e.Group, &e.GroupSize)
	if err == nil {
		err = damaged(json.Unmarshal([]byte(progress), &e.Progress))
	}
	return &e, err
}

// readErase reads an erasure of a key; AllKeys is possible. lock is the Lock of the
// dialect or empty.
func readErase(tx Tx, key callbackd.KeyID, id callbackd.EraseID, lock string) (e *callbackd.Erase, err error) {
	err = tx.Query("SELECT "+eraseColumns+" FROM erases WHERE id = $1"+lock, func(row Row) (err error) {
		e, err = scanErase(row)
		return err
	}, id)
	if err == nil && (e == nil || key != store.AllKeys && e.Key != key) {
		err = callbackd.Errorf(callbackd.KindNotFound, "There is no erasure %s.", id)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// CreateErase is part of [store.Erases].
func (s *Store) CreateErase(ctx context.Context, e callbackd.Erase, value string) (*callbackd.Erase, error) {
	made, err := s.createErases(ctx, e, []callbackd.KeyID{e.Key}, map[callbackd.KeyID]string{e.Key: e.Subject}, value, func(made []callbackd.Erase) { store.Made(ctx, &made[0]) })
	if err != nil {
		return nil, err
	}
	return &made[0], nil
}

// CreateErases is part of [store.Erases].
func (s *Store) CreateErases(ctx context.Context, e callbackd.Erase, keys []callbackd.KeyID, value string) (*callbackd.EraseGroup, error) {
	var subjects map[callbackd.KeyID]string
	if e.Group != 0 {
		dry, err := s.EraseGroup(ctx, e.Group)
		if err != nil {
			return nil, err
		}
		if keys, subjects, err = dry.Counted(); err != nil {
			return nil, err
		}
	}
	e.Group, e.GroupSize = 0, len(keys)
	group := func(made []callbackd.Erase) *callbackd.EraseGroup {
		return &callbackd.EraseGroup{ID: made[0].Group, Keys: len(keys), Erases: made}
	}
	made, err := s.createErases(ctx, e, keys, subjects, value, func(made []callbackd.Erase) { store.Made(ctx, group(made)) })
	if err != nil {
		return nil, err
	}
	return group(made), nil
}

// createErases stores an erasure in each of keys. They are a group when e has a GroupSize. subjects
// has what the subject of each key must be, if anything. made is called in the transaction.
func (s *Store) createErases(ctx context.Context, e callbackd.Erase, keys []callbackd.KeyID, subjects map[callbackd.KeyID]string, value string, made func([]callbackd.Erase)) (out []callbackd.Erase, err error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	planned := make([]callbackd.Erase, len(keys))
	for i, key := range keys {
		planned[i] = e
		planned[i].Key, planned[i].Subject = key, subjects[key]
		salt := make([]byte, 32)
		rand.Read(salt)
		if err := planned[i].Look(value, salt, audit.Digest(key)); err != nil {
			return nil, err
		}
	}
	if err := s.db.Flush(ctx); err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, 0, func(tx Tx) error {
		out = nil
		for _, one := range planned {
			if len(out) > 0 {
				one.Group = out[0].Group
			}
			stored, err := s.insertErase(tx, one)
			if err != nil {
				return err
			}
			out = append(out, *stored)
		}
		made(out)
		for i := range out {
			if err := audit.Write(tx, eraseEntry(&out[i], callbackd.AuditErasureStarted), nil, out[i].AuditState()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// insertErase stores an erasure and returns it as it is stored. The first one of a group gives
// the group its id.
func (s *Store) insertErase(tx Tx, e callbackd.Erase) (*callbackd.Erase, error) {
	if err := s.placeErase(tx, &e); err != nil {
		return nil, err
	}
	if e.GroupSize > 0 && e.Group == 0 {
		e.Group = callbackd.EraseGroupID(e.ID)
	}
	progress, err := json.Marshal(e.Progress)
	if err != nil {
		return nil, err
	}
	n, err := tx.Exec("INSERT INTO erases ("+eraseColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
		e.ID, e.Key, e.By, e.Subject, e.DryRun, e.CreatedAt, e.EndedAt, e.UpTo, e.Phase, string(progress), nullable(e.Salt), nullable(e.Match), nil, e.Group, e.GroupSize)
	if err == nil && n == 0 {
		err = ErrRace
	}
	if err != nil {
		return nil, err
	}
	return readErase(tx, e.Key, e.ID, "")
}

// EraseGroup is part of [store.Erases].
func (s *Store) EraseGroup(ctx context.Context, id callbackd.EraseGroupID) (*callbackd.EraseGroup, error) {
	var g callbackd.EraseGroup
	err := s.db.Read(ctx, func(tx Tx) (err error) {
		g, err = readEraseGroup(tx, id)
		return err
	})
	if err == nil && len(g.Erases) == 0 {
		err = callbackd.Errorf(callbackd.KindNotFound, "There is no erasure over all API keys %s.", id)
	}
	if err != nil {
		return nil, err
	}
	return &g, nil
}

// readEraseGroup reads a group. It has no erasures when there is none.
func readEraseGroup(tx Tx, id callbackd.EraseGroupID) (callbackd.EraseGroup, error) {
	g := callbackd.EraseGroup{ID: id}
	err := tx.Query("SELECT "+eraseColumns+" FROM erases WHERE group_id = $1 AND group_id <> 0 ORDER BY id", func(row Row) error {
		e, err := scanErase(row)
		if err == nil {
			g.Keys, g.Erases = e.GroupSize, append(g.Erases, *e)
		}
		return err
	}, id)
	return g, err
}

// ListEraseGroups is part of [store.Erases]. It finds one group after the other, so that what it
// reads does not grow with the number of keys in older ones.
func (s *Store) ListEraseGroups(ctx context.Context, q store.EraseGroupQuery) (page store.EraseGroupPage, err error) {
	limit := min(max(q.Limit, 1), store.MaxPage)
	err = s.db.Read(ctx, func(tx Tx) error {
		page = store.EraseGroupPage{}
		after, rows := q.After, 0
		if after == 0 {
			after = math.MaxInt64
		}
		for {
			var next callbackd.EraseGroupID
			err := tx.Query("SELECT group_id FROM erases WHERE group_id < $1 AND group_id <> 0 ORDER BY group_id DESC LIMIT 1", func(row Row) error { return row.Scan(&next) }, after)
			if err != nil || next == 0 {
				return err
			}
			if len(page.Groups) == limit || rows >= store.MaxEraseGroupRows {
				page.Next = after
				return nil
			}
			g, err := readEraseGroup(tx, next)
			if err != nil {
				return err
			}
			page.Groups, rows, after = append(page.Groups, g), rows+len(g.Erases), next
		}
	})
	return page, err
}

func eraseEntry(e *callbackd.Erase, action callbackd.AuditAction) callbackd.AuditEntry {
	return callbackd.AuditEntry{Key: e.Key, Action: action, Subject: e.ID.String()}
}

// placeErase gives a new erasure its id and the events that it covers. It refuses one more
// than [callbackd.MaxErases], and removes the oldest beyond [callbackd.MaxErasesKept]. It
// locks the key so that no other one begins meanwhile.
func (s *Store) placeErase(tx Tx, e *callbackd.Erase) error {
	var apiKey string
	if err := tx.Query("SELECT api_key FROM keys WHERE no = $1"+s.d.Lock, func(row Row) error { return row.Scan(&apiKey) }, e.Key); err != nil {
		return err
	}
	var open int
	err := tx.Query("SELECT count(*) FROM erases WHERE key_no = $1 AND ended_at IS NULL", func(row Row) error { return row.Scan(&open) }, e.Key)
	if err != nil {
		return err
	}
	if open >= callbackd.MaxErases {
		return callbackd.Errorf(callbackd.KindLimited, "%d erasures of the API key %s have not ended, which is the limit; wait for one.", open, apiKey)
	}
	_, err = tx.Exec("DELETE FROM erases WHERE key_no = $1 AND ended_at IS NOT NULL AND id <= coalesce((SELECT id FROM erases WHERE key_no = $1 ORDER BY key_no DESC, id DESC LIMIT 1 OFFSET $2), 0)", e.Key, callbackd.MaxErasesKept-1)
	if err != nil {
		return err
	}
	err = tx.Query("SELECT id FROM "+s.d.KeyEvents+" WHERE key_no = $1 ORDER BY key_no DESC, id DESC LIMIT 1", func(row Row) error { return row.Scan(&e.UpTo) }, e.Key)
	if err != nil {
		return err
	}
	var last callbackd.EventID
	err = tx.Query("SELECT id FROM erases ORDER BY id DESC LIMIT 1", func(row Row) error { return row.Scan(&last) })
	e.ID = callbackd.EraseID(callbackd.NextEventID(last, e.CreatedAt))
	return err
}

// Erase is part of [store.Erases].
func (s *Store) Erase(ctx context.Context, key callbackd.KeyID, id callbackd.EraseID) (e *callbackd.Erase, err error) {
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		e, err = readErase(tx, key, id, "")
		return err
	})
	return e, err
}

// ListErases is part of [store.Erases].
func (s *Store) ListErases(ctx context.Context, q store.EraseQuery) (page store.ErasePage, err error) {
	more, further := "", false
	if q.Running {
		more = " AND ended_at IS NULL"
	}
	page.Erases, further, err = newestRows(ctx, s, eraseColumns, "erases", more, q.Key, int64(q.After), q.Limit, scanErase)
	if further {
		page.Next = page.Erases[len(page.Erases)-1].ID
	}
	return page, err
}

// StepErase is part of [store.Erases]. The erasure's row is locked, so that of several
// nodes one makes a step at a time.
func (s *Store) StepErase(ctx context.Context, id callbackd.EraseID, at time.Time) (step store.EraseStep, err error) {
	if err := s.db.Flush(ctx); err != nil {
		return step, err
	}
	e, err := s.Erase(ctx, store.AllKeys, id)
	if err != nil {
		return step, err
	}
	overwritten := e.Phase != callbackd.EraseOverwrites
	if !overwritten {
		if overwritten, err = s.db.Overwrite(ctx); err != nil {
			return step, err
		}
	}
	at = at.UTC().Truncate(time.Millisecond)
	audit, err := s.Auditor(ctx)
	if err != nil {
		return step, err
	}
	mode := Deliveries
	if e.Phase == callbackd.EraseCallbacks {
		mode |= Settings
	}
	var ended []callbackd.CallbackID
	defer func() {
		if len(ended) > 0 {
			s.DropCallbacks(ended...)
		}
	}()
	err = s.db.Write(ctx, mode, func(tx Tx) error {
		e, err := readErase(tx, store.AllKeys, id, s.d.Lock)
		if err != nil {
			return err
		}
		r := &eraseStep{s: s, tx: tx, at: at, erase: e, overwritten: overwritten}
		if err := r.run(); err != nil {
			return err
		}
		ended = r.ended
		step = store.EraseStep{Canceled: r.canceled, Erase: e, Waits: e.Phase == callbackd.EraseOverwrites && !overwritten}
		ended := e.EndedAt.IsZero() && !e.Running()
		if err := r.write(); err != nil || !ended {
			return err
		}
		return audit.Write(tx, eraseEntry(e, callbackd.AuditErasureEnded), nil, e.AuditState())
	})
	return step, err
}

// eraseStep is one step of an erasure.
type eraseStep struct {
	s           *Store
	tx          Tx
	at          time.Time
	erase       *callbackd.Erase
	overwritten bool // the database has overwritten what it freed
	canceled    []callbackd.Delivery
	ended       []callbackd.CallbackID // callbacks that are not in force any more
}

func (r *eraseStep) run() error {
	steps := map[callbackd.ErasePhase]func() (done bool, err error){
		callbackd.EraseFindsSessions: r.findSessions,
		callbackd.EraseFindsEvents:   r.findEvents,
		callbackd.EraseDryRun:        r.count,
		callbackd.EraseErases:        r.eraseNext,
		callbackd.EraseCallbacks:     r.eraseCallbacks,
		callbackd.EraseAnswers:       r.eraseAnswers,
		callbackd.EraseLogs:          r.eraseLogs,
		callbackd.EraseReplays:       r.eraseReasons,
		callbackd.EraseOverwrites:    func() (bool, error) { return r.overwritten, nil },
	}
	do := steps[r.erase.Phase]
	if do == nil {
		return nil // it has ended
	}
	done, err := do()
	if err == nil && done {
		r.erase.Advance()
	}
	return err
}

// write stores the progress, and at the end the receipt.
func (r *eraseStep) write() error {
	e := r.erase
	if !e.Running() && e.EndedAt.IsZero() {
		var apiKey string
		if err := r.tx.Query("SELECT api_key FROM keys WHERE no = $1", func(row Row) error { return row.Scan(&apiKey) }, e.Key); err != nil {
			return err
		}
		if err := e.End(apiKey, r.at); err != nil {
			return err
		}
		if _, err := r.tx.Exec("DELETE FROM erase_sessions WHERE erase_id = $1", e.ID); err != nil {
			return err
		}
	}
	progress, err := json.Marshal(e.Progress)
	if err != nil {
		return err
	}
	_, err = r.tx.Exec("UPDATE erases SET ended_at = $2, phase = $3, progress = $4, salt = $5, match = $6, receipt = $7 WHERE id = $1",
		e.ID, e.EndedAt, e.Phase, string(progress), nullable(e.Salt), nullable(e.Match), nullable(e.Receipt))
	if err != nil {
		return fmt.Errorf("erasure %s: %w", e.ID, err)
	}
	return nil
}
