package postgres

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // parallel tests wait for the server more than for a processor
	dir, err := os.MkdirTemp("", "callbackd-postgres")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	keyset = filepath.Join(dir, "keys.json")
	pgtest.Main(m, func() { os.RemoveAll(dir) })
}

// keyset is the keyset of the databases of stock.
var keyset string

// stock has databases with an empty store.
var stock = pgtest.Stock{Fill: func(ctx context.Context, url string) error {
	s, err := Open(ctx, Options{URL: url, KeysetFile: keyset})
	if err != nil {
		return err
	}
	return s.Close()
}}

func TestConformance(t *testing.T) {
	t.Parallel()
	seen := &statements{}
	t.Run("Suite", func(t *testing.T) {
		var urls sync.Map // by the case's directory
		storetest.Run(t, func(t *testing.T, dir string) store.Store {
			url, ok := urls.Load(dir)
			if !ok {
				url = stock.URL(t)
				urls.Store(dir, url)
			}
			return open(t, Options{URL: url.(string), KeysetFile: keyset, patience: unhurried, tracer: seen})
		})
	})
	t.Run("EveryStatementHasItsPlanTested", func(t *testing.T) {
		explained := &statements{}
		s := open(t, Options{URL: stock.URL(t), KeysetFile: keyset, patience: unhurried, tracer: explained})
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
