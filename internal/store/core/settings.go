package core

import (
	"context"
	"fmt"

	"callbackd"
	"callbackd/internal/store"
)

// ReadSettings is part of [store.Settings].
func (s *Store) ReadSettings(ctx context.Context) (out []callbackd.KeySettings, err error) {
	err = s.db.Snapshot(ctx, func(tx Tx) (err error) {
		out, err = s.readSettings(tx)
		return err
	})
	return out, err
}

func (s *Store) readSettings(tx Tx) (out []callbackd.KeySettings, err error) {
	at := map[callbackd.KeyID]int{}
	err = tx.Query("SELECT "+keyColumns+" FROM keys ORDER BY no", func(row Row) error {
		k, err := s.scanKey(row)
		if err == nil {
			at[k.ID] = len(out)
			out = append(out, callbackd.KeySettings{Key: *k})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all, err := s.callbacksWhere(tx, "c.deleted_at IS NULL AND c.session IS NULL ORDER BY c.key_no, c.type, c.name")
	for _, cb := range all {
		i, has := at[cb.Key]
		if has && !out[i].Key.Revoked() {
			out[i].Callbacks = append(out[i].Callbacks, cb)
		}
	}
	return out, err
}

// ChangeSettings is part of [store.Settings].
func (s *Store) ChangeSettings(ctx context.Context, plan func([]callbackd.KeySettings) ([]callbackd.SettingsChange, error)) (changes []callbackd.SettingsChange, err error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.changeSettings(ctx, 0, func(tx Tx) error {
		now, err := s.readSettings(tx)
		if err != nil {
			return err
		}
		if changes, err = plan(now); err != nil {
			return err
		}
		store.Made(ctx, changes)
		var entries []callbackd.AuditEntry
		for i := range changes {
			e, err := s.changeSetting(tx, audit, &changes[i])
			if err != nil {
				return placed(changes[i].Place, err)
			}
			entries = append(entries, e)
		}
		return audit.Append(tx, entries)
	}, func() {
		s.DropKeys()
		for i := range changes {
			if cb := changes[i].After; cb != nil {
				s.DropCallbacks(cb.ID)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// placed puts the place of a change before the message of an error for its caller.
func placed(place string, err error) error {
	switch kind := callbackd.KindOf(err); {
	case kind == callbackd.KindInternal || kind == callbackd.KindUnavailable, place == "":
		return err
	default:
		return callbackd.Errorf(kind, "In %s: %s", place, callbackd.Sentence(err))
	}
}

// changeSetting makes one change and returns its audit entry.
func (s *Store) changeSetting(tx Tx, audit *Auditor, c *callbackd.SettingsChange) (e callbackd.AuditEntry, err error) {
	if c.After != nil {
		return s.changeCallbackSetting(tx, audit, c)
	}
	var before callbackd.AuditState
	e = callbackd.AuditEntry{Action: callbackd.AuditKeyCreated, Subject: c.Key.APIKey}
	if c.KeyBefore == nil {
		err = s.insertKey(tx, c.Key)
	} else {
		e.Action = callbackd.AuditActionOfKey(c.KeyBefore, c.Key)
		before = c.KeyBefore.AuditState(audit.Digest(c.Key.ID))
		err = s.updateKey(tx, c.Key)
	}
	e.Key = c.Key.ID
	digest := audit.Digest(e.Key)
	e.Before, e.After, _ = callbackd.AuditChange(before, c.Key.AuditState(digest), digest)
	return e, err
}

func (s *Store) changeCallbackSetting(tx Tx, audit *Auditor, c *callbackd.SettingsChange) (e callbackd.AuditEntry, err error) {
	cb := c.After
	if c.Before == nil {
		cb.Key, cb.Version = c.Key.ID, 1
		cb.UpdatedAt = cb.CreatedAt
		if err := s.checkCallbackLimit(tx, cb); err != nil {
			return e, err
		}
		if err := s.insertCallback(tx, cb); err != nil {
			return e, fmt.Errorf("insert a callback: %w", err)
		}
		if cb.Paused() {
			_, err = tx.Exec("UPDATE callbacks SET pause_reason = $2, paused_at = $3 WHERE no = $1", cb.ID, cb.Pause.Reason, cb.Pause.At)
		}
	} else {
		released := cb.Releasing
		cb.Releasing = released || c.Before.Releasing
		err = s.updateCallback(tx, c.Before, cb, released)
	}
	if err == nil && !(c.Before != nil && c.Before.Policy.Filter.Equal(cb.Policy.Filter)) {
		err = s.checkFilters(tx, cb)
	}
	digest := audit.Digest(cb.Key)
	e = callbackEntry(callbackd.AuditCallbackCreated, cb)
	var before, after callbackd.AuditState
	if c.Before != nil {
		e.Action = callbackd.AuditActionOf(c.Before, cb)
		before = c.Before.AuditState(digest)
	}
	if !cb.Deleted() {
		after = cb.AuditState(digest)
	}
	e.Before, e.After, _ = callbackd.AuditChange(before, after, digest)
	return e, err
}
