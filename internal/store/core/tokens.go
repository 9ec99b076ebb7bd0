package core

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const tokenColumns = "id, hash, name, role, created_at, expires_at, last_used_at, revoked_at"

func scanToken(row Row) (callbackd.OperatorToken, error) {
	var t callbackd.OperatorToken
	var hash []byte
	err := row.Scan(&t.ID, &hash, &t.Name, &t.Role, &t.CreatedAt, &t.ExpiresAt, &t.LastUsedAt, &t.RevokedAt)
	copy(t.Hash[:], hash)
	return t, err
}

// readTokens reads tokens, the oldest first. They are few, and need no index for that.
func readTokens(tx Tx, where string, args ...any) (tokens []callbackd.OperatorToken, err error) {
	err = tx.Query("SELECT "+tokenColumns+" FROM operator_tokens"+where, func(row Row) error {
		t, err := scanToken(row)
		tokens = append(tokens, t)
		return err
	}, args...)
	slices.SortFunc(tokens, func(a, b callbackd.OperatorToken) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return tokens, err
}

// CreateToken is part of [store.Tokens]. Changes of tokens are made one after the other,
// as those of keys are, so that two tokens cannot get one name.
func (s *Store) CreateToken(ctx context.Context, t callbackd.OperatorToken) error {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, Repeatable|Settings, func(tx Tx) error {
		store.Made(ctx, &t)
		all, err := readTokens(tx, "")
		if err != nil {
			return err
		}
		var inForce int
		var ended []string
		for _, other := range all {
			switch {
			case other.Hash == t.Hash: // from a commit of this command that was not answered
				return nil
			case !other.InForce(t.CreatedAt):
				ended = append(ended, other.ID)
			case other.Name == t.Name:
				return callbackd.Errorf(callbackd.KindConflict, "an operator token %s is in force already; revoke it first, or choose another name", t.Name)
			default:
				inForce++
			}
		}
		if inForce >= callbackd.MaxOperatorTokens {
			return callbackd.Errorf(callbackd.KindLimited, "%d operator tokens are in force, which is the limit; revoke one first", inForce)
		}
		old := ended[:max(0, len(ended)-callbackd.MaxOperatorTokens)]
		if _, err := tx.Exec("DELETE FROM operator_tokens WHERE id "+s.d.In("$1"), old); err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO operator_tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			t.ID, t.Hash[:], t.Name, t.Role, t.CreatedAt, t.ExpiresAt, t.LastUsedAt, t.RevokedAt)
		if err != nil {
			return err
		}
		return audit.Write(tx, callbackd.AuditEntry{Action: callbackd.AuditTokenCreated, Subject: t.ID}, nil, t.AuditState())
	})
}

// ListTokens is part of [store.Tokens].
func (s *Store) ListTokens(ctx context.Context) (tokens []callbackd.OperatorToken, err error) {
	err = s.db.Read(ctx, func(tx Tx) (err error) {
		tokens, err = readTokens(tx, "")
		return err
	})
	return tokens, err
}

// Token is part of [store.Tokens].
func (s *Store) Token(ctx context.Context, id string) (token *callbackd.OperatorToken, err error) {
	if !storable(id) {
		return nil, noToken(id)
	}
	err = s.db.ReadSettings(ctx, func(tx Tx) (err error) {
		token, err = readToken(tx, id)
		return err
	})
	return token, err
}

func readToken(tx Tx, id string) (*callbackd.OperatorToken, error) {
	found, err := readTokens(tx, " WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, noToken(id)
	}
	return &found[0], nil
}

func noToken(id string) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no operator token %s; `callbackd tokens list` shows them", callbackd.Clip(id, 60))
}

// RevokeToken is part of [store.Tokens].
func (s *Store) RevokeToken(ctx context.Context, id string, at time.Time) (token *callbackd.OperatorToken, err error) {
	if !storable(id) {
		return nil, noToken(id)
	}
	audit, err := s.Auditor(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, Repeatable|Settings, func(tx Tx) (err error) {
		if token, err = readToken(tx, id); err != nil {
			return err
		}
		store.Made(ctx, token)
		if !token.RevokedAt.IsZero() {
			return nil
		}
		before := token.AuditState()
		token.RevokedAt = at
		if _, err = tx.Exec("UPDATE operator_tokens SET revoked_at = $2 WHERE id = $1", id, at); err != nil {
			return err
		}
		return audit.Write(tx, callbackd.AuditEntry{Action: callbackd.AuditTokenRevoked, Subject: id}, before, token.AuditState())
	})
	return token, err
}

// UseTokens is part of [store.Tokens].
func (s *Store) UseTokens(ctx context.Context, used map[string]time.Time) error {
	return s.db.Write(ctx, Repeatable, func(tx Tx) error {
		for _, id := range slices.Sorted(maps.Keys(used)) { // in one order, so that nodes do not wait for each other
			_, err := tx.Exec("UPDATE operator_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)", id, used[id])
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// tokens checks the operator tokens.
func (c *checker) tokens(context.Context) error {
	all, err := readTokens(c.tx, "")
	for i := range all {
		if fault := all[i].Fault(); fault != "" {
			c.report.Fault("operator token %s %s", all[i].ID, fault)
		}
	}
	return err
}
