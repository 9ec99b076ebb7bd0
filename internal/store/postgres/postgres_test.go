package postgres

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestConformance(t *testing.T) {
	urls := map[string]string{}
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		if urls[dir] == "" {
			urls[dir] = pgtest.URL(t)
		}
		return open(t, Options{URL: urls[dir], KeysetFile: filepath.Join(dir, "keys.json")})
	})
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
