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
	urls, seen := map[string]string{}, &statements{}
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		if urls[dir] == "" {
			urls[dir] = pgtest.URL(t)
		}
		return open(t, Options{URL: urls[dir], KeysetFile: filepath.Join(dir, "keys.json"), tracer: seen})
	})
	t.Run("EveryStatementHasItsPlanTested", func(t *testing.T) {
		explained := &statements{}
		s := open(t, Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json"), tracer: explained})
		defer s.Close()
		everyCommand(t, s)
		for sql := range seen.seen {
			if explainable(sql) && !explained.seen[sql] {
				t.Errorf("everyCommand does not run\n%s", sql)
			}
		}
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
