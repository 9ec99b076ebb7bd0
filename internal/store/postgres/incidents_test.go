package postgres

import (
	"sync"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/jackc/pgx/v5"
)

func TestWrongIncidentsAreFound(t *testing.T) {
	t.Parallel()
	var urls sync.Map // by the case's directory
	urlOf := func(t *testing.T, dir string) string {
		url, ok := urls.Load(dir)
		if !ok {
			url = stock.URL(t)
			urls.Store(dir, url)
		}
		return url.(string)
	}
	openStore := func(t *testing.T, dir string) store.Store {
		return open(t, Options{URL: urlOf(t, dir), KeysetFile: keyset, patience: unhurried})
	}
	storetest.SpoilIncidents(t, openStore, func(t *testing.T, dir string, statements ...string) {
		conn, err := pgx.Connect(t.Context(), urlOf(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	})
}
