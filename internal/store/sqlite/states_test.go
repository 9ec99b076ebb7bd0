package sqlite

import (
	"testing"

	"callbackd/internal/store/storetest"
)

func TestSchemaRefusesWrongStates(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	exec := func(sql string) error {
		return s.write(t.Context(), func(t *tx) error { return t.conn.Exec(sql) })
	}
	storetest.States(t, exec, map[string]map[string]string{
		"keys":     {"live": "1"},
		"pending":  {"session": "'S'", "sequence": "1", "test": "0", "manual": "0"},
		"sessions": {"search": "''"},
	}, "x''")
}
