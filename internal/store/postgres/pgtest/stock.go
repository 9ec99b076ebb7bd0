package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Stock gives tests databases with the same content. Each is a copy of one that Fill has
// filled. When a test ends, its database gets the original rows back and goes to another
// test, because creating a database takes longer than most tests. A test that changes
// tables takes [URL] instead.
type Stock struct {
	// Fill fills the empty database at url and closes its connections.
	Fill func(ctx context.Context, url string) error

	mu     sync.Mutex
	filled bool
	failed error // of Fill
	free   []*copied
}

// copied is a database of a stock.
type copied struct {
	url    string
	conn   *pgx.Conn // used by no test
	tables string    // the definitions of the tables before any change
}

// template is the database that the others are copies of.
const template = "stock"

// URL returns a database for one test, as Fill left it. With -short the test is skipped.
func (s *Stock) URL(t testing.TB) string {
	t.Helper()
	server := sharedServer(t)
	c, err := s.take(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || !c.restore(context.Background()) { // it may be in use
			c.conn.Close(context.Background())
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free = append(s.free, c)
	})
	return c.url
}

// take returns a database that is free, or a new copy.
func (s *Stock) take(ctx context.Context, server *Server) (*copied, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free) - 1; n >= 0 {
		c := s.free[n]
		s.free = s.free[:n]
		return c, nil
	}
	if !s.filled {
		s.filled, s.failed = true, s.fill(ctx, server)
	}
	if s.failed != nil {
		return nil, fmt.Errorf("the first database of the stock: %w", s.failed)
	}
	name := fmt.Sprintf("d%d", schema.Add(1))
	// Copying files takes less work than logging every page.
	if err := server.exec("CREATE DATABASE " + name + " TEMPLATE " + template + " STRATEGY file_copy"); err != nil {
		return nil, err
	}
	c := &copied{url: server.database(name)}
	var err error
	// The connection outlives the test.
	if c.conn, err = pgx.Connect(context.WithoutCancel(ctx), c.url); err != nil {
		return nil, err
	}
	return c, c.conn.QueryRow(ctx, describeTables).Scan(&c.tables)
}

// fill makes the template. The schema first has a copy of each table that has rows.
func (s *Stock) fill(ctx context.Context, server *Server) error {
	if err := server.exec("CREATE DATABASE " + template); err != nil {
		return err
	}
	at := server.database(template)
	if err := s.Fill(ctx, at); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(ctx, remember)
	return err
}

const remember = `DO $$
DECLARE
  tab name;
  filled boolean;
BEGIN
  CREATE SCHEMA first;
  CREATE TABLE first.pg_sequences AS SELECT * FROM pg_sequences WHERE schemaname = 'public';
  FOR tab IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', tab) INTO filled;
    IF filled THEN
      EXECUTE format('CREATE TABLE first.%1$I AS TABLE public.%1$I', tab);
    END IF;
  END LOOP;
END $$`

// bringBack restores the rows and sequences of a database.
const bringBack = `DO $$
DECLARE
  tab name;
BEGIN
  FOR tab IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    IF to_regclass(format('first.%I', tab)) IS NULL THEN
      EXECUTE format('DELETE FROM public.%I', tab);
    ELSE
      EXECUTE format('DELETE FROM public.%1$I n WHERE n::text NOT IN (SELECT f::text FROM first.%1$I f)', tab);
      EXECUTE format('INSERT INTO public.%1$I OVERRIDING SYSTEM VALUE SELECT * FROM first.%1$I f WHERE f::text NOT IN (SELECT n::text FROM public.%1$I n)', tab);
    END IF;
  END LOOP;
  PERFORM setval(format('public.%I', f.sequencename)::regclass, coalesce(f.last_value, f.start_value), f.last_value IS NOT NULL)
    FROM first.pg_sequences f JOIN pg_sequences n USING (schemaname, sequencename) WHERE n.last_value IS DISTINCT FROM f.last_value;
END $$`

const (
	describeTables = `SELECT md5(string_agg(concat_ws(' ', relname, reloptions, attname, atttypid, attnotnull), ',' ORDER BY relname, attnum))
		FROM pg_class c JOIN pg_attribute ON attrelid = c.oid WHERE relnamespace = 'public'::regnamespace`
	countOthers = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)

// restore gives a database its original rows back. It returns false when a connection of
// the test is still open or the tables have changed. Such a database is not used again.
func (c *copied) restore(ctx context.Context) bool {
	var others int
	var tables string
	if err := c.conn.QueryRow(ctx, countOthers).Scan(&others); err != nil || others > 0 {
		return false
	}
	if err := c.conn.QueryRow(ctx, describeTables).Scan(&tables); err != nil || tables != c.tables {
		return false
	}
	_, err := c.conn.Exec(ctx, bringBack)
	return err == nil
}

// database returns the URL of a database.
func (s *Server) database(name string) string {
	u, err := url.Parse(s.URL(""))
	if err != nil {
		panic(err) // it is our own
	}
	u.Path = "/" + name
	return u.String()
}

// Contents returns what all columns of all tables of a database hold, one after the other.
func Contents(t testing.TB, url string) (all []byte) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	type column struct {
		Table, Name string
		Binary      bool
	}
	rows, err := conn.Query(t.Context(), "SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped")
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		sql := "SELECT coalesce(string_agg(" + c.Name + "::text, ' '), '')::bytea FROM " + c.Table
		if c.Binary {
			sql = "SELECT coalesce(string_agg(" + c.Name + ", ' '), '') FROM " + c.Table
		}
		var raw []byte
		if err := conn.QueryRow(t.Context(), sql).Scan(&raw); err != nil {
			t.Fatalf("%s.%s: %v", c.Table, c.Name, err)
		}
		all = append(all, raw...)
	}
	return all
}
