package core

import (
	"context"

	"callbackd"
	"callbackd/internal/store"
)

// RunOnce runs f, a command inside the transaction tx, unless the idempotency
// key of ctx has an answer: then it returns [store.Repeated]. The answer is
// written with what f changes. Without an idempotency key it just runs f.
func (s *Store) RunOnce(ctx context.Context, tx Tx, f func() error) error {
	o := store.OnceOf(ctx)
	if o == nil {
		return f()
	}
	if err := s.answered(tx, o); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	answer, err := o.Answer()
	if err != nil {
		return err
	}
	sealed, err := s.sealer.Answer(o.Key, o.Hash, answer.Body)
	if err != nil {
		return err
	}
	n, err := tx.Exec("INSERT INTO answers (key_no, hash, digest, at, status, answer) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		o.Key, o.Hash, o.Digest, o.At, answer.Status, sealed)
	if err == nil && n == 0 {
		err = ErrRace
	}
	return err
}

// answered returns the error of a command whose idempotency key has an answer.
func (s *Store) answered(tx Tx, o *store.Once) error {
	var digest, sealed []byte
	var status int
	err := tx.Query("SELECT digest, status, answer FROM answers WHERE key_no = $1 AND hash = $2", func(row Row) error {
		return row.Scan(&digest, &status, &sealed)
	}, o.Key, o.Hash)
	if err != nil || digest == nil {
		return err
	}
	body, err := s.sealer.OpenAnswer(sealed, o.Key, o.Hash)
	if err != nil {
		return damaged(err)
	}
	return o.Again(digest, store.Answer{Status: status, Body: body})
}

// damaged marks the error of a row that cannot be read, so that no driver
// takes it for a fault of the connection and tries again.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return callbackd.Wrap(callbackd.KindInternal, err, "a row of the database cannot be read")
}

// Answered is part of [store.Answers].
func (s *Store) Answered(ctx context.Context, o *store.Once) error {
	return s.db.Read(ctx, func(tx Tx) error { return s.answered(tx, o) })
}
