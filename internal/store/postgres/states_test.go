package postgres

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"
)

func TestSchemaRefusesWrongStates(t *testing.T) {
	s := open(t, Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")})
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
