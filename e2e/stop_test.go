package e2e

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"
)

func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	const n = 300
	for i := range n {
		if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i%7)}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 50 {
			if code := srv.term(t); code != 0 {
				t.Fatalf("exit %d\n%s", code, srv.log)
			}
			srv = serve(t, dir)
			cl.Base = srv.url
		}
	}
	sk.await(t, "all arrive", func() bool { return len(sk.ids) == n })
	sk.mu.Lock()
	for a, times := range sk.tries {
		if times != 1 {
			t.Errorf("%v was made %d times: a stop repeats nothing", a, times)
		}
	}
	sk.mu.Unlock()
	fsck(t, dir)
}

// hanging makes the sink hold every request until its connection ends, or
// until the test lets go.
func hanging(sk *sink) (letGo func()) {
	free := make(chan struct{})
	sk.answer = func(ctx context.Context, _ try, _ int64) int {
		select {
		case <-ctx.Done():
		case <-free:
		}
		return 200
	}
	return func() { close(free) }
}

// A receiver that hangs does not hold a stop up for longer than --grace: the
// attempt is broken off, recorded as such, and made again at the next start,
// without using up the schedule.
func TestStopBreaksOffWhatOutlastsTheGrace(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	letGo := hanging(sk)
	dir, srv, cl := begin(t, sk, "--grace", "300ms")
	ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
	if err != nil {
		t.Fatal(err)
	}
	sk.await(t, "it is in flight", func() bool { return len(sk.tries) == 1 })
	if code := srv.term(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, srv.log)
	}
	fsck(t, dir)
	letGo()
	cl.Base = serve(t, dir).url
	sk.await(t, "it is made again", func() bool { return sk.ids[ev.ID] > 0 && sk.tries[try{ev.ID, 2}] == 1 })
	h := history(t, cl, 2)
	if h[0].Fault != "shutdown" {
		t.Errorf("the first attempt has the fault %q, want shutdown", h[0].Fault)
	}
	if h[0].State != "pending" {
		t.Errorf("the first attempt left the delivery %s, want pending", h[0].State)
	}
	if !strings.Contains(h[0].Why, "stopped") {
		t.Errorf("the reason after the first attempt is %q, want that callbackd stopped", h[0].Why)
	}
	if h[1].State != "delivered" {
		t.Errorf("the second attempt left the delivery %s, want delivered", h[1].State)
	}
}

// A second signal does not wait for --grace.
func TestSecondSignalEndsTheWait(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	hanging(sk)
	dir, srv, cl := begin(t, sk, "--grace", "10m")
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	sk.await(t, "it is in flight", func() bool { return len(sk.tries) == 1 })
	srv.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the intake is closed", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(srv.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d\n%s", code, srv.log)
	}
	fsck(t, dir)
}

// eventually asks again and again, with a pause that leaves the machine to
// what is waited for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(10 * time.Millisecond); !ok(); {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("not within a minute: ", what)
		}
	}
}

// history is the attempts of the only delivery, once there are n.
func history(t *testing.T, cl *client.Client, n int) (h []wire.Attempt) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " attempts are recorded"), func() bool {
		list, err := cl.Deliveries(t.Context(), url.Values{})
		if err != nil || len(list.Data) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		d, err := cl.Delivery(t.Context(), list.Data[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		h = d.History
		return len(h) >= n
	})
	return h
}
