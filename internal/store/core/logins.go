package core

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const loginColumns = "hash, key_no, link, proof, created_at, expires_at"

func scanLogin(row Row) (*store.Login, error) {
	var l store.Login
	var hash, proof []byte
	err := row.Scan(&hash, &l.Key, &l.Link, &proof, &l.CreatedAt, &l.ExpiresAt)
	copy(l.Hash[:], hash)
	copy(l.Proof[:], proof)
	return &l, err
}

// oneLogin reads the login that a statement returns.
func oneLogin(tx Tx, sql string, args ...any) (login *store.Login, err error) {
	err = tx.Query(sql, func(row Row) error {
		login, err = scanLogin(row)
		return err
	}, args...)
	if err == nil && login == nil {
		err = callbackd.Errorf(callbackd.KindNotFound, "no login has this token")
	}
	return login, err
}

// CreateLogin is part of [store.Logins].
func (s *Store) CreateLogin(ctx context.Context, l store.Login) error {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, Repeatable, func(tx Tx) error {
		_, err := tx.Exec("DELETE FROM logins WHERE hash IN (SELECT hash FROM logins WHERE expires_at <= $1"+s.d.SkipLocked+")", l.CreatedAt)
		if err != nil {
			return err
		}
		if !l.Link {
			_, err := tx.Exec("DELETE FROM logins WHERE hash IN (SELECT hash FROM logins WHERE key_no = $1 AND NOT link ORDER BY created_at DESC LIMIT 1000 OFFSET $2"+s.d.SkipLocked+")",
				l.Key, store.MaxLogins-1)
			if err != nil {
				return err
			}
		}
		// The hash is random: a row that has it is from a commit of this
		// command that was not answered.
		n, err := tx.Exec("INSERT INTO logins ("+loginColumns+") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
			l.Hash[:], l.Key, l.Link, l.Proof[:], l.CreatedAt, l.ExpiresAt)
		if err != nil || n == 0 {
			return err
		}
		action := callbackd.AuditSignedIn
		if l.Link {
			action = callbackd.AuditLinkCreated
		}
		return audit.Write(tx, callbackd.AuditEntry{Key: l.Key, Action: action}, nil, nil)
	})
}

// Login is part of [store.Logins].
func (s *Store) Login(ctx context.Context, hash [32]byte, now time.Time) (login *store.Login, err error) {
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		login, err = oneLogin(tx, "SELECT "+loginColumns+" FROM logins WHERE hash = $1 AND NOT link AND expires_at > $2", hash[:], now)
		return err
	})
	return login, err
}

// TakeLogin is part of [store.Logins].
func (s *Store) TakeLogin(ctx context.Context, hash [32]byte) (login *store.Login, err error) {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, 0, func(tx Tx) (err error) {
		login, err = oneLogin(tx, "DELETE FROM logins WHERE hash = $1 RETURNING "+loginColumns, hash[:])
		if err != nil || login.Link { // a link that is taken leads to a login
			return err
		}
		return audit.Write(tx, callbackd.AuditEntry{Key: login.Key, Action: callbackd.AuditSignedOut}, nil, nil)
	})
	return login, err
}
