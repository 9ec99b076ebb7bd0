package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestJudge(t *testing.T) {
	lost := errors.New("connection reset")
	pg := func(severity, code string) error { return &pgconn.PgError{Severity: severity, Code: code} }
	for name, c := range map[string]struct {
		err        error
		committing bool
		want       verdict
	}{
		"the connection is lost before the commit": {lost, false, again},
		"the connection is lost within the commit": {lost, true, unknown},
		"serialization failure":                    {pg("ERROR", "40001"), true, again},
		"deadlock":                                 {pg("ERROR", "40P01"), true, again},
		"lock timeout":                             {pg("ERROR", "55P03"), true, again},
		"statement timeout":                        {pg("ERROR", "57014"), true, again},
		"demoted":                                  {pg("ERROR", "25006"), true, again},
		"too many connections":                     {pg("FATAL", "53300"), false, again},
		"disk full":                                {pg("ERROR", "53100"), true, again},
		"shutdown before the commit":               {pg("FATAL", "57P01"), false, again},
		"shutdown within the commit":               {pg("FATAL", "57P01"), true, unknown},
		"crash within the commit":                  {pg("FATAL", "57P02"), true, unknown},
		"starting up":                              {pg("FATAL", "57P03"), false, again},
		"unique violation":                         {pg("ERROR", "23505"), true, refused},
		"no such table":                            {pg("ERROR", "42P01"), true, refused},
		"an unknown code":                          {pg("ERROR", ""), true, refused},
	} {
		if got := judge(fmt.Errorf("wrapped: %w", c.err), c.committing); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A command is refused soon when the disk of the database is full, with the reason, and is made
// when there is room in time. Other faults are waited for.
func TestAFullDiskIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{patience: patience}
		for name, c := range map[string]struct {
			code        string
			lasts, most time.Duration
			want        string
		}{
			"full":               {"53100", time.Hour, 2 * fullPatience, "the database's disk is full"},
			"full for a moment":  {"53100", fullPatience / 2, fullPatience, ""},
			"starting up":        {"57P03", time.Hour, patience + time.Second, "the database cannot be reached"},
			"started up in time": {"57P03", patience / 2, patience, ""},
		} {
			begun := time.Now()
			err := s.insist(t.Context(), true, func(context.Context) (bool, error) {
				if time.Since(begun) < c.lasts {
					return false, &pgconn.PgError{Severity: "ERROR", Code: c.code}
				}
				return false, nil
			})
			if took := time.Since(begun); took > c.most {
				t.Errorf("%s: it takes %v, want at most %v", name, took, c.most)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: it ends with %v, want %q", name, err, c.want)
			}
		}
	})
}

// line is a connection to the database that can be cut.
type line struct {
	net.Listener
	to string
	// swallow is a part of an answer: when it comes, the line is cut instead of passing
	// it on, once.
	swallow atomic.Pointer[[]byte]
	cuts    atomic.Int64
	// A connection on which a client has sent mute passes on nothing more, and neither
	// side is told.
	mute atomic.Pointer[[]byte]
	mu   sync.Mutex
	open map[net.Conn]bool // false: nothing is passed on any more
}

// newLine returns a line to the database at rawURL, and the URL through it.
func newLine(t *testing.T, rawURL string) (*line, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	ln := &line{Listener: l, to: u.Host, open: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go ln.carry(client)
		}
	}()
	t.Cleanup(func() { l.Close(); ln.cut() })
	return ln, u.String()
}

func (l *line) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.open[client] = true
	l.mu.Unlock()
	go func() {
		defer server.Close()
		buf := make([]byte, 1<<16)
		for muted := false; ; {
			n, err := client.Read(buf)
			if part := l.mute.Load(); part != nil && bytes.Contains(buf[:n], *part) {
				muted = true
			}
			l.mu.Lock()
			carried := l.open[client]
			l.mu.Unlock()
			if err == nil && !muted && carried {
				_, err = server.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if part := l.swallow.Load(); part != nil && bytes.Contains(buf[:n], *part) && l.swallow.CompareAndSwap(part, nil) {
			l.cuts.Add(1)
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut ends every connection.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Close()
	}
	clear(l.open)
}

func (l *line) swallowNext(part string) {
	b := []byte(part)
	l.swallow.Store(&b)
}

// silence stops every connection without telling either side.
func (l *line) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		l.open[c] = false
	}
}

func (l *line) muteAt(part string) {
	b := []byte(part)
	l.mute.Store(&b)
}

// A commit is made and its answer is lost: the event is stored once, is handed over once,
// and is acknowledged.
func TestLostAnswerOfAnAcceptedEvent(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	s := nodes[0]
	handed := 0
	s.OnCommit(func(ds []callbackd.Delivery) { handed += len(ds) })
	for i, session := range []string{"new", "new", "other"} { // without and with a row of its own
		ln.swallowNext("COMMIT")
		evs, err := d.accept(s, time.Now(), session)
		if err != nil || ln.cuts.Load() != int64(i+1) {
			t.Fatalf("%v after %d cuts", err, ln.cuts.Load())
		}
		got, err := s.Event(t.Context(), d.key.ID, evs[0].ID)
		d.must(err)
		d.equal("the sequence number that was answered", evs[0].Sequence, got.Sequence)
		d.equal("events", d.checked(s), int64(i+1))
		d.equal("deliveries that were handed over", handed, i+1)
	}
}

// The same for an outcome: one attempt is stored, and the retry does not conflict with
// it.
func TestLostAnswerOfAnOutcome(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	s := nodes[0]
	evs, err := d.accept(s, time.Now(), "A", "B", "C")
	d.must(err)
	for i, turned := range []bool{false, true, false} {
		id := callbackd.DeliveryID{Event: evs[i].ID, Callback: d.cb.ID}
		want := []callbackd.State{callbackd.Delivered, callbackd.Delivered, callbackd.Pending}[i]
		part := "SELECT 1\x00"
		switch {
		case turned:
			part = "COMMIT\x00"
		case want == callbackd.Pending:
			part = "INSERT 0 1\x00"
		}
		ln.swallowNext(part)
		got, err := s.Record(t.Context(), &callbackd.Outcome{Delivery: callbackd.Delivery{ID: id}, Change: callbackd.CallbackChange{Version: 1, HealthTurned: turned, FailingSince: time.Now()},
			Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now()}, Decision: callbackd.Decision{State: want, Due: time.Now()}}})
		d.must(err)
		d.equal("the state that was recorded", got.State, want)
		d.equal("cuts", ln.cuts.Load(), int64(i+1))
		view, err := s.Delivery(t.Context(), d.key.ID, id, 0)
		d.must(err)
		d.equal("attempts in the history", len(view.History), 1)
		d.equal("attempts", view.Attempts, 1)
	}
	d.checked(s)
}

// load accepts and records through s until ctx ends, and counts what was
// acknowledged and what was refused. Nothing but Unavailable may be answered.
func load(ctx context.Context, d *database, s *Store) (acknowledged map[callbackd.EventID]bool, refused int) {
	var mu sync.Mutex
	var work sync.WaitGroup
	acknowledged = map[callbackd.EventID]bool{}
	for w := range 8 {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				evs, err := s.Accept(context.WithoutCancel(ctx), store.Batch{Key: d.key.ID, At: time.Now(), Events: []store.NewEvent{d.event(fmt.Sprint("S", (w+i)%5))}})
				if err == nil {
					_, err = s.Record(context.WithoutCancel(ctx), &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: d.cb.ID}},
						Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now()}, Decision: callbackd.Decision{State: callbackd.Delivered}}})
				}
				mu.Lock()
				switch {
				case evs != nil:
					acknowledged[evs[0].ID] = true
				case callbackd.KindOf(err) == callbackd.KindUnavailable:
					refused++
				}
				if err != nil && callbackd.KindOf(err) != callbackd.KindUnavailable {
					d.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return acknowledged, refused
}

// faulty runs load while it calls fault again and again. It checks that each acknowledged
// event is stored once, and that the store works afterwards.
func faulty(t *testing.T, d *database, s *Store, fault func(round int)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer stop()
		for round := range 20 {
			backoff(t.Context(), 5)
			fault(round)
		}
	}()
	acknowledged, refused := load(ctx, d, s)
	ctx, stop = context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for n := 1; ; n++ {
		err := s.Ready(ctx)
		if err == nil {
			break
		}
		if callbackd.KindOf(err) != callbackd.KindUnavailable || !backoff(ctx, n) {
			t.Fatalf("the store does not work after the faults: %v", err)
		}
	}
	s.patience = unhurried
	evs, err := d.accept(s, time.Now(), "after")
	d.must(err)
	if evs[0].Sequence != 1 {
		t.Errorf("a new session's sequence begins with %d, want 1", evs[0].Sequence)
	}
	for id := range acknowledged {
		if _, err := s.Event(t.Context(), d.key.ID, id); err != nil {
			t.Fatalf("acknowledged and lost: %v", err)
		}
	}
	if n := d.checked(s); n < int64(len(acknowledged)+1) || n > int64(len(acknowledged)+refused+1) {
		t.Errorf("%d events, %d acknowledged, %d refused", n, len(acknowledged), refused)
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
}

func TestConnectionsThatBreakUnderLoad(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	faulty(t, d, nodes[0], func(round int) {
		switch round % 3 {
		case 0:
			ln.cut()
		case 1:
			ln.swallowNext("COMMIT")
		case 2:
			ln.swallowNext("INSERT 0 ")
		}
	})
}

func TestBackendsThatAreTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	faulty(t, d, nodes[0], func(int) {
		_, err := nodes[1].shared.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name = 'callbackd'")
		if err != nil {
			t.Error(err)
		}
	})
}

// The server crashes under load and starts again: what was acknowledged is stored, and
// the store works again by itself.
func TestCrashOfTheServerUnderLoad(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	d, nodes := newDatabase(t, server.Schema(t), 1)
	faulty(t, d, nodes[0], func(round int) {
		if round%10 != 5 {
			return
		}
		if err := server.Signal(syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
		server.Wait()
		if err := server.Run(); err != nil {
			t.Error(err)
		}
	})
	nodes[0].Close() // before the server
}

// Without a free connection of the server, commands fail with Unavailable. The store
// works again when there is one.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start("max_connections=10", "superuser_reserved_connections=0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	d, nodes := newDatabase(t, server.Schema(t), 1)
	s := nodes[0]
	defer s.Close()
	s.reset()
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), d.URL)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Ready(ctx); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("with %d connections held: %v", len(held), err)
	}
	for _, conn := range held {
		d.must(conn.Close(t.Context()))
	}
	if _, err := d.accept(s, time.Now(), "S"); err != nil {
		t.Error(err)
	}
}

// The commands of a closed store are refused, and none hangs.
func TestClosed(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	nodes[0].Close()
	_, err := d.accept(nodes[0], time.Now(), "S")
	for _, err := range []error{err, nodes[0].Ready(t.Context()), nodes[0].Close()} {
		if err != nil && callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Error(err)
		}
	}
	if callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("after the close: %v", err)
	}
}
