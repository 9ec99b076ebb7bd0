package postgres

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/jackc/pgx/v5"
)

// statements collects the statements that a store runs.
type statements struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *statements) add(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[sql] = true
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	s.add(d.SQL)
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	s.add(d.SQL)
}
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

var loaded = flag.Int("rows", 200_000, "events that the test of plans loads")

// large lists the tables that no statement may read from end to end.
var large = []string{"events", "pending", "attempts", "session_sequences", "idempotency", "sessions", "session_notes", "logs", "slots", "owed_later", "replay_events", "last_errors", "audit"}

// The generic plan of every statement reads the large tables by an index, whatever their
// statistics: for a new database, right after a load before the first ANALYZE, with
// statistics from when the tables were empty, and with correct ones.
func TestNoPlanWalksALargeTable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	seen := &statements{}
	o := Options{URL: stock.URL(t), KeysetFile: keyset, tracer: seen}
	s := open(t, o)
	defer s.Close()
	everyCommand(t, s)
	for _, sql := range []string{selectCommitted, selectWriteToken, selectRecorded} { // of retries
		seen.add(sql)
	}
	conn, err := s.hot.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, table := range large {
		exec("ALTER TABLE " + table + " SET (autovacuum_enabled = off)")
		exec("ALTER TABLE " + table + " SET UNLOGGED") // no plan depends on it, and the load is faster
	}
	names := prepare(t, conn.Conn(), seen)
	check := func(when string) {
		exec("DISCARD PLANS")
		for sql, name := range names {
			explain(t, conn.Conn(), when, name, sql)
		}
	}
	check("with ten rows")
	for _, table := range large {
		exec("DELETE FROM " + table)
		exec("VACUUM " + table)
	}
	check("with tables that were counted when they were empty")
	bulkLoad(exec, *loaded)
	check("after a load that was not counted")
	exec("ANALYZE")
	check("with true statistics")
}

// bulkLoad fills the tables with n events, five in each session and a tenth of them
// pending.
func bulkLoad(exec func(string), n int) {
	exec(fmt.Sprintf("INSERT INTO events SELECT g << 21, 1 + g / 5 %% 10, 4, 'S' || g / 5, 1 + g %% 5, false, '\\x01', '{}' FROM generate_series(1::bigint, %d) g", n))
	exec("INSERT INTO pending SELECT 1 + id % 20, id, 0, 0, false, NULL, CASE WHEN id % 3 = 0 THEN id >> 21 END, NULL FROM events WHERE (id >> 21) % 10 = 0")
	exec("INSERT INTO attempts SELECT id, 1 + id % 20, 1, 1, 'delivered', '' FROM events WHERE (id >> 21) % 10 <> 0")
	exec("INSERT INTO last_errors SELECT event_id, callback_no, 2000 FROM attempts WHERE event_id % 3 = 0")
	exec("INSERT INTO session_sequences SELECT key_no, session, max(sequence), max(id) FROM events GROUP BY key_no, session")
	exec("INSERT INTO sessions (key_no, session, status, created_at, search, document, stamp) SELECT key_no, session, 'IDLE', last_id >> 21, '', '', 0 FROM session_sequences")
	exec("INSERT INTO session_notes SELECT no, 1, '', '', '', 0 FROM sessions")
	exec("INSERT INTO logs SELECT key_no, id, 'GET', '/', 200, 1, '', '', 0 FROM events")
	exec("INSERT INTO slots SELECT 2, (id >> 21) % 100, 60000, id >> 21, 1, 0, 0, 1, 0, 0, '{1}' FROM events")
	exec("INSERT INTO owed_later SELECT id, 99 FROM events WHERE (id >> 21) % 10 = 0")
	exec("INSERT INTO replay_events SELECT (id >> 21) % 20, 1, id >> 21, '' FROM events")
	exec("INSERT INTO audit SELECT id % 10, id, id >> 21, 'key.changed', '', '', '', '', 0, NULL, NULL, '' FROM events")
	exec("INSERT INTO idempotency SELECT key_no, decode(md5(id::text), 'hex'), '', id, '' FROM events")
}

// explainable reports whether a statement has a plan. It excludes the statements of Check that
// read all events, and those that count all pending deliveries.
func explainable(sql string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, verb) &&
		sql != selectOutOfSequence && !storetest.ReadsAll(sql)
}

// prepare prepares each statement that was seen and can be explained.
func prepare(t *testing.T, conn *pgx.Conn, seen *statements) map[string]string {
	t.Helper()
	names := map[string]string{}
	param := regexp.MustCompile(`\$(\d+)`)
	for sql := range seen.seen {
		if !explainable(sql) {
			continue
		}
		name := fmt.Sprintf("p%d", len(names))
		if _, err := conn.PgConn().Exec(t.Context(), "PREPARE "+name+" AS "+sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		nulls := map[string]bool{}
		for _, m := range param.FindAllStringSubmatch(sql, -1) {
			nulls[m[1]] = true
		}
		if len(nulls) > 0 {
			name += "(" + strings.TrimSuffix(strings.Repeat("NULL,", len(nulls)), ",") + ")"
		}
		names[sql] = name
	}
	if len(names) < 100 {
		t.Errorf("only %d statements were seen", len(names))
	}
	return names
}

// node is a step of a plan.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Cond     string `json:"Index Cond"`
	Parent   string `json:"Parent Relationship"`
	Plans    []node `json:"Plans"`
}

func explain(t *testing.T, conn *pgx.Conn, when, name, sql string) {
	t.Helper()
	res, err := conn.PgConn().Exec(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE "+name).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(res[0].Rows[0][0], &plans); err != nil {
		t.Fatal(err)
	}
	if bad := walks(plans[0].Plan, ""); bad != "" {
		t.Errorf("%s: %s\n%s\n%s", when, bad, sql, res[0].Rows[0][0])
	}
}

// walks names the first step that reads a large table from end to end.
func walks(n node, under string) string {
	whole := n.Type == "Seq Scan" || n.Type == "Bitmap Heap Scan" || strings.HasPrefix(n.Type, "Index") && n.Cond == "" && under != "Limit"
	if whole && slices.Contains(large, n.Relation) {
		return n.Type + " of all of " + n.Relation
	}
	if n.Type == "LockRows" || n.Type == "Result" {
		n.Type = under
	}
	for _, p := range n.Plans {
		if bad := walks(p, n.Type); bad != "" {
			return bad
		}
	}
	return ""
}

// everyCommand calls every method of the contract, so that the plans of all statements
// are checked.
func TestEveryCommandIsExplained(t *testing.T) {
	source, err := os.ReadFile("commands_test.go")
	if err != nil {
		t.Fatal(err)
	}
	contract := reflect.TypeFor[store.Store]()
	for i := range contract.NumMethod() {
		name := contract.Method(i).Name
		if slices.Contains([]string{"OnCommit", "Watch", "Close", "Keyset", "ReloadKeyset"}, name) { // they run no statement
			continue
		}
		if !strings.Contains(string(source), "s."+name+"(") {
			t.Errorf("everyCommand does not call %s", name)
		}
	}
}

// must returns a function that ends the test at an error.
func must(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
