package core

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// auditKeySize is the length of the key of the audit log, in bytes.
const auditKeySize = 32

// auditKey returns the key of the hashes in the audit log. It is made when it is first
// needed, and stored sealed: so it survives a change of the keyset, and whoever can write
// to the database alone cannot make hashes.
func (s *Store) auditKey(ctx context.Context) ([]byte, error) {
	if key := s.audits.key.Load(); key != nil {
		return *key, nil
	}
	key, err := s.readAuditKey(ctx)
	if err != nil || key != nil {
		return key, err
	}
	random := make([]byte, auditKeySize)
	rand.Read(random)
	sealed, err := s.sealer.Seal(random, auditKeyOwner)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(store.WithOnce(ctx, nil), Repeatable, func(tx Tx) error {
		n, err := tx.Exec("INSERT INTO audit_key (no, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING", sealed)
		if err != nil || n == 0 {
			return err
		}
		// With a key there is always the chain that counts the others.
		_, _, err = (&Auditor{s: s, key: random}).lockChain(tx, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.readAuditKey(ctx) // another node may have been first
}

const auditKeyOwner = "audit log"

// readAuditKey returns the stored key, and remembers it; nil when there is none.
func (s *Store) readAuditKey(ctx context.Context) (key []byte, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		key, err = s.openAuditKey(tx)
		return err
	})
	if err == nil && key != nil {
		s.audits.key.Store(&key)
	}
	return key, err
}

// errAuditKey means that the key of the audit log is sealed with a key that is not there.
var errAuditKey = errors.New("the key of the audit log does not open")

func (s *Store) openAuditKey(tx Tx) (key []byte, err error) {
	err = tx.Query("SELECT sealed FROM audit_key WHERE no = 1", func(row Row) error {
		var sealed []byte
		if err := row.Scan(&sealed); err != nil {
			return err
		}
		if key, err = s.sealer.Unseal(sealed, auditKeyOwner); err != nil {
			return damaged(fmt.Errorf("%w: %w", errAuditKey, err))
		}
		return nil
	})
	return key, err
}

// Auditor writes the audit entries of one command.
type Auditor struct {
	s     *Store
	key   []byte
	actor callbackd.Actor
	now   time.Time
}

// Auditor returns the Auditor of a command with the actor of ctx. It is made before the
// command's transaction.
func (s *Store) Auditor(ctx context.Context) (*Auditor, error) {
	key, err := s.auditKey(ctx)
	return &Auditor{s: s, key: key, actor: store.ActorOf(ctx), now: time.Now()}, err
}

// Digest returns the function that replaces secrets of a key by hashes.
func (a *Auditor) Digest(key callbackd.KeyID) func(string) string {
	return callbackd.AuditDigest(a.key, key)
}

// Pausing audits an outcome that pauses its callback.
type Pausing struct {
	*Auditor
	Entry callbackd.AuditEntry
}

// Pausing returns what audits an outcome; nil when the outcome pauses nothing. It is made
// before the outcome's transaction.
func (s *Store) Pausing(ctx context.Context, o *callbackd.Outcome) (*Pausing, error) {
	why := o.Change.Pause
	if why == callbackd.NotPaused {
		return nil, nil
	}
	cb, err := s.CallbackByID(ctx, o.Delivery.ID.Callback)
	if err != nil {
		return nil, err
	}
	a, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	e := callbackEntry(callbackd.AuditCallbackPaused, cb)
	e.Actor = why.AuditActor(cb.URL)
	e.Before, e.After, _ = callbackd.AuditChange(callbackd.AuditState{}, callbackd.AuditState{"pause": string(why)}, a.Digest(cb.Key))
	return &Pausing{a, e}, nil
}

// Write adds an entry with the two states of what it is about. A nil state is none.
func (a *Auditor) Write(tx Tx, e callbackd.AuditEntry, before, after callbackd.AuditState) error {
	e.Before, e.After, _ = callbackd.AuditChange(before, after, a.Digest(e.Key))
	return a.Append(tx, []callbackd.AuditEntry{e})
}

// Append adds entries at the end of their chains, with the actor of the command unless
// they have one. It locks the chains. All transactions do so last, and in one order: keys
// ascending, then the chain of no key.
func (a *Auditor) Append(tx Tx, entries []callbackd.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	chains, err := a.lockChains(tx, entries)
	if err != nil {
		return err
	}
	var rows [][]any
	for i := range entries {
		e := &entries[i]
		if e.Actor.Kind == "" {
			e.Actor = a.actor
		}
		chains[e.Key].Append(a.key, e, a.now)
		rows = append(rows, auditArgs(e))
	}
	if err := tx.Batch("INSERT INTO audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", nil, rows); err != nil {
		return err
	}
	for _, key := range auditOrder(chains) {
		c := chains[key]
		if err := forgetAudit(tx, c, c.Excess()); err != nil {
			return err
		}
		if err := a.writeChain(tx, c); err != nil {
			return err
		}
	}
	return nil
}

// lockChains locks the chains of the entries' keys, always in one order, and begins those that
// there are not. That of the server is the last one, because it counts those that begin.
func (a *Auditor) lockChains(tx Tx, entries []callbackd.AuditEntry) (map[callbackd.KeyID]*callbackd.AuditChain, error) {
	chains := map[callbackd.KeyID]*callbackd.AuditChain{}
	for i := range entries {
		chains[entries[i].Key] = nil
	}
	begun := int64(0)
	for _, key := range auditOrder(chains) {
		if key == 0 {
			continue
		}
		c, isNew, err := a.lockChain(tx, key)
		if err != nil {
			return nil, err
		}
		chains[key] = c
		if isNew {
			begun++
		}
	}
	if _, has := chains[0]; has || begun > 0 {
		c, _, err := a.lockChain(tx, 0)
		if err != nil {
			return nil, err
		}
		c.Chains += begun
		chains[0] = c
	}
	return chains, nil
}

// auditOrder returns the order in which chains are locked.
func auditOrder(chains map[callbackd.KeyID]*callbackd.AuditChain) []callbackd.KeyID {
	return slices.SortedFunc(maps.Keys(chains), func(a, b callbackd.KeyID) int {
		return cmp.Compare(uint64(a)-1, uint64(b)-1) // 0 becomes the greatest
	})
}

const (
	auditColumns = "key_no, n, at, action, actor_kind, actor_name, actor_address, subject, target, old_state, new_state, hash"
	chainColumns = "key_no, first, last, start_hash, head_hash, at, chains, seal"
)

func auditArgs(e *callbackd.AuditEntry) []any {
	return []any{e.Key, e.Number, e.At, e.Action, e.Actor.Kind, e.Actor.Name, e.Actor.Address, e.Subject, e.Target, nullable(e.Before), nullable(e.After), e.Hash[:]}
}

func scanAudit(row Row) (*callbackd.AuditEntry, error) {
	var e callbackd.AuditEntry
	var hash []byte
	err := row.Scan(&e.Key, &e.Number, &e.At, &e.Action, &e.Actor.Kind, &e.Actor.Name, &e.Actor.Address, &e.Subject, &e.Target, &e.Before, &e.After, &hash)
	copy(e.Hash[:], hash)
	return &e, err
}

func scanChain(row Row) (c callbackd.AuditChain, seal callbackd.AuditHash, err error) {
	var start, head, sealed []byte
	err = row.Scan(&c.Key, &c.First, &c.Last, &start, &head, &c.At, &c.Chains, &sealed)
	copy(c.Start[:], start)
	copy(c.Head[:], head)
	copy(seal[:], sealed)
	return c, seal, err
}

// lockChain reads a chain and locks it. It begins one that does not exist.
func (a *Auditor) lockChain(tx Tx, key callbackd.KeyID) (chain *callbackd.AuditChain, isNew bool, err error) {
	read := func() error {
		return tx.Query("SELECT "+chainColumns+" FROM audit_chains WHERE key_no = $1"+a.s.d.Lock, func(row Row) error {
			c, _, err := scanChain(row)
			chain = &c
			return err
		}, key)
	}
	if err := read(); err != nil || chain != nil {
		return chain, false, err
	}
	begin := callbackd.NewAuditChain(key)
	seal := begin.Seal(a.key)
	n, err := tx.Exec("INSERT INTO audit_chains ("+chainColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
		key, begin.First, begin.Last, begin.Start[:], begin.Head[:], begin.At, begin.Chains, seal[:])
	if err != nil {
		return nil, false, err
	}
	err = read()
	return chain, n > 0, err
}

func (a *Auditor) writeChain(tx Tx, c *callbackd.AuditChain) error {
	seal := c.Seal(a.key)
	_, err := tx.Exec("UPDATE audit_chains SET first = $2, last = $3, start_hash = $4, head_hash = $5, at = $6, chains = $7, seal = $8 WHERE key_no = $1",
		c.Key, c.First, c.Last, c.Start[:], c.Head[:], c.At, c.Chains, seal[:])
	return err
}

// forgetAudit removes the entries of a chain up to a number; none when that is before its
// first.
func forgetAudit(tx Tx, c *callbackd.AuditChain, upTo int64) error {
	if upTo < c.First {
		return nil
	}
	var hash []byte
	err := tx.Query("SELECT hash FROM audit WHERE key_no = $1 AND n = $2", func(row Row) error { return row.Scan(&hash) }, c.Key, upTo)
	if err != nil || hash == nil { // damage, which a check reports
		return err
	}
	if _, err := tx.Exec("DELETE FROM audit WHERE key_no = $1 AND n <= $2", c.Key, upTo); err != nil {
		return err
	}
	c.Forget(upTo, callbackd.AuditHash(hash))
	return nil
}

// prune removes entries of one chain that are older than a time, and returns how
// many. The chain remembers the hash before its first entry.
func (a *Auditor) prune(tx Tx, before time.Time, limit int) (int, error) {
	key, found := callbackd.KeyID(0), false
	err := tx.Query("SELECT a.key_no FROM audit a WHERE a.at < $1 ORDER BY a.at LIMIT 1", func(row Row) error {
		found = true
		return row.Scan(&key)
	}, before)
	if err != nil || !found {
		return 0, err
	}
	c, _, err := a.lockChain(tx, key)
	if err != nil {
		return 0, err
	}
	upTo := int64(0)
	err = tx.Query("SELECT n, at FROM audit WHERE key_no = $1 ORDER BY key_no, n LIMIT $2", func(row Row) error {
		var n int64
		var at time.Time
		if err := row.Scan(&n, &at); err != nil {
			return err
		}
		if !at.Before(before) {
			return ErrStop
		}
		upTo = n
		return nil
	}, key, limit)
	if err != nil || upTo < c.First {
		return 0, err
	}
	removed := int(upTo - c.First + 1)
	if err := forgetAudit(tx, c, upTo); err != nil {
		return 0, err
	}
	return removed, a.writeChain(tx, c)
}

// auditChunk is how many entries are read at once.
const auditChunk = 256

const (
	selectAudit    = "SELECT " + auditColumns + " FROM audit WHERE key_no = $1 AND n < $2 ORDER BY key_no DESC, n DESC LIMIT $3"
	selectAllAudit = "SELECT " + auditColumns + " FROM audit WHERE (at, key_no, n) < ($1, $2, $3) ORDER BY at DESC, key_no DESC, n DESC LIMIT $4"
)

// ListAudit is part of [store.Audits].
func (s *Store) ListAudit(ctx context.Context, q store.AuditQuery) (page store.AuditPage, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		page, err = listAudit(tx, q)
		return err
	})
	return page, err
}

func listAudit(tx Tx, q store.AuditQuery) (page store.AuditPage, err error) {
	limit, last := min(max(q.Limit, 1), store.MaxPage), q.After
	if last.Number == 0 {
		last = store.AuditCursor{At: maxAuditTime, Number: maxAuditNumber}
	}
	for seen := 0; ; {
		n := 0
		sql, args := selectAudit, []any{q.Key, last.Number, auditChunk}
		if q.Key == store.AllKeys {
			sql, args = selectAllAudit, []any{last.At, last.Key, last.Number, auditChunk}
		}
		done := false
		err := tx.Query(sql, func(row Row) error {
			if len(page.Entries) == limit || seen == store.MaxScan {
				page.Next = last
				return ErrStop
			}
			e, err := scanAudit(row)
			if err != nil {
				return err
			}
			n++
			seen++
			if done = !q.Since.IsZero() && e.At.Before(q.Since); done {
				return ErrStop
			}
			last = store.AuditCursor{At: e.At, Key: e.Key, Number: e.Number}
			if q.Fits(e) {
				page.Entries = append(page.Entries, *e)
			}
			return nil
		}, args...)
		if err != nil || done || page.Next.Number != 0 || n < auditChunk {
			return page, err
		}
	}
}

// maxAuditTime and maxAuditNumber are the place before which all entries are.
var maxAuditTime = time.UnixMilli(1 << 52)

const maxAuditNumber = 1 << 62
