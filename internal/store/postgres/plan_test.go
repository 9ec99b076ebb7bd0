package postgres

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
var large = []string{"events", "pending", "attempts", "session_sequences", "idempotency", "sessions", "session_notes", "logs", "slots", "owed_later", "replay_events", "last_errors"}

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
	for _, sql := range []string{selectCommitted, selectWriteToken, selectCreated, selectRecorded} { // of retries
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
	exec("INSERT INTO last_errors SELECT event_id, callback_no, 2000 FROM attempts WHERE event_id % 3 = 0")
	exec("INSERT INTO session_sequences SELECT key_no, session, max(sequence), max(id) FROM events GROUP BY key_no, session")
	exec("INSERT INTO sessions (key_no, session, status, created_at, search, document, stamp) SELECT key_no, session, 'IDLE', last_id >> 21, '', '', 0 FROM session_sequences")
	exec("INSERT INTO session_notes SELECT no, 1, '', '', '', 0 FROM sessions")
	exec("INSERT INTO logs SELECT key_no, id, 'GET', '/', 200, 1, '', '', 0 FROM events")
	exec("INSERT INTO slots SELECT 2, (id >> 21) % 100, 60000, id >> 21, 1, 0, 0, 1, 0, 0, '{1}' FROM events")
	exec("INSERT INTO owed_later SELECT id, 99 FROM events WHERE (id >> 21) % 10 = 0")
	exec("INSERT INTO replay_events SELECT (id >> 21) % 20, 1, id >> 21, '' FROM events")
	exec("INSERT INTO idempotency SELECT key_no, decode(md5(id::text), 'hex'), '', id, '' FROM events")
}

// explainable tells whether a statement has a plan, and is not the one with which
// Check reads everything.
func explainable(sql string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, verb) &&
		sql != selectOutOfSequence
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

// everyOnceCommand runs commands that have an idempotency key.
func everyOnceCommand(t *testing.T, s *Store, k callbackd.Key, now time.Time) {
	t.Helper()
	must := must(t)
	o := store.NewOnce(k.ID, "POST /v1/callbacks", "k", nil, now)
	o.Show = func(any) (store.Answer, error) { return store.Answer{Status: 200, Body: []byte("{}")}, nil }
	_, err := s.ChangeCallback(store.WithOnce(t.Context(), o), k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{At: now})
		return nil
	})
	must(err)
	if err := s.Answered(t.Context(), o); err == nil {
		t.Error("the answer is not kept")
	}
	p := store.NewOnce(k.ID, "POST /v1/sessions", "k", nil, now)
	p.Show = o.Show
	key := callbackd.NewSessionKey(k.Account)
	must(s.CreateSession(t.Context(), &callbackd.Session{Key: k.ID, SessionKey: key, Status: callbackd.StatusIdle, CreatedAt: now}))
	_, _, err = s.ChangeSession(store.WithOnce(t.Context(), p), k.ID, key, now, func(*callbackd.Session) (store.SessionChange, error) { return store.SessionChange{Remove: true}, nil })
	must(err)
	_, err = s.SweepAnswers(t.Context(), now.Add(time.Hour), 10)
	must(err)
}

// everyCommand runs each command, in each of its ways.
func everyCommand(t *testing.T, s *Store) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	must := must(t)
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: now})
	must(err)
	cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, now)
	must(err)
	b := store.Batch{Key: k.ID, At: now, Idempotency: "x"}
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
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	for i, state := range []callbackd.State{callbackd.Failed, callbackd.Pending} {
		o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[i].ID, Callback: cb.ID}},
			Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{Fault: callbackd.FaultStatus, Status: 500}, Decision: callbackd.Decision{State: state, Due: now}},
			Change:  callbackd.CallbackChange{Version: 1, HealthTurned: true, Pause: callbackd.PausedGone, ClosedUntil: now, Proven: true}}
		_, err := s.Record(ctx, o)
		must(err)
	}
	_, err = s.Backlogs(ctx)
	must(err)
	_, err = s.FirstAttempts(ctx, cb.ID, 0, 1)
	must(err)
	_, _, err = s.Due(ctx, callbackd.DueRetries, cb.ID, now, 1)
	must(err)
	_, err = s.Blocked(ctx, cb.ID, now, 1)
	must(err)
	_, err = s.FirstAttemptsByID(ctx, []callbackd.DeliveryID{id})
	must(err)
	_, err = s.Lanes(ctx, cb.ID, []callbackd.LaneCursor{{Session: "S"}}, 1)
	must(err)
	_, err = s.Delivery(ctx, k.ID, id, 0)
	must(err)
	_, err = s.Delivery(ctx, k.ID, id, 2)
	must(err)
	_, err = s.Event(ctx, k.ID, evs[0].ID)
	must(err)
	_, err = s.EventByID(ctx, evs[0].ID)
	must(err)
	_, err = s.CallbackVersion(ctx, cb.ID, 1)
	must(err)
	_, err = s.Callback(ctx, k.ID, callbackd.Complete, "default")
	must(err)
	s.DropAll()
	_, err = s.CallbackByID(ctx, cb.ID)
	must(err)
	_, err = s.KeyByID(ctx, k.ID)
	must(err)
	s.DropAll()
	_, err = s.Key(ctx, "k")
	must(err)
	_, err = s.ListKeys(ctx)
	must(err)
	_, err = s.ChangeCallback(ctx, cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		stored.Replace(cb, now)
		return nil
	})
	must(err)
	_, err = s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		return cb.RotateSecret("next", now, now)
	})
	must(err)
	_, err = s.ListEvents(ctx, store.EventQuery{Key: k.ID, Until: now.Add(time.Hour), Limit: 1})
	must(err)
	for _, ev := range evs[:3] { // one that failed, one that waits for a retry, one that was not tried
		_, err = s.Resend(ctx, k.ID, callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, now)
		must(err)
	}
	everySessionCommand(t, s, k, now)
	everyOnceCommand(t, s, k, now)
	everyReplayCommand(t, s, k, now)
	everyConsoleCommand(t, s, k, cb, now)
	_, err = s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{At: now})
		return nil
	})
	must(err)
	_, _, err = s.MakeDue(ctx, cb.ID, now, 1)
	must(err)
	_, err = s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.Delete(now)
		return nil
	})
	must(err)
	everyForgetting(t, s, k, now)
	_, err = s.FinalizeCanceled(ctx, now, 1000)
	must(err)
	everyList(t, s, k.ID)
	for i, fault := range []callbackd.Fault{callbackd.NoFault, callbackd.FaultStatus} { // of attempts that outlast their callback
		_, err = s.Record(ctx, callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[i].ID, Callback: cb.ID}},
			Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{Fault: fault}, Decision: callbackd.Decision{State: callbackd.Failed}}})
		must(err)
	}
	_, _, _, err = s.Sweep(ctx, now.Add(time.Hour), 0, 1000)
	must(err)
	must(s.ChangeKey(ctx, "k", func(k *callbackd.Key) error {
		k.Revoke(now)
		return nil
	}))
	_, err = s.FinalizeCanceled(ctx, now, 1000)
	must(err)
	_, _, _, err = s.Sweep(ctx, now.Add(time.Hour), 0, 1000)
	must(err)
	everyClusterCommand(t, s, k)
	_, err = s.Check(ctx)
	must(err)
	must(s.Ready(ctx))
}

func everyForgetting(t *testing.T, s *Store, k callbackd.Key, now time.Time) {
	ctx, must := t.Context(), must(t)
	setting := callbackd.Callback{Key: k.ID, Event: callbackd.NoteInsert, Name: "default", URL: "https://a.example/", Method: "POST", Payload: []byte("{}")}
	_, _, err := s.CreateCallback(ctx, setting, now)
	must(err)
	setting.URL = "https://a.example/2"
	_, err = s.ChangeCallback(ctx, setting.Key, setting.Event, setting.Name, func(stored *callbackd.Callback) error {
		stored.Replace(&setting, now)
		return nil
	})
	must(err)
	_, err = s.Accept(ctx, store.Batch{Key: k.ID, At: now, Events: []store.NewEvent{{Type: callbackd.NoteInsert, Session: "S", Data: []byte("{}")}}})
	must(err)
	_, err = s.Forgettable(ctx, now)
	must(err)
	_, _, _, err = s.Pointed(ctx, k.ID, 0, 1000)
	must(err)
	unused, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "unused", URL: "https://a.example/", Payload: []byte("{}")}, now)
	must(err)
	_, err = s.ChangeCallback(ctx, k.ID, unused.Event, unused.Name, func(cb *callbackd.Callback) error {
		cb.Delete(now)
		return nil
	})
	must(err)
	_, err = s.Forget(ctx, k.ID, nil, now.Add(time.Hour), 10)
	must(err)
	must(s.CreateLogin(ctx, store.Login{Hash: [32]byte{9}, Key: k.ID, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}))
}

func everyClusterCommand(t *testing.T, s *Store, k callbackd.Key) {
	ctx, must := t.Context(), must(t)
	no, err := s.Join(ctx, store.Node{Name: "n"})
	must(err)
	shards, _, err := s.Claim(ctx, no, 5)
	must(err)
	_, err = s.Release(ctx, no, shards[:1])
	must(err)
	var beat store.Heartbeat
	beat.ID = no
	_, err = s.Heartbeat(ctx, beat, 0)
	must(err)
	_, err = s.Nodes(ctx)
	must(err)
	must(s.Notify(ctx, []store.Message{{To: no, Body: "x"}}))
	_, err = s.newestOf(ctx, []callbackd.KeyID{k.ID})
	must(err)
	must(s.Leave(ctx, no))
}

// What a page may ask of a store has its statements among those whose plans
// are looked at: everyCommand calls each method of the contract.
func TestEveryCommandIsExplained(t *testing.T) {
	source, err := os.ReadFile("plan_test.go")
	if err != nil {
		t.Fatal(err)
	}
	contract := reflect.TypeFor[store.Store]()
	for i := range contract.NumMethod() {
		name := contract.Method(i).Name
		if slices.Contains([]string{"OnCommit", "Watch"}, name) { // they ask nothing
			continue
		}
		if !strings.Contains(string(source), "s."+name+"(") {
			t.Errorf("everyCommand does not call %s", name)
		}
	}
}

// must ends the test at an error.
func must(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func everySessionCommand(t *testing.T, s *Store, k callbackd.Key, now time.Time) {
	ctx, must := t.Context(), must(t)
	must(s.CreateSession(ctx, &callbackd.Session{Key: k.ID, SessionKey: "X", Status: callbackd.StatusIdle, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}))
	note := callbackd.Note{Title: "n", InsertedAt: now}
	for _, c := range []store.SessionChange{
		{Events: []store.NewEvent{{Type: callbackd.Complete, Data: []byte("{}"), Idempotency: "s"}}, Notes: []callbackd.Note{note}}, {}, {Remove: true},
	} {
		_, err := s.SessionNotes(ctx, k.ID, "X")
		must(err)
		_, err = s.Session(ctx, k.ID, "X")
		must(err)
		_, _, err = s.ChangeSession(ctx, k.ID, "X", now, func(x *callbackd.Session) (store.SessionChange, error) {
			if x.Notes += len(c.Notes); len(c.Notes) == 0 {
				x.Status = callbackd.StatusStarted
			}
			return c, nil
		})
		must(err)
		for _, newest := range []bool{false, true} {
			_, err = s.SessionEvents(ctx, store.SessionEventQuery{Key: k.ID, Session: "X", Newest: newest, Limit: 10})
			must(err)
		}
	}
	_, _, err := s.DueSessions(ctx, now, 10)
	must(err)
	must(s.CreateSession(ctx, &callbackd.Session{Key: k.ID, SessionKey: "Y", Status: callbackd.StatusComplete, CreatedAt: now, EndedAt: now}))
	_, err = s.SweepSessions(ctx, now.Add(time.Hour), 10)
	must(err)
	for _, session := range []string{"", "X"} {
		_, err = s.EventsAfter(ctx, store.EventQuery{Key: k.ID, Session: session, Limit: 10})
		must(err)
	}
}

// everyList runs each list of a key, or of all, in each of its ways.
func everyList(t *testing.T, s *Store, key callbackd.KeyID) {
	ctx, must := t.Context(), must(t)
	for _, after := range []int64{0, 1} {
		q := store.CallbackQuery{Key: key, After: callbackd.CallbackID(after), Limit: 1}
		_, err := s.ListCallbacks(ctx, q)
		must(err)
		_, err = s.ListHealth(ctx, store.HealthQuery{CallbackQuery: q})
		must(err)
		_, _, err = s.ListReplays(ctx, key, callbackd.ReplayID(after), 10)
		must(err)
		_, err = s.ListLogs(ctx, store.LogQuery{Key: key, After: store.LogCursor{ID: store.LogID(after)}, Limit: 10})
		must(err)
	}
	_, err := s.SessionEvents(ctx, store.SessionEventQuery{Key: key, Session: "S", Limit: 10})
	must(err)
	for _, session := range []string{"", "S"} {
		_, err := s.ListEvents(ctx, store.EventQuery{Key: key, Session: session, Limit: 1})
		must(err)
		for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled} {
			for _, status := range []int{0, 5} {
				_, err = s.ListDeliveries(ctx, store.DeliveryQuery{Key: key, Session: session, State: state, Status: status, Limit: 1})
				must(err)
			}
		}
	}
	for _, q := range []store.SessionQuery{{VIN: "1FTEW1EP5NKD00001"}, {SessionKey: "X"}, {Status: callbackd.StatusIdle}, {Text: "x"}} {
		q.Key, q.Limit = key, 10
		_, err := s.ListSessions(ctx, q)
		must(err)
	}
	_, err = s.LatestEvents(ctx, []store.SessionID{{Key: key, SessionKey: "X"}}, 10)
	must(err)
}

func everyReplayCommand(t *testing.T, s *Store, k callbackd.Key, now time.Time) {
	ctx, must := t.Context(), must(t)
	target, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "later", URL: "https://a.example/", Payload: []byte("{}")}, now)
	must(err)
	for _, f := range []callbackd.ReplayFilter{{}, {Session: "S"}, {States: []callbackd.State{callbackd.Failed}}, {States: []callbackd.State{callbackd.Pending}}, {Target: target.ID}} {
		_, err := s.CountReplay(ctx, k.ID, f)
		must(err)
		r, err := s.CreateReplay(ctx, callbackd.Replay{Key: k.ID, Filter: f, CreatedAt: now})
		must(err)
		_, err = s.Replay(ctx, k.ID, r.ID)
		must(err)
		_, err = s.StepReplay(ctx, r.ID, now)
		must(err)
		_, err = s.SetReplayState(ctx, k.ID, r.ID, callbackd.ReplayCanceled, now)
		if callbackd.KindOf(err) != callbackd.KindConflict { // it may be done
			must(err)
		}
	}
	_, _, err = s.Due(ctx, callbackd.DueReplays, target.ID, now, 10)
	must(err)
	_, err = s.RunningReplays(ctx)
	must(err)
}

func everyConsoleCommand(t *testing.T, s *Store, k callbackd.Key, cb *callbackd.Callback, now time.Time) {
	ctx, must := t.Context(), must(t)
	must(s.AppendLogs(ctx, []store.LogEntry{{Key: k.ID, At: now}, {Key: k.ID, At: now, Count: 2}}))
	must(s.AddCounters(ctx, []store.MinuteCounters{{Callback: cb.ID, Key: k.ID, Minute: now, Counters: store.Counters{Delivered: 1}, Receiver: store.Receiver{LastSuccess: now}}}))
	_, err := s.ListStats(ctx, store.StatsQuery{Callback: cb.ID, Interval: store.Minute, Since: now.Add(-time.Hour), Until: now})
	must(err)
	_, err = s.ListHealth(ctx, store.HealthQuery{Attention: true, CertBefore: now})
	must(err)
	everyList(t, s, k.ID)
	everyList(t, s, store.AllKeys)
	_, err = s.Receiver(ctx, cb.ID)
	must(err)
	_, err = s.CountPending(ctx, cb.ID, store.PendingQuery{Limit: 10})
	must(err)
	_, err = s.Prune(ctx, store.Prune{Logs: now, Minutes: now, Hours: now, Replays: now}, 10)
	must(err)
	must(s.CreateLogin(ctx, store.Login{Hash: [32]byte{1}, Link: true, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}))
	_, err = s.TakeLink(ctx, [32]byte{1}, now)
	must(err)
	if _, err = s.Login(ctx, [32]byte{1}, now); callbackd.KindOf(err) != callbackd.KindNotFound {
		t.Errorf("a link that was taken: %v", err)
	}
	must(s.DeleteLogin(ctx, [32]byte{1}))
	change := func(k *callbackd.Key) error {
		k.CaptureURL = "https://capture.example/{session_key}"
		return k.Rotate("next", now)
	}
	must(s.ChangeKey(ctx, "k", change))
	if err := s.ChangeKey(ctx, "no such key", change); callbackd.KindOf(err) != callbackd.KindNotFound {
		t.Errorf("a key that is not there was changed: %v", err)
	}
}
