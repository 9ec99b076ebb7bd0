package storetest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// columns are the values of a row as SQL, by the names of their columns.
type columns map[string]string

// stateRows are one row for each table that has constraints on its state.
var stateRows = map[string]columns{
	"keys":      {"account": "'a'", "api_key": "'k'", "secret": blob, "name": "'n'", "created_at": "1", "time_frame": "1"},
	"callbacks": {"key_no": "1", "type": "1", "name": "'n'", "version": "1", "policy": "'{}'", "secrets": blob, "created_at": "1", "updated_at": "1"},
	"pending":   {"callback_no": "1", "event_id": "1", "attempts": "0", "step": "0"},
	"attempts":  {"event_id": "1", "callback_no": "1", "n": "1", "version": "1", "state": "'delivered'", "detail": blob},
	"sessions":  {"key_no": "1", "session": "'S'", "status": "'IDLE'", "created_at": "1", "document": blob},
	"replays":   {"id": "1", "key_no": "1", "filter": "'{}'", "rate": "0", "state": "'running'", "created_at": "1", "total": "2"},
}

const blob = "blob" // a placeholder; each driver has its own literal

// wrongStates are changes of those rows that no state of the domain has, with
// the constraint that refuses them.
var wrongStates = []struct {
	table, constraint string
	change            columns
}{
	{"keys", "keys_rotation", columns{"old_secret": blob}},
	{"keys", "keys_rotation", columns{"old_until": "1"}},
	{"callbacks", "callbacks_pause", columns{"pause_reason": "'user'"}},
	{"callbacks", "callbacks_pause", columns{"paused_at": "1"}},
	{"callbacks", "callbacks_release", columns{"release_after": "0"}},
	{"callbacks", "callbacks_session", columns{"session": "'S'"}},
	{"callbacks", "callbacks_session", columns{"types": "2"}},
	{"callbacks", "callbacks_session", columns{"session": "'S'", "types": "2"}},
	{"callbacks", "callbacks_session", columns{"type": "0"}},
	{"pending", "pending_due_after_attempt", columns{"attempts": "1"}},
	{"pending", "pending_due_after_attempt", columns{"first_failed_at": "1"}},
	{"pending", "pending_due_while_blocking", columns{"holds_until": "1"}},
	{"pending", "pending_due_in_replay", columns{"replay": "1"}},
	{"pending", "pending_steps", columns{"attempts": "1", "step": "2", "due": "1"}},
	{"pending", "pending_steps", columns{"step": "-1", "due": "1"}},
	{"attempts", "attempts_number", columns{"n": "0"}},
	{"attempts", "attempts_state", columns{"state": "'lost'"}},
	{"attempts", "attempts_version", columns{"version": "0"}},
	{"attempts", "attempts_version", columns{"version": "-1", "state": "'canceled'"}},
	{"sessions", "sessions_end", columns{"status": "'COMPLETE'"}},
	{"sessions", "sessions_end", columns{"ended_at": "1"}},
	{"replays", "replays_state", columns{"state": "'lost'"}},
	{"replays", "replays_end", columns{"state": "'done'"}},
	{"replays", "replays_end", columns{"ended_at": "1"}},
	{"replays", "replays_progress", columns{"due": "3"}},
	{"replays", "replays_progress", columns{"due": "1", "skipped": "2"}},
}

// States proves that the schema refuses rows in a state that the domain does
// not have. exec runs a statement; base are the columns that only this driver's
// tables have, by table. emptyBlob is an empty
// blob in the SQL of the driver.
func States(t *testing.T, exec func(sql string) error, base map[string]map[string]string, emptyBlob string) {
	t.Helper()
	insert := func(table string, change columns) error {
		row := maps.Clone(stateRows[table])
		maps.Copy(row, base[table])
		maps.Copy(row, change)
		names := slices.Sorted(maps.Keys(row))
		var values []string
		for _, name := range names {
			values = append(values, strings.ReplaceAll(row[name], blob, emptyBlob))
		}
		return exec("INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")")
	}
	for _, c := range wrongStates {
		err := insert(c.table, c.change)
		if err == nil {
			t.Errorf("%s accepts a row with %v; want it refused by %s", c.table, c.change, c.constraint)
		} else if !strings.Contains(err.Error(), c.constraint) {
			t.Errorf("%s refuses a row with %v: %v; want it refused by %s", c.table, c.change, err, c.constraint)
		}
	}
	for table := range stateRows {
		if err := insert(table, nil); err != nil {
			t.Errorf("%s refuses a row in a valid state: %v", table, err)
		}
	}
}
