package sqlite

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

const loginColumns = "hash, key_no, link, proof, created_at, expires_at"

func scanLogin(st *sqlite3.Stmt) *store.Login {
	l := &store.Login{Key: callbackd.KeyID(st.ColumnInt64(1)), Link: st.ColumnBool(2), CreatedAt: columnTime(st, 4), ExpiresAt: columnTime(st, 5)}
	copy(l.Hash[:], st.ColumnRawBlob(0))
	copy(l.Proof[:], st.ColumnRawBlob(3))
	return l
}

var errNoLogin = callbackd.Errorf(callbackd.KindNotFound, "nobody is signed in with this")

// CreateLogin is part of [store.Logins].
func (s *Store) CreateLogin(ctx context.Context, l store.Login) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM logins WHERE expires_at <= ?", l.CreatedAt); err != nil {
			return err
		}
		if !l.Link {
			err := t.query("DELETE FROM logins WHERE hash IN (SELECT hash FROM logins WHERE key_no = ? AND link = 0 ORDER BY created_at DESC LIMIT -1 OFFSET ?)", nil, int64(l.Key), store.MaxLogins-1)
			if err != nil {
				return err
			}
		}
		return t.query("INSERT INTO logins ("+loginColumns+") VALUES (?, ?, ?, ?, ?, ?)", nil,
			l.Hash[:], int64(l.Key), l.Link, l.Proof[:], l.CreatedAt, l.ExpiresAt)
	})
}

// Login is part of [store.Logins].
func (s *Store) Login(ctx context.Context, hash [32]byte, now time.Time) (l *store.Login, err error) {
	err = s.read(ctx, func(d *db) error {
		return d.query("SELECT "+loginColumns+" FROM logins WHERE hash = ? AND link = 0 AND expires_at > ?",
			func(st *sqlite3.Stmt) error { l = scanLogin(st); return nil }, hash[:], now)
	})
	if err == nil && l == nil {
		err = errNoLogin
	}
	return l, err
}

// TakeLink is part of [store.Logins].
func (s *Store) TakeLink(ctx context.Context, hash [32]byte, now time.Time) (*store.Login, error) {
	var l *store.Login
	err := s.write(ctx, func(t *tx) error {
		l = nil
		return t.query("DELETE FROM logins WHERE hash = ? AND link = 1 AND expires_at > ? RETURNING "+loginColumns,
			func(st *sqlite3.Stmt) error { l = scanLogin(st); return nil }, hash[:], now)
	})
	if err == nil && l == nil {
		err = errNoLogin
	}
	return l, err
}

// DeleteLogin is part of [store.Logins].
func (s *Store) DeleteLogin(ctx context.Context, hash [32]byte) error {
	return s.write(ctx, func(t *tx) error {
		return t.query("DELETE FROM logins WHERE hash = ?", nil, hash[:])
	})
}
