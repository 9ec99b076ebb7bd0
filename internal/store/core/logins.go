package core

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const loginColumns = "hash, key_no, link, proof, created_at, expires_at, role, return_to, lasts"

func scanLogin(row Row) (*store.Login, error) {
	var l store.Login
	var hash, proof []byte
	err := row.Scan(&hash, &l.Key, &l.Link, &proof, &l.CreatedAt, &l.ExpiresAt, &l.Customer.Role, &l.Customer.ReturnTo, &l.Customer.Lasts)
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
		store.Made(ctx, &l)
		if !l.Link {
			others, most := "role = ''", store.MaxLogins
			if l.Customer.Role != "" {
				others, most = "role <> ''", store.MaxCustomerLogins
			}
			_, err := tx.Exec("DELETE FROM logins WHERE hash IN (SELECT hash FROM logins WHERE key_no = $1 AND NOT link AND "+others+" ORDER BY created_at DESC LIMIT 1000 OFFSET $2"+s.d.SkipLocked+")",
				l.Key, most-1)
			if err != nil {
				return err
			}
		}
		// The hash is random: a row that has it is from a commit of this
		// command that was not answered.
		n, err := tx.Exec("INSERT INTO logins ("+loginColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
			l.Hash[:], l.Key, l.Link, l.Proof[:], l.CreatedAt, l.ExpiresAt, l.Customer.Role, l.Customer.ReturnTo, l.Customer.Lasts)
		if err != nil || n == 0 {
			return err
		}
		action := callbackd.AuditSignedIn
		switch {
		case l.Link:
			action = callbackd.AuditLinkCreated
		case l.Customer.Role != "":
			action = callbackd.AuditLinkUsed
		}
		return audit.Write(tx, callbackd.AuditEntry{Key: l.Key, Action: action}, nil, l.Customer.AuditState())
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
