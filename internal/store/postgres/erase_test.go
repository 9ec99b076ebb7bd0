package postgres

import (
	"testing"

	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"
)

// TestAnErasureLeavesNoTrace reads every column of every table.
func TestAnErasureLeavesNoTrace(t *testing.T) {
	t.Parallel()
	url := stock.URL(t)
	s := open(t, Options{URL: url, KeysetFile: keyset})
	defer s.Close()
	storetest.Traces(t, s, func() []byte { return pgtest.Contents(t, url) })
}
