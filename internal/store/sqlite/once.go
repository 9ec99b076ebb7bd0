package sqlite

import (
	"context"
	"time"

	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// once is a command that runs unless its idempotency key has an answer. The
// answer is written with what the command changes.
func (s *Store) once(o *store.Once, run func(*tx) error) func(*tx) error {
	return func(t *tx) error {
		if err := s.answered(t.db, o); err != nil {
			return err
		}
		if err := run(t); err != nil {
			return err
		}
		a, err := o.Answer()
		if err != nil {
			return err
		}
		sealed, err := s.sealer.Answer(o.Key, o.Hash, a.Body)
		if err != nil {
			return err
		}
		return t.query("INSERT INTO answers (key_no, hash, digest, at, status, answer) VALUES (?, ?, ?, ?, ?, ?)", nil, int64(o.Key), o.Hash, o.Digest, o.At, a.Status, sealed)
	}
}

// answered is the error of a command whose idempotency key has an answer.
func (s *Store) answered(d *db, o *store.Once) (err error) {
	fault := d.query("SELECT digest, status, answer FROM answers WHERE key_no = ? AND hash = ?", func(st *sqlite3.Stmt) error {
		body, fault := s.sealer.OpenAnswer(st.ColumnRawBlob(2), o.Key, o.Hash)
		if fault != nil {
			return fault
		}
		err = o.Again(st.ColumnRawBlob(0), store.Answer{Status: st.ColumnInt(1), Body: body})
		return nil
	}, int64(o.Key), o.Hash)
	if fault != nil {
		return fault
	}
	return err
}

// Answered is part of [store.Answers].
func (s *Store) Answered(ctx context.Context, o *store.Once) error {
	return s.read(ctx, func(d *db) error { return s.answered(d, o) })
}

// SweepAnswers is part of [store.Answers].
func (s *Store) SweepAnswers(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.write(ctx, func(t *tx) error {
		n := t.conn.TotalChanges()
		err := t.query("DELETE FROM answers WHERE (key_no, hash) IN (SELECT key_no, hash FROM answers WHERE at < ? ORDER BY at LIMIT ?)", nil, before, limit)
		removed = int(t.conn.TotalChanges() - n)
		return err
	})
	return removed, err
}
