package core

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
)

const keyColumns = "no, account, api_key, secret, name, live, created_at, revoked_at, time_frame, old_secret, old_until, capture_url"

func (s *Store) scanKey(row Row) (*callbackd.Key, error) {
	var k callbackd.Key
	var frame int64 // milliseconds
	var secret, old []byte
	err := row.Scan(&k.ID, &k.Account, &k.APIKey, &secret, &k.Name, &k.Live, &k.CreatedAt, &k.RevokedAt, &frame, &old, &k.OldUntil, &k.CaptureURL)
	if err != nil {
		return nil, err
	}
	k.TimeFrame = time.Duration(frame) * time.Millisecond
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

// changeSettings makes a change of keys or callbacks, and then drops from the
// cache what it may have changed: also when nobody knows whether it was made.
func (s *Store) changeSettings(ctx context.Context, mode Mode, f func(Tx) error, drop func()) error {
	err := s.db.Write(ctx, mode|Settings, f)
	drop()
	return err
}

// CreateKey is part of store.Keys.
func (s *Store) CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error) {
	sealed, err := s.sealer.Key(k)
	if err != nil {
		return k, err
	}
	err = s.db.Write(ctx, Settings, func(tx Tx) error {
		k.ID = 0
		err := tx.Query("INSERT INTO keys (account, api_key, secret, name, live, created_at, time_frame, capture_url"+s.d.RevisionColumn+
			") VALUES ($1, $2, $3, $4, $5, $6, $7, $8"+s.d.RevisionValue+") ON CONFLICT DO NOTHING RETURNING no",
			func(row Row) error { return row.Scan(&k.ID) },
			k.Account, k.APIKey, sealed, k.Name, k.Live, k.CreatedAt, k.SessionTimeFrame().Milliseconds(), string(k.CaptureURL))
		if err == nil && k.ID == 0 {
			err = callbackd.Errorf(callbackd.KindConflict, "the API key %s exists already", k.APIKey)
		}
		return err
	})
	return k, err
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

// RevokeKey is part of store.Keys.
func (s *Store) RevokeKey(ctx context.Context, apiKey string, at time.Time) error {
	return s.updateKey(ctx, apiKey, Repeatable, "revoked_at = coalesce(revoked_at, $2)", at)
}

// SetCaptureURL is part of store.Keys.
func (s *Store) SetCaptureURL(ctx context.Context, apiKey string, t callbackd.CaptureTemplate) error {
	return s.updateKey(ctx, apiKey, Repeatable, "capture_url = $2", string(t))
}

// RotateKey is part of store.Keys.
func (s *Store) RotateKey(ctx context.Context, apiKey string, next callbackd.Secret, keep time.Time) error {
	sealed, err := s.sealer.Key(callbackd.Key{APIKey: apiKey, Secret: next})
	if err != nil {
		return err
	}
	return s.changeSettings(ctx, 0, func(tx Tx) error {
		n, err := tx.Exec("UPDATE keys SET old_secret = secret, old_until = $2, secret = $3"+s.d.SetRevision+" WHERE api_key = $1 AND revoked_at IS NULL",
			apiKey, keep, sealed)
		if err != nil || n > 0 {
			return err
		}
		err = noKey(apiKey)
		fault := tx.Query("SELECT no FROM keys WHERE api_key = $1", func(Row) error {
			err = callbackd.Errorf(callbackd.KindConflict, "the API key %s is revoked", apiKey)
			return nil
		}, apiKey)
		if fault != nil {
			return fault
		}
		return err
	}, s.DropKeys)
}

// updateKey sets one column of a key to a value, $2.
func (s *Store) updateKey(ctx context.Context, apiKey string, mode Mode, set string, value any) error {
	return s.changeSettings(ctx, mode, func(tx Tx) error {
		n, err := tx.Exec("UPDATE keys SET "+set+s.d.SetRevision+" WHERE api_key = $1", apiKey, value)
		if err == nil && n == 0 {
			err = noKey(apiKey)
		}
		return err
	}, s.DropKeys)
}

func noKey(apiKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", apiKey)
}

var errNoKey = callbackd.Errorf(callbackd.KindNotFound, "there is no such API key")

// Key is part of store.Keys.
func (s *Store) Key(ctx context.Context, apiKey string) (*callbackd.Key, error) {
	if !utf8.ValidString(apiKey) || strings.Contains(apiKey, "\x00") {
		return nil, errNoKey // PostgreSQL refuses such a text
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

// cachedKey returns a key by its text, or by its number when that is not 0.
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
	err := s.db.ReadSettings(ctx, func(tx Tx) error {
		key = nil
		return tx.Query("SELECT "+keyColumns+" FROM keys WHERE "+where, func(row Row) (err error) {
			key, err = s.scanKey(row)
			return err
		}, arg)
	})
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, errNoKey
	}
	s.cache.putKey(key, drops)
	return key, nil
}
