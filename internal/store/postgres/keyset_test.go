package postgres

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/storetest"

	"github.com/jackc/pgx/v5"
)

func TestKeysetRotation(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	s := open(t, o)
	defer s.Close()
	storetest.Rotation(t, s, o.KeysetFile, func(t *testing.T) map[string][][]byte { return binaries(t, s) })
}

func TestUnknownSealingKey(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	s := open(t, o)
	defer s.Close()
	storetest.UnknownKey(t, s, o.KeysetFile)
}

// binaries returns the values of all columns that are bytea, by table and column.
func binaries(t *testing.T, s *Store) map[string][][]byte {
	t.Helper()
	out := map[string][][]byte{}
	err := s.read(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT table_name || '.' || column_name, format('SELECT %I FROM %I WHERE %I IS NOT NULL', column_name, table_name, column_name) FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'bytea'")
		if err != nil {
			return err
		}
		columns := map[string]string{}
		var name, sql string
		if _, err := pgx.ForEachRow(rows, []any{&name, &sql}, func() error { columns[name] = sql; return nil }); err != nil {
			return err
		}
		for name, sql := range columns {
			rows, err := conn.Query(ctx, sql)
			if err == nil {
				out[name], err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A node's row says which keys it has, so that no key becomes primary that a node lacks.
func TestNodesSayWhichKeysTheyHave(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	s := open(t, o)
	defer s.Close()
	first := s.Keyset().Primary
	id, err := s.Join(t.Context(), store.Node{Name: "a", StartedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, want string) {
		t.Helper()
		nodes, err := s.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := nodes[0].Keyset.String(); got != want {
			t.Errorf("%s the node has the keys %q, want %q", what, got, want)
		}
	}
	check("after it has joined", first.String()+"*")
	second, err := seal.Add(o.KeysetFile)
	if err == nil {
		err = seal.Promote(o.KeysetFile, second)
	}
	if err == nil {
		_, err = s.ReloadKeyset()
	}
	if err == nil {
		_, err = s.Heartbeat(t.Context(), store.Heartbeat{ID: id}, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	check("after a heartbeat", first.String()+" "+second.String()+"*")
	if _, err := s.inTx(t, "UPDATE nodes SET keyset = NULL"); err != nil {
		t.Fatal(err)
	}
	check("of an earlier version", callbackd.Keyset{}.String())
}

// inTx runs a statement.
func (s *Store) inTx(t *testing.T, sql string) (n int64, err error) {
	err = s.change(t.Context(), true, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}
