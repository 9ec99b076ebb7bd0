package core

import (
	"context"
	"encoding/json"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const keyColumns = "no, account, api_key, secret, name, live, created_at, revoked_at, time_frame, old_secret, old_until, capture_url, expires_at, limits, callback_policy, retention, retention_events"

func (s *Store) scanKey(row Row) (*callbackd.Key, error) {
	var k callbackd.Key
	var frame int64 // milliseconds
	var secret, old []byte
	var limits, policy, retentions *string
	var retention *int64 // milliseconds
	err := row.Scan(&k.ID, &k.Account, &k.APIKey, &secret, &k.Name, &k.Live, &k.CreatedAt, &k.RevokedAt, &frame, &old, &k.OldUntil, &k.CaptureURL, &k.ExpiresAt, &limits, &policy, &retention, &retentions)
	if err != nil {
		return nil, err
	}
	k.TimeFrame = time.Duration(frame) * time.Millisecond
	if k.Limits, err = readLimits(limits); err != nil {
		return nil, damaged(err)
	}
	if policy != nil {
		k.CallbackPolicy = *policy
	}
	if retention != nil {
		k.Retention = time.Duration(*retention) * time.Millisecond
	}
	if retentions != nil {
		k.RetentionEvents = *retentions
	}
	if k.Secret, err = s.sealer.OpenKey(secret, k.APIKey); err != nil {
		return nil, damaged(err)
	}
	if old != nil {
		if k.OldSecret, err = s.sealer.OpenKey(old, k.APIKey); err != nil {
			return nil, damaged(err)
		}
	}
	return &k, nil
}

// readLimits reads the limits of a key as they are stored: the members that are set, as
// JSON; NULL without any.
func readLimits(text *string) (l callbackd.KeyLimits, err error) {
	if text != nil {
		err = json.Unmarshal([]byte(*text), &l)
	}
	return l, err
}

// limitsColumn is the reverse of readLimits.
func limitsColumn(l callbackd.KeyLimits) (any, error) {
	if l == (callbackd.KeyLimits{}) {
		return nil, nil
	}
	text, err := json.Marshal(l)
	return string(text), err
}

// retentionColumn returns how a key's retention is stored: milliseconds, or NULL without one.
func retentionColumn(k *callbackd.Key) any {
	if k.Retention == 0 {
		return nil
	}
	return k.Retention.Milliseconds()
}

// changeSettings makes a change of keys or callbacks, and then drops from the cache what
// it may have changed, also when it is unknown whether the commit was made.
func (s *Store) changeSettings(ctx context.Context, mode Mode, f func(Tx) error, drop func()) error {
	err := s.db.Write(ctx, mode|Settings, f)
	drop()
	return err
}

// CreateKey is part of store.Keys.
func (s *Store) CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return k, err
	}
	err = s.db.Write(ctx, Settings, func(tx Tx) error {
		store.Made(ctx, &k)
		if err := s.insertKey(tx, &k); err != nil {
			return err
		}
		return audit.Write(tx, callbackd.AuditEntry{Key: k.ID, Action: callbackd.AuditKeyCreated, Subject: k.APIKey}, nil, k.AuditState(audit.Digest(k.ID)))
	})
	return k, err
}

// insertKey stores a new key and sets its ID.
func (s *Store) insertKey(tx Tx, k *callbackd.Key) error {
	sealed, err := s.sealer.Key(*k)
	if err != nil {
		return err
	}
	limits, err := limitsColumn(k.Limits)
	if err != nil {
		return err
	}
	k.ID = 0
	err = tx.Query("INSERT INTO keys (account, api_key, secret, name, live, created_at, time_frame, capture_url, expires_at, limits, callback_policy, retention, retention_events"+s.d.RevisionColumn+
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13"+s.d.RevisionValue+") ON CONFLICT DO NOTHING RETURNING no",
		func(row Row) error { return row.Scan(&k.ID) },
		k.Account, k.APIKey, sealed, k.Name, k.Live, k.CreatedAt, k.SessionTimeFrame().Milliseconds(), string(k.CaptureURL), k.ExpiresAt, limits, textOrNull(k.CallbackPolicy), retentionColumn(k), textOrNull(k.RetentionEvents))
	if err == nil && k.ID == 0 {
		err = callbackd.Errorf(callbackd.KindConflict, "the API key %s exists already", k.APIKey)
	}
	return err
}

// ListKeys is part of store.Keys.
func (s *Store) ListKeys(ctx context.Context) (keys []callbackd.Key, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		keys = nil
		return tx.Query("SELECT "+keyColumns+" FROM keys ORDER BY no", func(row Row) error {
			k, err := s.scanKey(row)
			if err == nil {
				keys = append(keys, *k)
			}
			return err
		})
	})
	return keys, err
}

// ChangeKey is part of store.Keys.
func (s *Store) ChangeKey(ctx context.Context, apiKey string, change func(*callbackd.Key) error) error {
	if !storable(apiKey) {
		return noKey(apiKey)
	}
	audit, err := s.Auditor(ctx)
	if err != nil {
		return err
	}
	return s.changeSettings(ctx, Repeatable, func(tx Tx) error {
		k, err := s.readKey(tx, "api_key = $1", apiKey)
		if err != nil {
			return err
		}
		if k == nil {
			return noKey(apiKey)
		}
		before := *k
		store.Made(ctx, k)
		if err := change(k); err != nil || *k == before {
			return err
		}
		if err := s.updateKey(tx, k); err != nil {
			return err
		}
		digest := audit.Digest(k.ID)
		return audit.Write(tx, callbackd.AuditEntry{Key: k.ID, Action: callbackd.AuditActionOfKey(&before, k), Subject: k.APIKey}, before.AuditState(digest), k.AuditState(digest))
	}, s.DropKeys)
}

// updateKey writes what a change may have made of a key.
func (s *Store) updateKey(tx Tx, k *callbackd.Key) error {
	secret, err := s.sealer.Key(*k)
	if err != nil {
		return err
	}
	var old any // NULL without one
	if !k.OldUntil.IsZero() {
		if old, err = s.sealer.Key(callbackd.Key{APIKey: k.APIKey, Secret: k.OldSecret}); err != nil {
			return err
		}
	}
	limits, err := limitsColumn(k.Limits)
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE keys SET secret = $2, old_secret = $3, old_until = $4, capture_url = $5, revoked_at = $6, name = $7, time_frame = $8, expires_at = $9, limits = $10, callback_policy = $11, retention = $12, retention_events = $13"+s.d.SetRevision+" WHERE no = $1",
		k.ID, secret, old, k.OldUntil, k.CaptureURL, k.RevokedAt, k.Name, k.SessionTimeFrame().Milliseconds(), k.ExpiresAt, limits, textOrNull(k.CallbackPolicy), retentionColumn(k), textOrNull(k.RetentionEvents))
	return err
}

// readKey reads the key that where names; nil when there is none.
func (s *Store) readKey(tx Tx, where string, arg any) (k *callbackd.Key, err error) {
	err = tx.Query("SELECT "+keyColumns+" FROM keys WHERE "+where, func(row Row) (err error) {
		k, err = s.scanKey(row)
		return err
	}, arg)
	return k, err
}

func noKey(apiKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", apiKey)
}

var errNoKey = callbackd.Errorf(callbackd.KindNotFound, "there is no such API key")

// Key is part of store.Keys.
func (s *Store) Key(ctx context.Context, apiKey string) (*callbackd.Key, error) {
	if !storable(apiKey) {
		return nil, errNoKey
	}
	return s.cachedKey(ctx, apiKey, 0)
}

// KeyByID is part of store.Keys.
func (s *Store) KeyByID(ctx context.Context, id callbackd.KeyID) (*callbackd.Key, error) {
	if id == 0 {
		return nil, errNoKey
	}
	return s.cachedKey(ctx, "", id)
}

// cachedKey returns a key by its text, or by its ID when that is not 0.
func (s *Store) cachedKey(ctx context.Context, apiKey string, id callbackd.KeyID) (*callbackd.Key, error) {
	if err := s.db.Refresh(ctx); err != nil {
		return nil, err
	}
	key, drops, ok := s.cache.key(apiKey, id)
	if ok {
		return key, nil
	}
	where, arg := "api_key = $1", any(apiKey)
	if id != 0 {
		where, arg = "no = $1", id
	}
	err := s.db.ReadSettings(ctx, func(tx Tx) (err error) {
		key, err = s.readKey(tx, where, arg)
		return err
	})
	if err != nil {
		return nil, err
	}
	if key == nil && id == 0 {
		return nil, noKey(apiKey)
	}
	if key == nil {
		return nil, errNoKey
	}
	s.cache.putKey(key, drops)
	return key, nil
}
