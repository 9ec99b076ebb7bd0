package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/ncruces/go-sqlite3"
)

// The suite runs with all events in the buffer, as after a start, and with as few
// as possible.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, flushAt := range map[string]int{"Buffered": 0, "Flushed": 1} {
		t.Run(name, func(t *testing.T) {
			if flushAt == 1 && testing.Short() {
				t.Skip("the suite runs once with -short")
			}
			storetest.Run(t, func(t *testing.T, dir string) store.Store {
				if size(filepath.Join(dir, dbFile)) == 0 {
					copyEmpty(t, dir)
				}
				// Opening a connection takes longer than most cases use it.
				return open(t, Options{Dir: dir, flushAt: flushAt, readers: 2})
			})
		})
	}
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecondServerOnTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another callbackd runs") {
		t.Errorf("got %v", err)
	}
	secondary := open(t, Options{Dir: dir, Secondary: true})
	if _, err := secondary.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()}); err != nil {
		t.Error(err)
	}
	secondary.Close()
	k, err := s.Key(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Secret.Reveal(); got != "s" {
		t.Errorf("the secret is %q, want s", got)
	}
	s.Close()
	open(t, Options{Dir: dir}).Close()
}

func TestTheDataDirectoryMayHaveAnyName(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{"a#b", "a?mode=memory", "100%25", "with space", "ünï", "-x"} {
		dir := filepath.Join(parent, name)
		open(t, Options{Dir: dir}).Close()
		if st, err := os.Stat(filepath.Join(dir, dbFile)); err != nil || st.Size() == 0 {
			t.Errorf("%q: %v, %v", name, st, err)
		}
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 6 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestSecretsAreSealedOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "canary-api-secret", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.CreateCallback(t.Context(), callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}"),
		Headers: []callbackd.Header{{Name: "A", Value: "canary-header"}}, Secrets: []callbackd.SigningSecret{{Value: "canary-signing"}},
		Policy: callbackd.Policy{Auth: &callbackd.Auth{OAuth2: &callbackd.OAuth2{ClientSecret: "canary-client"}, TLS: &callbackd.ClientTLS{Key: "canary-key"}}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := store.NewOnce(k.ID, "POST /rotate", "k", nil, time.Now()) // its answer is a secret
	o.Show = func(any) (store.Answer, error) {
		return store.Answer{Status: 200, Body: []byte("canary-answer")}, nil
	}
	if _, err := s.ChangeCallback(store.WithOnce(t.Context(), o), k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		return cb.RotateSecret("canary-next", time.Now(), time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	files := func() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil || strings.Contains(string(b), "canary") {
				t.Errorf("%s holds a secret in clear, or %v", e.Name(), err)
			}
		}
	}
	files()
	s.Close()
	files()
	if err := os.Remove(filepath.Join(dir, KeysetFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without the keyset: %v", err)
	}
}

func TestSwappedCiphertextsDoNotOpen(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	for _, k := range []string{"k1", "k2"} {
		if _, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: k, Secret: "s", CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.write(t.Context(), func(t *tx) error {
		return t.query("UPDATE keys SET secret = (SELECT secret FROM keys WHERE api_key = 'k2') WHERE api_key = 'k1'", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Key(t.Context(), "k1"); err == nil || !strings.Contains(err.Error(), "tampered") {
		t.Errorf("got %v", err)
	}
}

// A full disk refuses, acknowledges nothing, and goes on when there is space.
func TestFullDisk(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	accept := func() ([]*callbackd.Event, error) {
		return s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: make([]byte, 100_000)}}})
	}
	limit := func(pages int64) {
		err := s.write(t.Context(), func(t *tx) error {
			return t.conn.Exec("PRAGMA max_page_count = " + map[bool]string{true: "500", false: "1073741823"}[pages > 0])
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(500)
	acknowledged := 0
	for range 100 {
		if _, err = accept(); err != nil {
			break
		}
		acknowledged++
	}
	if callbackd.KindOf(err) != callbackd.KindUnavailable || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("after %d: %v", acknowledged, err)
	}
	limit(0)
	evs, err := accept()
	if err != nil || evs[0].Sequence != int64(acknowledged+1) {
		t.Errorf("%d acknowledged, then %v, %v", acknowledged, evs, err)
	}
}

func TestCheckNamesPlantedFaults(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	k, _ := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	s.CreateCallback(t.Context(), callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
	b := store.Batch{Key: k.ID, At: time.Now()}
	for range 4 {
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: []byte("{}")})
	}
	evs, err := s.Accept(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	ended := callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[3].ID, Callback: 1}}, Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}
	if _, err := s.Record(t.Context(), &ended); err != nil {
		t.Fatal(err)
	}
	if err := (seam{s}).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"DELETE FROM pending WHERE event_id = " + itoa(evs[0].ID),
		"UPDATE pending SET sequence = 9 WHERE event_id = " + itoa(evs[1].ID),
		"INSERT INTO pending SELECT 7, 1, session, sequence, test, attempts, step, manual, NULL, NULL, NULL, 0, NULL, NULL FROM pending LIMIT 1",
		"UPDATE pending SET deliver_at = 5, expires_at = 9 WHERE event_id = " + itoa(evs[1].ID),
		"UPDATE events SET expires_at = 8 WHERE id = " + itoa(evs[1].ID),
		"INSERT INTO pending SELECT 1, " + itoa(evs[3].ID) + ", 'S', 4, 0, 1, 0, 0, NULL, 1, NULL, 0, NULL, NULL",
		"DELETE FROM events WHERE id = " + itoa(evs[2].ID),
		"DELETE FROM key_events WHERE id = " + itoa(evs[3].ID),
		"UPDATE events SET withheld = x'010178020178020178' WHERE id = " + itoa(evs[0].ID),
		"INSERT INTO owed_later VALUES (8, 1), (" + itoa(evs[3].ID) + ", 1)",
		"INSERT INTO replays (id, key_no, filter, rate, state, created_at, total, due) VALUES (5, 1, '{}', 0, 'running', 0, 3, 2)",
		`UPDATE keys SET limits = '{"publish_rate":-2}', callback_policy = '[]', retention_events = '{"x":1}'`,
	} {
		if err := s.write(t.Context(), func(t *tx) error { return t.query(sql, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(r.Faults, "\n")
	for _, want := range []string{"it is lost", "expires after its event", "is deferred to another time than its event", "another session or sequence", "pending as well", "belongs to no event", "is in 1 of the 2 indexes", "has the target 1 twice", "is withheld from 1, which is its target", "is withheld from 2 twice", "delivery dlv_0000000000008-1 belongs to no event", "has 2 pending deliveries by its counts, and 0 pending rows", "the limit publish_rate is -2", "the policy for callbacks of API key 1 is no JSON object", "retention_events of API key 1 cannot be right"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

func itoa(id callbackd.EventID) string {
	b := []byte{}
	for n := int64(id); n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// No statement except those of Check may walk a whole table of events,
// attempts or pending deliveries.
func TestNoStatementScansATable(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	storetestWarm(t, s)
	seen := 0
	explain := func(d *db) {
		var all []string
		for sql := range d.stmts {
			all = append(all, sql)
		}
		for _, sql := range all {
			if seen++; storetest.ReadsAll(sql) {
				continue
			}
			err := d.query("EXPLAIN QUERY PLAN "+sql, func(st *sqlite3.Stmt) error {
				plan := st.ColumnText(3)
				for _, table := range []string{"events", "attempts", "pending", "sessions", "replay_events", "replay_parts", "logs", "slots", "owed_later", "last_errors", "logins"} {
					if strings.HasPrefix(plan+" ", "SCAN "+table+" ") || strings.Contains(plan, "TEMP B-TREE") && !strings.HasPrefix(sql, "INSERT INTO") { // a flush sorts its few rows
						t.Errorf("%s\n  %s", sql, plan)
					}
				}
				// Only a list, which ends at its limit, and a count may walk the callbacks in force.
				if strings.HasPrefix(plan, "SCAN c USING INDEX callbacks_in_force") && !strings.Contains(sql, "ORDER BY c.key_no") && !strings.HasPrefix(sql, "SELECT count(*)") {
					t.Errorf("%s\n  %s", sql, plan)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	err := s.write(t.Context(), func(tx *tx) error { explain(tx.db); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for range maxReaders {
		r := <-s.readers.free
		explain(r)
		defer func() { s.readers.free <- r }()
	}
	if seen < 60 {
		t.Errorf("%d statements were prepared", seen)
	}
	t.Cleanup(func() { s.Close() })
}

// storetestWarm runs every command once on each connection, so that their
// statements are prepared.
func storetestWarm(t *testing.T, s *Store) {
	ctx, now := t.Context(), time.Now()
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, now)
	if err != nil {
		t.Fatal(err)
	}
	b := store.Batch{Key: k.ID, At: now, Idempotency: "x", Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}"), Idempotency: "y"}, {Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}}
	evs, err := s.Accept(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	s.Accept(ctx, b)
	ids := []callbackd.DeliveryID{{Event: evs[0].ID, Callback: cb.ID}, {Event: evs[1].ID, Callback: cb.ID}}
	for i, state := range []callbackd.State{callbackd.Failed, callbackd.Pending} {
		o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: ids[i]}, Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: now, Fault: callbackd.FaultStatus, Status: 500}, Decision: callbackd.Decision{State: state, Due: now}},
			Change: callbackd.CallbackChange{Version: 1, HealthTurned: true, Pause: callbackd.PausedGone, ClosedUntil: now, Proven: true}}
		if _, err := s.Record(ctx, &o); err != nil {
			t.Fatal(err)
		}
	}
	replay := warmReplay(t, s, k.ID, cb.ID)
	for range 2 * maxReaders { // every reader in turn
		warmReads(ctx, s, k.ID, cb.ID, replay)
		s.PendingCallbacks(ctx)
		s.Figures(ctx)
		s.Backlogs(ctx, now)
		s.Pending(ctx, callbackd.PendingRead{Callback: cb.ID, Limit: 1})
		s.Pending(ctx, callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: now, Limit: 1})
		s.Pending(ctx, callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Heads, At: now, Limit: 1})
		s.Pending(ctx, callbackd.PendingRead{Callback: cb.ID, Lanes: []callbackd.LaneCursor{{Session: "S"}}, Limit: 1})
		s.Event(ctx, k.ID, evs[0].ID)
		s.Earlier(ctx, callbackd.EarlierRead{Key: k.ID, Before: []callbackd.SessionEvent{{Session: "S", Event: evs[0].ID}}, At: now})
		s.Delivery(ctx, k.ID, ids[0], 0)
		for _, session := range []string{"", "S"} {
			s.ListEvents(ctx, store.EventQuery{Key: k.ID, Session: session, Limit: 1})
			for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed} {
				s.ListDeliveries(ctx, store.DeliveryQuery{Key: k.ID, Session: session, State: state, Limit: 1})
			}
		}
	}
	warmSessions(t, s, &k)
	s.CreateLogin(ctx, store.Login{Hash: [32]byte{1}, Key: k.ID, CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	s.Login(ctx, [32]byte{1}, now)
	s.TakeLogin(ctx, [32]byte{1})
	s.CreateToken(ctx, callbackd.OperatorToken{ID: "t", CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	s.UseTokens(ctx, map[string]time.Time{"t": now})
	s.RevokeToken(ctx, "t", now)
	s.Resend(ctx, k.ID, ids[0], now)
	s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{At: now})
		return nil
	})
	s.MakeDue(ctx, cb.ID, now, 1)
	s.Sweep(ctx, store.Sweep{Before: now.Add(time.Hour), Limit: 10, Look: true})
	s.Sweep(ctx, store.Sweep{Key: k.ID, Before: now.Add(-time.Hour), Types: map[callbackd.EventType]time.Time{callbackd.NoteInsert: now}, Limit: 10})
	s.Sweep(ctx, store.Sweep{Before: now.Add(time.Hour), Limit: 10})
	s.Forgettable(ctx, now)
	s.CountSessionCallbacks(ctx, k.ID, 10)
	s.SweepSessionCallbacks(ctx, now, now, 0, 10)
	s.ChangeCallback(ctx, k.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.Delete(now)
		return nil
	})
	f := store.Forget{Key: k.ID, Before: now, Events: 10, Rows: 10}
	for range 2 {
		s.Forget(ctx, &f)
	}
	s.FinalizeCanceled(ctx, now, 10)
	s.Record(ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: ids[0]}, Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}})
	s.Sweep(ctx, store.Sweep{Before: now.Add(time.Hour), Limit: 10})
}

// warmReplay runs what replays, logs and sums write.
func warmReplay(t *testing.T, s *Store, key callbackd.KeyID, cb callbackd.CallbackID) callbackd.ReplayID {
	ctx, now := t.Context(), time.Now()
	r, err := s.CreateReplay(ctx, callbackd.Replay{Key: key, Filter: callbackd.ReplayFilter{Target: cb}, CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StepReplay(ctx, r.ID, now); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendLogs(ctx, []store.LogEntry{{Key: key, At: now}, {Key: key, At: now, Count: 1}, {Key: key, At: now, Count: 1}}); err != nil {
		t.Fatal(err)
	}
	tally := store.MinuteCounters{Callback: cb, Key: key, Minute: now, Receiver: store.Receiver{LastSuccess: now}}
	if err := s.AddCounters(ctx, []store.MinuteCounters{tally}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(ctx, store.Prune{Logs: now, Minutes: now, Hours: now, Replays: now}, 10); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// warmReads runs what they are read with.
func warmReads(ctx context.Context, s *Store, key callbackd.KeyID, cb callbackd.CallbackID, replay callbackd.ReplayID) {
	now := time.Now()
	s.Replay(ctx, key, replay)
	s.ListReplays(ctx, store.ReplayQuery{Key: store.AllKeys, Running: true, Limit: 1})
	s.CountReplay(ctx, key, callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}})
	s.CountReplay(ctx, key, callbackd.ReplayFilter{Session: "S"})
	s.Pending(ctx, callbackd.PendingRead{Callback: cb, Source: callbackd.Replays, At: now, Limit: 1})
	s.EventsAfter(ctx, store.EventQuery{Key: key, Limit: 1})
	s.EventsAfter(ctx, store.EventQuery{Key: key, Session: "S", Limit: 1})
	s.ListStats(ctx, store.StatsQuery{Key: key, Interval: store.Hour, Since: now, Until: now})
	s.ListHealth(ctx, store.HealthQuery{Attention: true, CertBefore: now})
	warmLists(ctx, s, key)
	warmLists(ctx, s, store.AllKeys)
	s.Health(ctx, cb, store.PendingQuery{Limit: 1})
	for _, newest := range []bool{false, true} {
		s.SessionEvents(ctx, store.SessionEventQuery{Key: key, Session: "S", Newest: newest, Limit: 1})
	}
}

// warmLists runs each list of a key, or of all, in each of its ways.
func warmLists(ctx context.Context, s *Store, key callbackd.KeyID) {
	for _, after := range []int64{0, 1} {
		callbacks := store.CallbackQuery{Key: key, After: callbackd.CallbackID(after), Limit: 1}
		s.ListHealth(ctx, store.HealthQuery{CallbackQuery: callbacks})
		s.ListReplays(ctx, store.ReplayQuery{Key: key, After: callbackd.ReplayID(after), Limit: 10})
		s.ListReplays(ctx, store.ReplayQuery{Key: key, Running: true, After: callbackd.ReplayID(after), Limit: 10})
		s.ListLogs(ctx, store.LogQuery{Key: key, After: store.LogCursor{ID: store.LogID(after)}, Limit: 1})
	}
	for _, session := range []string{"", "S"} {
		s.ListEvents(ctx, store.EventQuery{Key: key, Session: session, Limit: 1})
		for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled} {
			s.ListDeliveries(ctx, store.DeliveryQuery{Key: key, Session: session, State: state, Limit: 1})
			s.ListDeliveries(ctx, store.DeliveryQuery{Key: key, Session: session, State: state, Status: 5, Limit: 1})
		}
	}
	for _, q := range []store.SessionQuery{{VIN: "1FTEW1EP5NKD00001"}, {SessionKey: "S"}, {Status: callbackd.StatusIdle}, {Text: "x"}} {
		q.Key, q.Limit = key, 1
		s.ListSessions(ctx, q)
	}
	s.LatestEvents(ctx, []store.SessionID{{Key: key, SessionKey: "S"}}, 1)
}

// A command that comes after the writer has ended is refused and does not wait.
func TestCommandsAfterTheEndAreRefused(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 { // a closed store and a free place are both ready: either may be chosen
		if err := s.Ready(t.Context()); callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Fatal(err)
		}
	}
}
