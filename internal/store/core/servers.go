package core

import (
	"context"
	"encoding/json"
	"time"

	"callbackd"
)

// knownOptions reads the options of $1, or of the server whose options were stored last.
const knownOptions = "SELECT server, options FROM server_options ORDER BY server = $1 DESC, at DESC LIMIT 1"

// NoteOptions is part of [store.Servers].
func (s *Store) NoteOptions(ctx context.Context, server string, options []callbackd.ServerOption, at time.Time) error {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return err
	}
	now := callbackd.OptionsAuditState(options, audit.Digest(0))
	encoded, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, Repeatable, func(tx Tx) error {
		known, before := "", callbackd.AuditState(nil)
		err := tx.Query(knownOptions, func(row Row) error {
			var stored []byte
			if err := row.Scan(&known, &stored); err != nil {
				return err
			}
			if json.Unmarshal(stored, &before) != nil {
				before = nil // damage must not keep the new options out of the log
			}
			return nil
		}, server)
		if err != nil {
			return err
		}
		digest := audit.Digest(0)
		_, _, changed := callbackd.AuditChange(before, now, digest)
		if !changed && known == server {
			return nil
		}
		if err := storeOptions(tx, server, at, encoded); err != nil || !changed {
			return err
		}
		return audit.Write(tx, callbackd.AuditEntry{Action: callbackd.AuditOptionsChanged, Subject: server}, before, now)
	})
}

// storeOptions stores the options of a server, and forgets servers beyond the limit.
func storeOptions(tx Tx, server string, at time.Time, options []byte) error {
	_, err := tx.Exec("INSERT INTO server_options (server, at, options) VALUES ($1, $2, $3) ON CONFLICT (server) DO UPDATE SET at = $2, options = $3", server, at, options)
	if err != nil {
		return err
	}
	_, err = tx.Exec("DELETE FROM server_options WHERE server NOT IN (SELECT server FROM server_options ORDER BY at DESC, server LIMIT $1)", callbackd.MaxServers)
	return err
}

// Note is part of [store.Servers].
func (s *Store) Note(ctx context.Context, action callbackd.AuditAction, subject string, before, after callbackd.AuditState) error {
	audit, err := s.Auditor(ctx)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, 0, func(tx Tx) error {
		return audit.Write(tx, callbackd.AuditEntry{Action: action, Subject: subject}, before, after)
	})
}
