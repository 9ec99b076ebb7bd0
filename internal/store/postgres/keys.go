package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/memo"

	"github.com/jackc/pgx/v5"
)

// Every change of a key or a callback begins with nextRevision, which locks
// the row, and gives the rows it changes thisRevision.
const (
	nextRevision = "UPDATE settings SET revision = revision + 1"
	thisRevision = "(SELECT revision FROM settings)"
)

// changeSettings runs f in a transaction in which no other node changes
// settings, and then drops from the caches what forget names.
func (s *Store) changeSettings(ctx context.Context, idempotent bool, f func(context.Context, pgx.Tx) error, forget func()) error {
	err := s.change(ctx, idempotent, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, nextRevision); err != nil {
			return err
		}
		return f(ctx, tx)
	})
	s.forget(forget) // also when it is not known whether it was made
	return err
}

func (s *Store) forget(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	f()
}

func (s *Store) forgetKeys() {
	s.keys, s.keysByID = memo.New[string, *callbackd.Key](maxKeys), memo.New[callbackd.KeyID, *callbackd.Key](maxKeys)
	s.callbacks = memo.New[callbackd.CallbackID, *callbackd.Callback](maxCallbacks)
}

// asking is one question for the revision. All who wait for it share its
// answer: when there is none, nobody waits for longer than one of them takes.
type asking struct {
	done chan struct{}
	err  error
}

// refresh makes sure that the caches hold nothing that was changed more than
// MaxKeyAge ago, here or by another node: it asks, at most once in that time
// and whatever the number of entries, for the settings with a newer revision.
func (s *Store) refresh(ctx context.Context) error {
	for range 2 { // a question that is under way may have been put too long ago
		s.mu.Lock()
		if s.isFresh() {
			s.mu.Unlock()
			return nil
		}
		a, mine := s.asking, false
		if a == nil {
			a, mine = &asking{done: make(chan struct{})}, true
			s.asking = a
			go s.ask(context.WithoutCancel(ctx), a, s.revision, s.renewals)
		}
		s.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return answer(ctx.Err(), again)
		}
		if a.err != nil || mine {
			return a.err
		}
	}
	return nil
}

// ask answers a question of those who know the settings up to a revision, and
// who were told so many times to ask again.
func (s *Store) ask(ctx context.Context, a *asking, known int64, renewals uint64) {
	defer close(a.done)
	var callbacks []callbackd.CallbackID
	var keys bool
	var revision int64
	now := time.Now() // before the read, so that the age is never understated
	a.err = s.readOn(ctx, s.settings, func(ctx context.Context, conn *pgx.Conn) error {
		callbacks, keys = nil, false
		var p pipeline
		p.add("SELECT revision FROM settings", func(row pgx.CollectableRow) error { return row.Scan(&revision) })
		p.add("SELECT no FROM callbacks WHERE revision > $1", func(row pgx.CollectableRow) error {
			var no int64
			err := row.Scan(&no)
			callbacks = append(callbacks, callbackd.CallbackID(no))
			return err
		}, known)
		p.add("SELECT EXISTS (SELECT 1 FROM keys WHERE revision > $1)", func(row pgx.CollectableRow) error { return row.Scan(&keys) }, known)
		return p.run(ctx, conn)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = nil
	if a.err != nil {
		return
	}
	if s.renewals == renewals { // else the change may have come after the read
		s.checkedAt = now
	}
	if revision == known {
		return
	}
	// What was read after the first statement may be newer than revision: it
	// is dropped now and once more by the next refresh.
	s.revision = revision
	s.changes++
	for _, no := range callbacks {
		s.callbacks.Drop(no)
	}
	if keys || revision < known { // another server took over, without the last changes
		s.forgetKeys()
	}
}

// Renew is part of [store.Cluster].
func (s *Store) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewals++
	s.checkedAt = time.Time{}
}

// isFresh is called with mu held.
func (s *Store) isFresh() bool {
	return time.Since(s.checkedAt) < store.MaxKeyAge
}

const keyColumns = "no, account, api_key, secret, name, live, created_at, revoked_at, time_frame, old_secret, old_until, capture_url"

func (s *Store) scanKey(row pgx.CollectableRow) (*callbackd.Key, error) {
	var k callbackd.Key
	var no, created, frame int64
	var revoked, oldUntil *int64
	var secret, old []byte
	if err := row.Scan(&no, &k.Account, &k.APIKey, &secret, &k.Name, &k.Live, &created, &revoked, &frame, &old, &oldUntil, (*string)(&k.CaptureURL)); err != nil {
		return nil, err
	}
	k.ID, k.CreatedAt, k.RevokedAt = callbackd.KeyID(no), fromMillis(created), fromNullMillis(revoked)
	k.TimeFrame, k.OldUntil = time.Duration(frame)*time.Millisecond, fromNullMillis(oldUntil)
	var err error
	k.Secret, err = s.sealer.OpenKey(secret, k.APIKey)
	if err == nil && old != nil {
		k.OldSecret, err = s.sealer.OpenKey(old, k.APIKey)
	}
	return &k, damaged(err)
}

// damaged marks a row that cannot be read as no fault of the connection.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return callbackd.Wrap(callbackd.KindInternal, err, "a row of the database cannot be read")
}

// CreateKey is part of [store.Keys].
func (s *Store) CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error) {
	sealed, err := s.sealer.Key(k)
	if err != nil {
		return k, err
	}
	var no int64
	err = s.changeSettings(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "INSERT INTO keys (account, api_key, secret, name, live, created_at, time_frame, capture_url, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, "+thisRevision+") RETURNING no",
			k.Account, k.APIKey, sealed, k.Name, k.Live, millis(k.CreatedAt), k.SessionTimeFrame().Milliseconds(), string(k.CaptureURL)).Scan(&no)
		if violates(err) == "keys_api_key_key" {
			return callbackd.Errorf(callbackd.KindConflict, "the API key %s exists already", k.APIKey)
		}
		return err
	}, func() {})
	k.ID = callbackd.KeyID(no)
	return k, err
}

// ListKeys is part of [store.Keys].
func (s *Store) ListKeys(ctx context.Context) (keys []callbackd.Key, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		keys = nil
		return each(ctx, conn, "SELECT "+keyColumns+" FROM keys ORDER BY no", func(row pgx.CollectableRow) error {
			k, err := s.scanKey(row)
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
	return s.changeSettings(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		var no int64
		err := tx.QueryRow(ctx, "UPDATE keys SET revoked_at = coalesce(revoked_at, $2), revision = "+thisRevision+" WHERE api_key = $1 RETURNING no", apiKey, millis(at)).Scan(&no)
		if err == pgx.ErrNoRows {
			return noKey(apiKey)
		}
		return err
	}, s.forgetKeys)
}

func noKey(apiKey string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", apiKey)
}

// RotateKey is part of [store.Keys].
func (s *Store) RotateKey(ctx context.Context, apiKey string, next callbackd.Secret, keep time.Time) error {
	sealed, err := s.sealer.Key(callbackd.Key{APIKey: apiKey, Secret: next})
	if err != nil {
		return err
	}
	return s.changeSettings(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		var revoked bool
		err := tx.QueryRow(ctx, "SELECT revoked_at IS NOT NULL FROM keys WHERE api_key = $1", apiKey).Scan(&revoked)
		switch {
		case err == pgx.ErrNoRows:
			return noKey(apiKey)
		case err != nil:
			return err
		case revoked:
			return callbackd.Errorf(callbackd.KindConflict, "the API key %s is revoked", apiKey)
		}
		_, err = tx.Exec(ctx, "UPDATE keys SET old_secret = secret, old_until = $2, secret = $3, revision = "+thisRevision+" WHERE api_key = $1", apiKey, millis(keep), sealed)
		return err
	}, s.forgetKeys)
}

// SetCaptureURL is part of [store.Keys].
func (s *Store) SetCaptureURL(ctx context.Context, apiKey string, t callbackd.CaptureTemplate) error {
	return s.changeSettings(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE keys SET capture_url = $2, revision = "+thisRevision+" WHERE api_key = $1", apiKey, string(t))
		if err == nil && tag.RowsAffected() == 0 {
			return noKey(apiKey)
		}
		return err
	}, s.forgetKeys)
}

// Key is part of [store.Keys].
func (s *Store) Key(ctx context.Context, apiKey string) (*callbackd.Key, error) {
	if textIsKept(apiKey) != nil {
		return nil, errNoKey
	}
	return s.cachedKey(ctx, func() (*callbackd.Key, bool) { return s.keys.Get(apiKey) }, "api_key = $1", apiKey)
}

// KeyByID is part of [store.Keys].
func (s *Store) KeyByID(ctx context.Context, no callbackd.KeyID) (*callbackd.Key, error) {
	return s.cachedKey(ctx, func() (*callbackd.Key, bool) { return s.keysByID.Get(no) }, "no = $1", int64(no))
}

var errNoKey = callbackd.Errorf(callbackd.KindNotFound, "there is no such API key")

func (s *Store) cachedKey(ctx context.Context, known func() (*callbackd.Key, bool), where string, arg any) (*callbackd.Key, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	key, ok := known()
	changes := s.changes
	s.mu.Unlock()
	if ok {
		return key, nil
	}
	err := s.readOn(ctx, s.settings, func(ctx context.Context, conn *pgx.Conn) error {
		return each(ctx, conn, "SELECT "+keyColumns+" FROM keys WHERE "+where, func(row pgx.CollectableRow) (err error) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes {
		s.keys.Put(key.APIKey, key)
		s.keysByID.Put(key.ID, key)
	}
	return key, nil
}

// each calls f for each row of a query.
func each(ctx context.Context, q querier, sql string, f func(pgx.CollectableRow) error, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// millis is a time as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// notEarlier is millis rounded up: what waits must not be due before its time.
func notEarlier(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// nullMillis is millis for a column in which the zero time is null.
func nullMillis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func fromNullMillis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return fromMillis(*ms)
}
