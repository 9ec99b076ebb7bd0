package sqlite

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/ncruces/go-sqlite3"
)

func TestWrongIncidentsAreFound(t *testing.T) {
	t.Parallel()
	openStore := func(t *testing.T, dir string) store.Store { return open(t, Options{Dir: dir, readers: 2}) }
	storetest.SpoilIncidents(t, openStore, func(t *testing.T, dir string, statements ...string) {
		conn, err := sqlite3.Open("file:" + filepath.Join(dir, dbFile))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, sql := range statements {
			if err := conn.Exec(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	})
}
