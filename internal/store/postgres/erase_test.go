package postgres

import (
	"testing"

	"callbackd/internal/store/storetest"
)

// TestAnErasureLeavesNoTrace reads every column of every table.
func TestAnErasureLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: stock.URL(t), KeysetFile: keyset})
	defer s.Close()
	storetest.Traces(t, s, func() (all []byte) {
		rows, err := s.shared.Query(t.Context(), "SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped")
		if err != nil {
			t.Fatal(err)
		}
		type column struct {
			table, name string
			binary      bool
		}
		var columns []column
		for rows.Next() {
			var c column
			if err := rows.Scan(&c.table, &c.name, &c.binary); err != nil {
				t.Fatal(err)
			}
			columns = append(columns, c)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for _, c := range columns {
			sql := "SELECT coalesce(string_agg(" + c.name + "::text, ' '), '')::bytea FROM " + c.table
			if c.binary {
				sql = "SELECT coalesce(string_agg(" + c.name + ", ' '), '') FROM " + c.table
			}
			var raw []byte
			if err := s.shared.QueryRow(t.Context(), sql).Scan(&raw); err != nil {
				t.Fatalf("%s.%s: %v", c.table, c.name, err)
			}
			all = append(all, raw...)
		}
		return all
	})
}
