package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

const loginColumns = "hash, key_no, link, proof, created_at, expires_at"

func scanLogin(row pgx.CollectableRow) (l *store.Login, err error) {
	l = &store.Login{}
	var hash, proof []byte
	var created, expires int64
	err = row.Scan(&hash, (*int64)(&l.Key), &l.Link, &proof, &created, &expires)
	copy(l.Hash[:], hash)
	copy(l.Proof[:], proof)
	l.CreatedAt, l.ExpiresAt = fromMillis(created), fromMillis(expires)
	return l, err
}

// oneLogin reads the login that a statement gives.
func oneLogin(ctx context.Context, q querier, sql string, args ...any) (*store.Login, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	l, err := pgx.CollectExactlyOneRow(rows, scanLogin)
	if err == pgx.ErrNoRows {
		err = callbackd.Errorf(callbackd.KindNotFound, "nobody is signed in with this")
	}
	return l, err
}

// CreateLogin is part of [store.Logins].
func (s *Store) CreateLogin(ctx context.Context, l store.Login) error {
	return s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM logins WHERE hash = ANY (ARRAY (SELECT hash FROM logins WHERE expires_at <= $1 ORDER BY hash FOR UPDATE SKIP LOCKED))", millis(l.CreatedAt))
		if err != nil {
			return err
		}
		if !l.Link {
			_, err = tx.Exec(ctx, "DELETE FROM logins WHERE hash = ANY (ARRAY (SELECT hash FROM logins WHERE key_no = $1 AND NOT link ORDER BY created_at DESC OFFSET $2 FOR UPDATE SKIP LOCKED))", int64(l.Key), store.MaxLogins-1)
			if err != nil {
				return err
			}
		}
		// Its hash is random: a row that is there is from a commit that was
		// not answered.
		_, err = tx.Exec(ctx, "INSERT INTO logins ("+loginColumns+") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
			l.Hash[:], int64(l.Key), l.Link, l.Proof[:], millis(l.CreatedAt), millis(l.ExpiresAt))
		return err
	})
}

// Login is part of [store.Logins].
func (s *Store) Login(ctx context.Context, hash [32]byte, now time.Time) (l *store.Login, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		l, err = oneLogin(ctx, conn, "SELECT "+loginColumns+" FROM logins WHERE hash = $1 AND NOT link AND expires_at > $2", hash[:], millis(now))
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// TakeLink is part of [store.Logins].
func (s *Store) TakeLink(ctx context.Context, hash [32]byte, now time.Time) (l *store.Login, err error) {
	err = s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) (err error) {
		l, err = oneLogin(ctx, tx, "DELETE FROM logins WHERE hash = $1 AND link AND expires_at > $2 RETURNING "+loginColumns, hash[:], millis(now))
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// DeleteLogin is part of [store.Logins].
func (s *Store) DeleteLogin(ctx context.Context, hash [32]byte) error {
	return s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM logins WHERE hash = $1", hash[:])
		return err
	})
}
