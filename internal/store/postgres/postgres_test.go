package postgres

import (
	"flag"
	"path/filepath"
	"sync"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // parallel tests wait for the server more than for a processor
	pgtest.Main(m)
}

func TestConformance(t *testing.T) {
	seen := &statements{}
	t.Run("Suite", func(t *testing.T) {
		var urls sync.Map // by the case's directory
		storetest.Run(t, func(t *testing.T, dir string) store.Store {
			url, ok := urls.Load(dir)
			if !ok {
				url = pgtest.URL(t)
				urls.Store(dir, url)
			}
			return open(t, Options{URL: url.(string), KeysetFile: filepath.Join(dir, "keys.json"), tracer: seen})
		})
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
