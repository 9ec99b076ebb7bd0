package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/storetest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// New connections fall silent between their handshake and their first statement. The
// store gives them up and works again.
func TestNewConnectionsThatFallSilent(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t)+"&connect_timeout=1")
	d, nodes := newDatabase(t, u, 1)
	s := nodes[0]
	s.patience = 200 * time.Millisecond // of what cannot succeed
	ln.muteAt("set_config")
	ln.cut()
	s.reset()
	for range hotConns + 1 {
		if _, err := d.accept(s, time.Now(), "S"); callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Errorf("without a line: %v", err)
		}
	}
	ln.mute.Store(nil)
	s.patience = unhurried
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := 1; ; n++ {
		if _, err := d.accept(s, time.Now(), "S"); err == nil {
			break
		} else if !backoff(ctx, n) {
			t.Fatalf("the store does not work again: %v", err)
		}
	}
}

// All connections have fallen silent. The first use of one of them drops all connections
// of its pool. So the second use succeeds, however slow the machine is: with another
// silent connection it would wait until its patience ends.
func TestConnectionsThatLeadNowhere(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	defer ln.cut() // the close of the store would wait for silent connections
	d, nodes := newDatabase(t, u, 1)
	s := nodes[0]
	evs, err := d.accept(s, time.Now(), "S")
	d.must(err)
	var held []*pgxpool.Conn
	for range sharedConns {
		conn, err := s.shared.Acquire(t.Context())
		d.must(err)
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Release()
	}
	read := func() error { _, err := s.Event(t.Context(), d.key.ID, evs[0].ID); return err }
	accept := func() error { _, err := d.accept(s, time.Now(), "S"); return err }
	ln.silence()
	for name, use := range map[string]func() error{"read": read, "accept": accept} {
		s.patience = 300 * time.Millisecond // of what cannot succeed
		if err := use(); callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Errorf("the first %s: %v, want Unavailable", name, err)
		}
		s.patience = unhurried
		if err := use(); err != nil {
			t.Errorf("the second %s: %v", name, err)
		}
	}
}

// While the read of the revision gets no answer, each caller waits only until its own
// context ends, whichever caller began the read.
func TestCallersDoNotQueueForTheRevision(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	_, nodes := newDatabase(t, u, 1)
	s := nodes[0]
	_, err := s.Key(t.Context(), "k")
	must(t)(err)
	ln.muteAt("") // everything
	aged(s)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := s.Key(ctx, "k"); first <- err }()
	for n := 1; ; n++ {
		s.cached.mu.Lock()
		asking := s.cached.asking
		s.cached.mu.Unlock()
		if asking != nil {
			break
		}
		backoff(t.Context(), 1)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if _, err := s.Key(over, "k"); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Error(err)
	}
	select {
	case err := <-first:
		t.Errorf("the second waited for the first: %v", err)
	default:
	}
	cancel()
	if err := <-first; callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Error(err)
	}
	ln.mute.Store(nil)
	ln.cut()
	if _, err := s.Key(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

// Events, outcomes and API keys do not wait for readers that hold every shared
// connection.
func TestReadersDoNotHoldUpTheHotPath(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	s := nodes[0]
	for range sharedConns {
		conn, err := s.shared.Acquire(t.Context())
		d.must(err)
		defer conn.Release()
	}
	aged(s)
	s.DropAll()
	_, err := s.Key(t.Context(), "k")
	d.must(err)
	evs, err := d.accept(s, time.Now(), "S")
	d.must(err)
	_, err = s.Record(t.Context(), &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: d.cb.ID}},
		Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}})
	d.must(err)
}

// A node falls silent during a transaction: the others wait for its locks and do not
// fail.
func TestLocksOfASilentNodeAreWaitedFor(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	_, err := d.accept(nodes[1], time.Now(), "S")
	d.must(err)
	conn, err := nodes[0].hot.Acquire(t.Context())
	d.must(err)
	defer conn.Release()
	for _, sql := range []string{"BEGIN", "SELECT 1 FROM session_sequences FOR UPDATE", nextRevision} {
		_, err = conn.Exec(t.Context(), sql)
		d.must(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		if _, err := d.accept(nodes[1], time.Now(), "S"); err != nil {
			t.Error(err)
		}
	})
	work.Go(func() {
		if err := nodes[1].ChangeKey(t.Context(), "k", func(k *callbackd.Key) error {
			k.Revoke(time.Now())
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	work.Wait()
}

// Both ends of every connection detect that the other one is gone.
func TestBothEndsAskWhetherTheOtherIsThere(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	s := nodes[0]
	d.must(s.read(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		var got string
		d.must(conn.QueryRow(ctx, "SELECT concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))").Scan(&got))
		if got != "5 2 3 10s" && got != "5 2 3 10000" {
			t.Errorf("the server's: %s", got)
		}
		raw, err := conn.PgConn().Conn().(syscall.Conn).SyscallConn()
		d.must(err)
		return raw.Control(func(fd uintptr) {
			for option, want := range map[int]int{syscall.TCP_KEEPIDLE: 5, syscall.TCP_KEEPINTVL: 2, syscall.TCP_KEEPCNT: 3} {
				if got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option); err != nil || got != want {
					t.Errorf("option %d is %d, %v", option, got, err)
				}
			}
		})
	}))
}

// A command that is queued after the committers have ended is answered.
func TestCommandsAtTheCloseAreAnswered(t *testing.T) {
	s := &Store{closing: make(chan struct{}), served: make(chan struct{})}
	close(s.served)
	c := newCommand()
	if err := submit(t.Context(), s, make(chan *command, 1), &c, &c); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Error(err)
	}
}

// A command that gets no place in the queue is refused after a while.
func TestNoPlaceInTheQueue(t *testing.T) {
	s := &Store{closing: make(chan struct{}), patience: time.Millisecond}
	c := newCommand()
	if err := submit(context.Background(), s, make(chan *command), &c, &c); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Error(err)
	}
}

// The retry of a commit that was not answered recognizes the callback that it has created
// itself.
func TestLostAnswerOfANewCallback(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	c := callbackd.Callback{Key: d.key.ID, Event: callbackd.StatusChange, Name: "n", URL: "https://a.example/", Payload: []byte("{}")}
	for _, want := range []bool{true, false} {
		if want {
			ln.swallowNext("COMMIT")
		}
		got, created, err := nodes[0].CreateCallback(t.Context(), c, time.Now())
		d.must(err)
		d.equal("created", created, want)
		d.equal("name", got.Name, "n")
		d.equal("cuts", ln.cuts.Load(), int64(1))
	}
}

// A server that took over has lost the last changes of settings. A node does not keep
// using them.
func TestSettingsThatAFailoverLost(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	s := nodes[0]
	known := func() *callbackd.Callback {
		cb, err := s.CallbackByID(t.Context(), d.cb.ID)
		d.must(err)
		return cb
	}
	_, err := s.ChangeCallback(t.Context(), d.key.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now()})
		return nil
	})
	d.must(err)
	aged(s)
	if !known().Paused() {
		t.Fatal("not paused")
	}
	for _, sql := range []string{"UPDATE callbacks SET pause_reason = '', paused_at = NULL, revision = 1", "UPDATE settings SET revision = revision - 1"} {
		_, err := s.shared.Exec(t.Context(), sql)
		d.must(err)
	}
	aged(s)
	if known().Paused() {
		t.Error("the change that was lost is still in force")
	}
}

// A text that PostgreSQL cannot store is no API key.
func TestAPIKeysThatAreNoText(t *testing.T) {
	t.Parallel()
	_, nodes := newDatabase(t, stock.URL(t), 1)
	for _, text := range []string{"\xff", "k\x00"} {
		if _, err := nodes[0].Key(t.Context(), text); callbackd.KindOf(err) != callbackd.KindNotFound {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A node waits until another node's migration ends, however long that takes.
func TestStartWaitsForAMigration(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	conn, err := nodes[0].shared.Acquire(t.Context())
	d.must(err)
	defer conn.Release()
	tx, err := conn.Begin(t.Context())
	d.must(err)
	_, err = tx.Exec(t.Context(), lockSetup)
	d.must(err)
	o := d.Options
	o.URL, o.patience = o.URL+"&lock_timeout=50", time.Second
	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), o)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	var waiting bool
	for !waiting {
		d.must(tx.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_locks h USING (database, classid, objid, objsubid) WHERE l.locktype = 'advisory' AND NOT l.granted AND h.granted AND h.pid = pg_backend_pid())").Scan(&waiting))
		backoff(t.Context(), 1)
		select {
		case err := <-opened:
			t.Fatalf("the node does not wait for the migration: %v", err)
		default:
		}
	}
	for range 6 { // longer than its patience
		backoff(t.Context(), 7)
	}
	d.must(tx.Commit(t.Context()))
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// Results that an earlier version stored are served in PAVE's form.
func TestEarlierResultsAreServedFlat(t *testing.T) {
	t.Parallel()
	rows, err := os.ReadFile("testdata/results_7720c39.sql")
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.URL(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	all, err := migrations()
	if err == nil {
		err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { return migrateBy(t.Context(), tx, all[:2]) })
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(t.Context(), string(rows)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{URL: url, KeysetFile: filepath.Join(t.TempDir(), "keys.json")})
	defer s.Close()
	storetest.EarlierResults(t, s, "ACM-J0BWC4AI93", "ACM-3GG7YL1KDJ")
}

// The steps of the schema run in order, each once, all or none. An older program refuses
// the schema of a newer one.
func TestMigrationByTwoVersions(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, pgtest.URL(t), 1)
	ctx := t.Context()
	all, err := migrations()
	d.must(err)
	step := func(sql string) migration { return migration{version: len(all) + 1, sql: sql} }
	newer := append(all[:len(all):len(all)], step("ALTER TABLE keys ADD COLUMN hue text NOT NULL DEFAULT 'red'; CREATE TABLE hues (hue text)"))
	newer = append(newer, migration{version: len(all) + 2, sql: "INSERT INTO hues SELECT hue FROM keys"})
	run := func(steps []migration) error {
		return pgx.BeginFunc(ctx, nodes[0].shared, func(tx pgx.Tx) error { return migrateBy(ctx, tx, steps) })
	}
	hues := func() string {
		var got string
		err := nodes[0].shared.QueryRow(ctx, "SELECT string_agg(hue, ',') || (SELECT max(version) FROM schema_version) FROM hues").Scan(&got)
		if err != nil {
			return err.Error()
		}
		return got
	}
	broken := append(newer[:len(newer):len(newer)], migration{version: len(all) + 3, sql: "INSERT INTO nowhere VALUES (1)"})
	if err := run(broken); err == nil || !strings.Contains(hues(), "does not exist") {
		t.Errorf("part of a migration was committed: %s, %v", hues(), err)
	}
	for range 2 {
		d.must(run(newer))
		if got, want := hues(), fmt.Sprint("red", len(all)+2); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := run(all); err == nil || !strings.Contains(err.Error(), "newer callbackd") {
		t.Errorf("an older program: %v", err)
	}
	if _, err := nodes[0].Accept(ctx, store.Batch{Key: d.key.ID, At: time.Now(), Events: []store.NewEvent{d.event("S")}}); err != nil {
		t.Errorf("a node of the version before, which still runs: %v", err)
	}
}
