package sqlite

import (
	"context"
	"errors"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/memo"

	"github.com/ncruces/go-sqlite3"
)

const keyColumns = "no, account, api_key, secret, name, live, created_at, revoked_at, time_frame, old_secret, old_until, capture_url"

func (s *Store) scanKey(st *sqlite3.Stmt) (*callbackd.Key, error) {
	k := &callbackd.Key{
		ID: callbackd.KeyID(st.ColumnInt64(0)), Account: st.ColumnText(1), APIKey: st.ColumnText(2),
		Name: st.ColumnText(4), Live: st.ColumnBool(5), CreatedAt: columnTime(st, 6), RevokedAt: columnTime(st, 7),
		TimeFrame: time.Duration(st.ColumnInt64(8)) * time.Millisecond, CaptureURL: callbackd.CaptureTemplate(st.ColumnText(11)),
	}
	var err error
	k.Secret, err = s.sealer.OpenKey(st.ColumnRawBlob(3), k.APIKey)
	if err == nil && st.ColumnType(9) != sqlite3.NULL {
		k.OldUntil = columnTime(st, 10)
		k.OldSecret, err = s.sealer.OpenKey(st.ColumnRawBlob(9), k.APIKey)
	}
	return k, err
}

// CreateKey is part of [store.Keys].
func (s *Store) CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error) {
	sealed, err := s.sealer.Key(k)
	if err != nil {
		return k, err
	}
	err = s.write(ctx, func(t *tx) error {
		err := t.query("INSERT INTO keys ("+keyColumns+") VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL, ?, NULL, NULL, ?)", nil,
			k.Account, k.APIKey, sealed, k.Name, k.Live, k.CreatedAt, k.SessionTimeFrame().Milliseconds(), string(k.CaptureURL))
		if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			return callbackd.Errorf(callbackd.KindConflict, "the API key %s exists already", k.APIKey)
		}
		k.ID = callbackd.KeyID(t.conn.LastInsertRowID())
		return err
	})
	return k, err
}

// ListKeys is part of [store.Keys].
func (s *Store) ListKeys(ctx context.Context) (keys []callbackd.Key, err error) {
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+keyColumns+" FROM keys ORDER BY no", func(st *sqlite3.Stmt) error {
			k, err := s.scanKey(st)
			if err == nil {
				keys = append(keys, *k)
			}
			return err
		})
	})
	return keys, err
}

// RevokeKey is part of [store.Keys].
func (s *Store) RevokeKey(ctx context.Context, apiKey string, at time.Time) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE api_key = ?", at, apiKey)
		if err != nil {
			return err
		}
		if n == 0 {
			return noKey(apiKey)
		}
		t.after = append(t.after, s.forgetKeys)
		return nil
	})
}

// forgetKeys makes every key be read again.
func (s *Store) forgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = memo.New[string, agedKey](maxKeys)
	s.keysByID = memo.New[callbackd.KeyID, agedKey](maxKeys)
}

// RotateKey is part of [store.Keys].
func (s *Store) RotateKey(ctx context.Context, apiKey string, next callbackd.Secret, keep time.Time) error {
	sealed, err := s.sealer.Key(callbackd.Key{APIKey: apiKey, Secret: next})
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE keys SET old_secret = secret, old_until = ?, secret = ? WHERE api_key = ? AND revoked_at IS NULL", keep, sealed, apiKey)
		if err != nil || n == 1 {
			t.after = append(t.after, s.forgetKeys)
			return err
		}
		err = noKey(apiKey)
		return errors.Join(t.query("SELECT 1 FROM keys WHERE api_key = ?", func(*sqlite3.Stmt) error {
			err = callbackd.Errorf(callbackd.KindConflict, "the API key %s is revoked", apiKey)
			return nil
		}, apiKey), err)
	})
}

// SetCaptureURL is part of [store.Keys].
func (s *Store) SetCaptureURL(ctx context.Context, apiKey string, t callbackd.CaptureTemplate) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec("UPDATE keys SET capture_url = ? WHERE api_key = ?", string(t), apiKey)
		if err == nil && n == 0 {
			err = noKey(apiKey)
		}
		tx.after = append(tx.after, s.forgetKeys)
		return err
	})
}

func noKey(apiKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", apiKey)
}

// Key is part of [store.Keys].
func (s *Store) Key(ctx context.Context, apiKey string) (*callbackd.Key, error) {
	s.mu.Lock()
	k, ok := s.keys.Get(apiKey)
	s.mu.Unlock()
	if ok && time.Since(k.at) < store.MaxKeyAge {
		return k.key, nil
	}
	return s.readKey(ctx, "SELECT "+keyColumns+" FROM keys WHERE api_key = ?", apiKey)
}

// KeyByID is part of [store.Keys].
func (s *Store) KeyByID(ctx context.Context, no callbackd.KeyID) (*callbackd.Key, error) {
	s.mu.Lock()
	k, ok := s.keysByID.Get(no)
	s.mu.Unlock()
	if ok && time.Since(k.at) < store.MaxKeyAge {
		return k.key, nil
	}
	return s.readKey(ctx, "SELECT "+keyColumns+" FROM keys WHERE no = ?", int64(no))
}

// readKey reads a key, and keeps it for MaxKeyAge.
func (s *Store) readKey(ctx context.Context, sql string, arg any) (*callbackd.Key, error) {
	now := time.Now() // before the read, so that the age is never understated
	var key *callbackd.Key
	err := s.read(ctx, func(d *db) error {
		return d.query(sql, func(st *sqlite3.Stmt) (err error) { key, err = s.scanKey(st); return err }, arg)
	})
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "there is no such API key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.Put(key.APIKey, agedKey{key, now})
	s.keysByID.Put(key.ID, agedKey{key, now})
	return key, nil
}

// ended tells whether nothing is owed to the callback any more: it was
// deleted, or its key revoked.
func (s *Store) ended(ctx context.Context, no callbackd.CallbackID) (bool, error) {
	cb, err := s.CallbackByID(ctx, no)
	return err != nil || cb.Deleted(), err
}
