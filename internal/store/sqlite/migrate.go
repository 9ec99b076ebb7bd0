package sqlite

import (
	_ "embed"
	"fmt"

	"callbackd/internal/store/core"

	"github.com/ncruces/go-sqlite3"
)

// steps lists the statements that bring the schema from each version to the next. PRAGMA
// user_version counts the steps that were made. A migration tool would need database/sql,
// which this driver does not use, and its lock would be SQLite's own. The statements of a
// released step are never changed.
var steps = []string{schemaEvents, schemaSessions, schemaReplays, schemaConsole, schemaLastErrors, schemaKept, schemaRemoved, schemaLimits, schemaCaptureLinks, schemaClock, schemaAllKeys, schemaStates, schemaLogins, schemaFilters, schemaFields, schemaCounts, schemaOperatorTokens, schemaExpiry, schemaAudit, schemaKeyExpiry, schemaIncidents, schemaSessionCallbacks, schemaErases, schemaKeyLimits, schemaFaults, schemaLinks, schemaNoticeMails, schemaFormats, schemaTrace, schemaKeyRetention, schemaServers, schemaEventTypes, schemaEraseGroups, schemaSessionOwnTypes}

// fills has the functions that run after the statements of a step, in its transaction.
var fills = map[string]func(core.Tx, *core.Dialect) error{schemaLastErrors: core.FillLastErrors}

//go:embed schema.sql
var schemaEvents string

//go:embed schema_2_sessions.sql
var schemaSessions string

//go:embed schema_3_replays.sql
var schemaReplays string

//go:embed schema_4_console.sql
var schemaConsole string

//go:embed schema_5_last_errors.sql
var schemaLastErrors string

//go:embed schema_6_kept.sql
var schemaKept string

//go:embed schema_7_removed.sql
var schemaRemoved string

//go:embed schema_8_limits.sql
var schemaLimits string

//go:embed schema_9_capture_links.sql
var schemaCaptureLinks string

//go:embed schema_10_clock.sql
var schemaClock string

//go:embed schema_11_all_keys.sql
var schemaAllKeys string

//go:embed schema_12_states.sql
var schemaStates string

//go:embed schema_13_logins.sql
var schemaLogins string

//go:embed schema_18_expiry.sql
var schemaExpiry string

//go:embed schema_14_filters.sql
var schemaFilters string

//go:embed schema_15_fields.sql
var schemaFields string

//go:embed schema_16_counts.sql
var schemaCounts string

//go:embed schema_17_operator_tokens.sql
var schemaOperatorTokens string

//go:embed schema_19_audit.sql
var schemaAudit string

//go:embed schema_20_key_expiry.sql
var schemaKeyExpiry string

//go:embed schema_21_incidents.sql
var schemaIncidents string

//go:embed schema_22_session_callbacks.sql
var schemaSessionCallbacks string

//go:embed schema_23_erases.sql
var schemaErases string

//go:embed schema_24_key_limits.sql
var schemaKeyLimits string

//go:embed schema_25_faults.sql
var schemaFaults string

//go:embed schema_26_links.sql
var schemaLinks string

//go:embed schema_27_notice_mails.sql
var schemaNoticeMails string

//go:embed schema_28_formats.sql
var schemaFormats string

//go:embed schema_29_trace.sql
var schemaTrace string

//go:embed schema_30_key_retention.sql
var schemaKeyRetention string

//go:embed schema_31_servers.sql
var schemaServers string

//go:embed schema_32_event_types.sql
var schemaEventTypes string

//go:embed schema_33_erase_groups.sql
var schemaEraseGroups string

//go:embed schema_34_session_own_types.sql
var schemaSessionOwnTypes string

// migrate makes the steps that are missing, in one transaction.
func (s *Store) migrate() error {
	if err := s.w.conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("the database cannot be written: %w", err)
	}
	var have int64
	err := s.w.query("PRAGMA user_version", func(st *sqlite3.Stmt) error { have = st.ColumnInt64(0); return nil })
	for v := have; err == nil && v < int64(len(steps)); v++ {
		err = s.w.conn.Exec(steps[v] + fmt.Sprintf(";\nPRAGMA user_version = %d", v+1))
		if fill := fills[steps[v]]; err == nil && fill != nil {
			err = fill(s.w.db, &dialect)
		}
		if err != nil {
			err = fmt.Errorf("to schema %d: %w", v+1, err)
		}
	}
	if err != nil {
		s.w.conn.Exec("ROLLBACK")
		return fmt.Errorf("migrate: %w", err)
	}
	return s.w.conn.Exec("COMMIT")
}
