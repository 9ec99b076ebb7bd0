package postgres

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// statements collects what a store runs.
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

// large is the tables that no statement may walk.
var large = []string{"events", "pending", "attempts", "session_sequences", "idempotency"}

// The plan of every statement, made once and kept as a server keeps it, goes
// through an index of the large tables, whatever PostgreSQL believes of their
// sizes: for a new database, right after a load that it has not counted, with
// statistics from when a table was empty, and with true ones.
func TestNoPlanWalksALargeTable(t *testing.T) {
	ctx := t.Context()
	seen := &statements{}
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json"), tracer: seen}
	s := open(t, o)
	defer s.Close()
	everyCommand(t, s)
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

// bulkLoad fills the tables with n events, a tenth of them pending.
func bulkLoad(exec func(string), n int) {
	exec(fmt.Sprintf("INSERT INTO events SELECT g << 21, 1 + g %% 10, 4, 'S' || g / 5, 1 + g %% 5, false, '\\x01', '{}' FROM generate_series(1::bigint, %d) g", n))
	exec("INSERT INTO pending SELECT 1 + id % 20, id, 0, 0, false, NULL, CASE WHEN id % 3 = 0 THEN id >> 21 END, NULL FROM events WHERE (id >> 21) % 10 = 0")
	exec("INSERT INTO attempts SELECT id, 1 + id % 20, 1, 1, 'delivered', '' FROM events WHERE (id >> 21) % 10 <> 0")
	exec("INSERT INTO session_sequences SELECT key_no, session, max(sequence), max(id) FROM events GROUP BY key_no, session")
	exec("INSERT INTO idempotency SELECT key_no, decode(md5(id::text), 'hex'), '', id, '' FROM events")
}

// prepare prepares each statement that was seen and can be explained.
func prepare(t *testing.T, conn *pgx.Conn, seen *statements) map[string]string {
	t.Helper()
	names := map[string]string{}
	param := regexp.MustCompile(`\$(\d+)`)
	for sql := range seen.seen {
		verb, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
		if !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, verb) || strings.Contains(sql, "lag(sequence)") {
			continue // Check may walk everything
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
	if len(names) < 40 {
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

// everyCommand runs each command, in each of its ways.
func everyCommand(t *testing.T, s *Store) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: now})
	must(err)
	cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.No, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, now)
	must(err)
	b := store.Batch{Key: k.No, At: now, Idempotency: "x"}
	for i := range 10 {
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: []byte("{}"), Idempotency: fmt.Sprint(i)})
	}
	evs, err := s.Accept(ctx, b)
	must(err)
	for range 2 { // repeats, and a session that is known
		_, err = s.Accept(ctx, b)
		must(err)
		b.Idempotency, b.Events[0].Idempotency = "", ""
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.No}
	for i, state := range []callbackd.State{callbackd.Failed, callbackd.Pending} {
		o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[i].ID, Callback: cb.No}},
			Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: state, Due: now}}, HealthTurned: true, PauseCallback: callbackd.PausedGone}
		_, err := s.Record(ctx, o)
		must(err)
	}
	_, err = s.Backlogs(ctx)
	must(err)
	_, err = s.Fresh(ctx, cb.No, 0, 1)
	must(err)
	_, _, err = s.Scheduled(ctx, cb.No, now, 1)
	must(err)
	_, err = s.Holding(ctx, cb.No, now, 1)
	must(err)
	_, err = s.Lane(ctx, cb.No, "S", 0, 1)
	must(err)
	_, err = s.Delivery(ctx, k.No, id)
	must(err)
	_, err = s.CallbackVersion(ctx, cb.No, 1)
	must(err)
	_, err = s.ListCallbacks(ctx, k.No)
	must(err)
	_, err = s.Key(ctx, "k")
	must(err)
	for _, session := range []string{"", "S"} {
		_, err = s.ListEvents(ctx, store.EventQuery{Key: k.No, Session: session, Limit: 1})
		must(err)
		for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed, callbackd.Canceled} {
			_, err = s.ListDeliveries(ctx, store.DeliveryQuery{Key: k.No, Session: session, State: state, Limit: 1})
			must(err)
		}
	}
	_, err = s.RetryDelivery(ctx, k.No, id, now)
	must(err)
	_, err = s.PauseCallback(ctx, k.No, callbackd.Complete, "default", callbackd.Pause{})
	must(err)
	_, err = s.DeleteCallback(ctx, k.No, callbackd.Complete, "default", now)
	must(err)
	_, err = s.SettleCanceled(ctx, now, 5)
	must(err)
	_, _, _, err = s.Sweep(ctx, now.Add(time.Hour), 0, 5)
	must(err)
	must(s.Ready(ctx))
}
