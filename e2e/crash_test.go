package e2e

import (
	"context"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"

	"github.com/ncruces/go-sqlite3"
)

var rounds = flag.Int("rounds", 20, "rounds of kill -9 under load")

// load publishes from many sides until it is stopped: single events, batches,
// and events that are repeated until they are acknowledged.
type load struct {
	base  atomic.Pointer[string] // the server as it is now
	acked sync.Map               // webhook-id
	n     atomic.Int64           // acknowledged
	wake  func()
}

func (l *load) ack(id string) {
	l.acked.Store(id, true)
	l.n.Add(1)
	l.wake()
}

// single publishes one event after the other.
func (l *load) single(ctx context.Context, cl client.Client, session func(i int) string) {
	for i := 0; ctx.Err() == nil; i++ {
		cl.Base = *l.base.Load()
		if got, err := cl.Publish(ctx, client.NewEvent{Event: event, SessionKey: session(i), Data: map[string]int{"i": i}}); err == nil {
			l.ack(got.ID)
		}
	}
}

// batches publishes five events a request.
func (l *load) batches(ctx context.Context, cl client.Client, session func(i int) string) {
	for i := 0; ctx.Err() == nil; i++ {
		var b []client.NewEvent
		for j := range 5 {
			b = append(b, client.NewEvent{Event: event, SessionKey: session(i + j/2), Data: map[string]int{"i": i}})
		}
		cl.Base = *l.base.Load()
		var got []wire.Accepted
		if cl.Do(ctx, "POST", "/v1/events", b, &got) == nil {
			for _, a := range got {
				l.ack(a.ID)
			}
		}
	}
}

// repeats publishes each event with an id until it is acknowledged.
func (l *load) repeats(ctx context.Context, cl client.Client, session func(i int) string) {
	for i := 0; ctx.Err() == nil; i++ {
		once := fmt.Sprint(session(i), "-", i)
		for ctx.Err() == nil {
			cl.Base = *l.base.Load()
			got, err := cl.Publish(ctx, client.NewEvent{Event: event, SessionKey: session(i), ID: once, Data: map[string]string{"once": once}})
			if err == nil {
				l.ack(got.ID)
				break
			}
		}
	}
}

// recorded is every attempt whose outcome is in a database that a killed
// server left. It is read from a copy: the server must find its own mess.
func recorded(t *testing.T, dir string) map[try]bool {
	t.Helper()
	at := t.TempDir()
	copyFile(t, filepath.Join(dir, "callbackd.db"), filepath.Join(at, "db"))
	copyFile(t, filepath.Join(dir, "callbackd.db-wal"), filepath.Join(at, "db-wal"))
	conn, err := sqlite3.Open(filepath.Join(at, "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	st, _, err := conn.Prepare("SELECT event_id, n FROM attempts")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	out := map[try]bool{}
	for st.Step() {
		out[try{callbackd.EventID(st.ColumnInt64(0)).String(), st.ColumnInt(1)}] = true
	}
	if err := st.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKillNine checks the promises 1, 3 and 4 of README.md with a process that dies at
// random moments and a receiver that fails now and then: what was acknowledged
// arrives, first arrivals are in order, an event that was published with an
// id exists once, and an attempt is made again only if it was in flight when
// the process died.
func TestKillNine(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	sk.answer = func(_ context.Context, a try, _ int64) int {
		if a.n == 1 && crc32.ChecksumIEEE([]byte(a.id))%11 == 0 { // scattered: the breaker stays shut
			return 503
		}
		return 200
	}
	dir, srv, cl := begin(t, sk)
	l := &load{wake: sk.wake}
	l.base.Store(&srv.url)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for w := range 8 {
		publish := []func(context.Context, client.Client, func(int) string){l.single, l.batches, l.repeats}[w%3]
		work.Go(func() { publish(ctx, *cl, func(i int) string { return fmt.Sprintf("S%d-%d", w, i%5) }) })
	}
	inFlight := map[try]int{} // to the kills that broke it off
	most := 0
	for range *rounds {
		more := l.n.Load() + 20 + rand.Int64N(300)
		sk.await(t, "the load goes on", func() bool { return l.n.Load() >= more })
		srv.kill()
		sk.await(t, "what was under way ends", func() bool { return sk.conns == 0 })
		most = max(most, sk.notRecorded(recorded(t, dir), inFlight))
		srv = serve(t, dir)
		l.base.Store(&srv.url)
	}
	stop()
	work.Wait()
	sk.await(t, "every acknowledged event arrives", func() bool {
		all := true
		l.acked.Range(func(id, _ any) bool { all = sk.ids[id.(string)] > 0; return all })
		return all
	})
	if code := srv.term(t); code != 0 {
		t.Errorf("SIGTERM: exit %d\n%s", code, srv.log)
	}
	if lanes := 8 * 5; most > lanes {
		t.Errorf("%d attempts were in flight at a kill, want one of each of %d lanes or fewer", most, lanes)
	}
	repeats := sk.wantRepeatsOf(t, inFlight)
	sk.mu.Lock()
	defer sk.mu.Unlock()
	sk.onceEach(t, inFlight)
	sk.inOrder(t)
	t.Logf("%d acknowledged, %d arrived, %d attempts repeated in %d rounds, at most %d in flight", l.n.Load(), len(sk.ids), repeats, *rounds, most)
	fsck(t, dir)
}

// onceEach checks that each event was taken once, and once more for each kill that
// broke an attempt off, and that what was published with an idempotency key is one
// event. The sink's mutex is held.
func (s *sink) onceEach(t *testing.T, broken map[try]int) {
	t.Helper()
	for id, n := range s.ids {
		most := 1
		for i := range 5 {
			most += broken[try{id, i}]
		}
		if n > most {
			t.Errorf("%s was taken %d times, want %d or fewer: that is how many kills broke it off, and one", id, n, most)
		}
	}
	for once, ids := range s.once {
		if len(ids) != 1 {
			t.Errorf("what was published as %s is %d events, want 1: %v", once, len(ids), ids)
		}
	}
}

// An event that was acknowledged survives a kill that comes right after the answer.
func TestKillRightAfterTheAcknowledgement(t *testing.T) {
	t.Parallel()
	dir, sk := t.TempDir(), newSink(t)
	cl := newClient(t, dir)
	for i := range 5 {
		srv := serve(t, dir)
		cl.Base = srv.url
		if i == 0 {
			hook(t, cl, sk.URL, event)
		}
		publishAndKill(t, cl, srv, i)
	}
	serve(t, dir)
	sk.await(t, "all five arrive", func() bool { return len(sk.ids) == 5 })
}

func publishAndKill(t *testing.T, cl *client.Client, srv *server, i int) {
	t.Helper()
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i)}); err != nil {
		t.Fatal(err)
	}
	srv.kill()
}

// After a crash between storing and sending the event is sent, and the client's repeat
// gets the first answer.
func TestRepeatAfterACrashGetsTheFirstAnswerAndDelivers(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	ev := client.NewEvent{Event: event, SessionKey: "S", ID: "mine"}
	first, err := cl.Publish(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	srv.kill()
	cl.Base = serve(t, dir).url
	again, err := cl.Publish(t.Context(), ev)
	if err != nil || again != first {
		t.Errorf("%+v, %v; the first answer was %+v", again, err, first)
	}
	sk.await(t, "it arrives", func() bool { return sk.ids[first.ID] > 0 })
}
