package core

import (
	"encoding/json"
	"fmt"
	"time"

	"callbackd"
)

// callbackFrom joins a callback with the setting of the version that follows.
const (
	callbackColumns = `c.no, c.key_no, c.type, c.name, c.version, c.policy, c.secrets, c.created_at, c.updated_at, c.deleted_at,
 c.pause_reason, c.paused_at, c.failing_since, c.closed_until, c.proven, c.released_at, c.release_after IS NOT NULL, c.filter, c.ttl, c.session, c.types, c.own_types,
 v.version, v.url, v.method, v.headers, v.payload, v.fields, v.format`
	callbackFrom = " FROM callbacks c JOIN callback_versions v ON v.callback_no = c.no AND v.version = "
)

// callbackRow is a callback without its secrets, and what is sealed of it and of the
// version that was read. The callback is allocated apart, because the cache keeps it.
type callbackRow struct {
	*callbackd.Callback
	version          int64
	secrets, headers []byte
}

// scanCallback reads a callback with its secrets.
func (s *Store) scanCallback(row Row) (*callbackd.Callback, error) {
	c, err := s.readCallback(row)
	if err != nil {
		return nil, err
	}
	if err := s.sealer.OpenSecrets(c.secrets, c.Callback); err != nil {
		return nil, damaged(err)
	}
	c.Headers, err = s.sealer.OpenHeaders(c.headers, c.ID, c.version)
	return compact(c.Callback), damaged(err)
}

// scanSealed reads a callback without its secrets.
func (s *Store) scanSealed(row Row) (*callbackd.Callback, error) {
	c, err := s.readCallback(row)
	if err != nil {
		return nil, err
	}
	return c.Callback, nil
}

func (s *Store) readCallback(row Row) (callbackRow, error) {
	c := callbackRow{Callback: &callbackd.Callback{}}
	var event int64
	var policy string
	var filter, fields, format, session, own *string
	var ttl, types *int64
	err := row.Scan(&c.ID, &c.Key, &event, &c.Name, &c.Version, &policy, &c.secrets, &c.CreatedAt, &c.UpdatedAt, &c.DeletedAt,
		&c.Pause.Reason, &c.Pause.At, &c.FailingSince, &c.ClosedUntil, &c.Proven, &c.ReleasedAt, &c.Releasing, &filter, &ttl, &session, &types, &own,
		&c.version, &c.URL, &c.Method, &c.headers, &c.Payload, &fields, &format)
	if err != nil {
		return c, err
	}
	if c.Event, err = s.EventTypes.Name(event); err != nil {
		return c, err
	}
	if session != nil && types != nil {
		c.Session = *session
		if c.Types, err = s.EventTypes.Types(*types, own); err != nil {
			return c, err
		}
	}
	if err := json.Unmarshal([]byte(policy), &c.Policy); err != nil {
		return c, damaged(fmt.Errorf("policy of callback %d: %w", c.ID, err))
	}
	c.Policy.TTL = ReadTTL(ttl)
	if c.Policy.Filter, err = ReadFilter(c.ID, filter); err != nil {
		return c, err
	}
	if fields != nil {
		if c.Policy.Fields, err = callbackd.ParseFields("fields", []byte(*fields)); err != nil {
			return c, damaged(fmt.Errorf("fields of callback %d: %w", c.ID, err))
		}
	}
	if format != nil {
		c.Policy.Format = callbackd.Format(*format)
	}
	return c, nil
}

// ReadFilter reads the stored filter of a callback; nil when there is none.
func ReadFilter(id callbackd.CallbackID, text *string) (*callbackd.Filter, error) {
	if text == nil {
		return nil, nil
	}
	f, err := callbackd.ParseFilter("filter", []byte(*text))
	if err != nil {
		return nil, damaged(fmt.Errorf("filter of callback %d: %w", id, err))
	}
	return f, nil
}

// ReadTTL reads the stored ttl of a callback, in milliseconds; 0 when there is none.
func ReadTTL(millis *int64) time.Duration {
	if millis == nil {
		return 0
	}
	return time.Duration(*millis) * time.Millisecond
}

// ttlOrNull returns a ttl for a column that is NULL without one.
func ttlOrNull(ttl time.Duration) *int64 {
	if ttl == 0 {
		return nil
	}
	millis := ttl.Milliseconds()
	return &millis
}

// ReadCandidates adds the callbacks that are in force for a key and the event type with a
// number.
func ReadCandidates(tx Tx, key callbackd.KeyID, typ int64, to *callbackd.Candidates) error {
	return tx.Query("SELECT no, filter, ttl FROM callbacks WHERE key_no = $1 AND type = $2 AND deleted_at IS NULL AND session IS NULL ORDER BY no", func(row Row) error {
		var id callbackd.CallbackID
		var filter *string
		var ttl *int64
		if err := row.Scan(&id, &filter, &ttl); err != nil {
			return err
		}
		f, err := ReadFilter(id, filter)
		to.Add(id, f, ReadTTL(ttl))
		return err
	}, key, typ)
}

// checkFilters returns an error when a callback was stored whose filter is too much beside
// those of the other callbacks.
func (s *Store) checkFilters(tx Tx, cb *callbackd.Callback) error {
	if cb.Policy.Filter == nil || cb.Deleted() {
		return nil
	}
	var all callbackd.Candidates
	if err := ReadCandidates(tx, cb.Key, s.EventTypes.Number(cb.Event), &all); err != nil {
		return err
	}
	return all.CheckFilters(cb.Event)
}

// textOrNull returns a text for a column that is NULL without one.
func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// callbacksWhere reads callbacks with the setting of their present version, as they are
// stored.
func (s *Store) callbacksWhere(tx Tx, where string, args ...any) (found []*callbackd.Callback, err error) {
	return scanCallbacks(tx, s.scanCallback, where, args...)
}

func scanCallbacks(tx Tx, scan func(Row) (*callbackd.Callback, error), where string, args ...any) (found []*callbackd.Callback, err error) {
	err = tx.Query("SELECT "+callbackColumns+callbackFrom+"c.version WHERE "+where, func(row Row) error {
		cb, err := scan(row)
		found = append(found, cb)
		return err
	}, args...)
	return found, err
}

// allCallbacks returns the callbacks of all keys by number, deleted ones
// included. Those of revoked keys have ended with them.
func (s *Store) allCallbacks(tx Tx, scan func(Row) (*callbackd.Callback, error)) ([]*callbackd.Callback, error) {
	revoked := map[callbackd.KeyID]*callbackd.Key{}
	err := tx.Query("SELECT no, revoked_at FROM keys WHERE revoked_at IS NOT NULL", func(row Row) error {
		var k callbackd.Key
		err := row.Scan(&k.ID, &k.RevokedAt)
		revoked[k.ID] = &k
		return err
	})
	if err != nil {
		return nil, err
	}
	all, err := scanCallbacks(tx, scan, "c.no > 0 ORDER BY c.no")
	if err != nil {
		return nil, err
	}
	for i, cb := range all {
		if k := revoked[cb.Key]; k != nil {
			all[i] = cb.OfKey(k)
		}
	}
	return all, nil
}
