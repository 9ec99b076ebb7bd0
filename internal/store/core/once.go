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
	a, err := s.SealAnswer(o)
	if err != nil {
		return err
	}
	n, err := tx.Exec("INSERT INTO answers (key_no, hash, digest, at, status, answer) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		o.Key, o.Hash, a.Digest, o.At, a.Status, a.Sealed)
	if err == nil && n == 0 {
		err = ErrRace
	}
	return err
}

// StoredAnswer is an answer as its row has it.
type StoredAnswer struct {
	Digest []byte
	Status int
	Sealed []byte // its body
}

// erasedAnswer is the status of an answer that was erased. Its idempotency key stays, so
// that a late repeat of the call does not bring the data back.
const erasedAnswer = 0

// SealAnswer returns the row of the answer of a command that has been run.
func (s *Store) SealAnswer(o *store.Once) (*StoredAnswer, error) {
	a, err := o.Answer()
	if err != nil {
		return nil, err
	}
	sealed, err := s.sealer.Answer(o.Key, o.Hash, a.Body)
	return &StoredAnswer{Digest: o.Digest, Status: a.Status, Sealed: sealed}, err
}

// Again returns the error of a command whose idempotency key has an answer.
func (s *Store) Again(o *store.Once, a *StoredAnswer) error {
	if a.Status == erasedAnswer {
		return store.ErrErasedAnswer
	}
	body, err := s.sealer.OpenAnswer(a.Sealed, o.Key, o.Hash)
	if err != nil {
		return damaged(err)
	}
	return o.Again(a.Digest, store.Answer{Status: a.Status, Body: body})
}

// answered returns the error of a command whose idempotency key has an answer.
func (s *Store) answered(tx Tx, o *store.Once) error {
	var a StoredAnswer
	err := tx.Query("SELECT digest, status, answer FROM answers WHERE key_no = $1 AND hash = $2", func(row Row) error {
		return row.Scan(&a.Digest, &a.Status, &a.Sealed)
	}, o.Key, o.Hash)
	if err != nil || a.Digest == nil {
		return err
	}
	return s.Again(o, &a)
}

// damaged marks the error of a row that cannot be read. A driver would otherwise take it
// for a fault of the connection and try again.
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
