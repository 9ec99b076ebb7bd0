package postgres

import (
	"testing"

	"callbackd/internal/store/storetest"
)

func TestSchemaRefusesWrongStates(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: stock.URL(t), KeysetFile: keyset})
	defer s.Close()
	exec := func(sql string) error {
		_, err := s.shared.Exec(t.Context(), sql)
		return err
	}
	storetest.States(t, exec, map[string]map[string]string{
		"keys":      {"live": "true", "revision": "1"},
		"callbacks": {"revision": "1"},
		"pending":   {"manual": "false"},
		"sessions":  {"search": "''", "stamp": "1"},
	}, "''")
}
