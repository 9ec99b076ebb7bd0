package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// at is a client of one node.
func (c *nodes) at(i int) *client.Client { return c.with(c.cl, i) }

// with is a client of one node for the key of another client.
func (c *nodes) with(key *client.Client, i int) *client.Client {
	cl := *key
	cl.Base = c.node(i).url
	return &cl
}

// home is the node that is the home of a key.
func (c *nodes) home(key callbackd.KeyID) int {
	c.t.Helper()
	var at string
	c.query("SELECT n.address FROM shards s JOIN nodes n ON n.no = s.node WHERE s.shard = $1", func(r pgx.Rows) error { return r.Scan(&at) }, int64(callbackd.ShardOf(key)))
	for i := range c.up {
		if c.node(i).url == at {
			return i
		}
	}
	c.t.Fatalf("key %d belongs to %q", key, at)
	return 0
}

// far is callbacks of three keys, one at home on each node, and what is asked of the
// nodes that are not their homes.
type far struct {
	*nodes
	t        *testing.T
	name     string
	callback int64
	sink     *sink
	cl       *client.Client // of the key, at any node
	home     int            // B; A and C are the others
	a, c     *client.Client
	bad      sync.Map // sessions whose first attempt is refused
}

// at is a client of one node, for the key of f.
func (f *far) at(i int) *client.Client { return f.with(f.cl, i) }

func (f *far) publish(cl *client.Client, session string) wire.Accepted {
	f.t.Helper()
	ev, err := cl.Publish(f.t.Context(), client.NewEvent{Event: event, SessionKey: session})
	if err != nil {
		f.t.Fatal(err)
	}
	return ev
}

func (f *far) path(more string) string {
	return "/v1/callbacks/" + url.PathEscape(event) + more + "?name=" + f.name
}

func (f *far) do(cl *client.Client, method, path string, body, out any) {
	f.t.Helper()
	if err := cl.Do(f.t.Context(), method, path, body, out); err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (f *far) delivery(ev wire.Accepted) string {
	return "dlv_" + strings.TrimPrefix(ev.ID, "evt_") + fmt.Sprint("-", f.callback)
}

func (f *far) arrives(ev wire.Accepted, times int) {
	f.t.Helper()
	f.sink.await(f.t, fmt.Sprint(ev.ID, " arrives ", times, " times"), func() bool { return f.sink.ids[ev.ID] >= times })
}

// Every node answers the same, and what is done at one takes effect at the
// one that delivers.
func TestEveryNodeServesAll(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := newNodesOn(t, pg, pg.Schema(t), 2*patience, 3, 0) // what no message brings is found much too late
	c.shared(3)
	callbacks := c.oneOnEach()
	for _, step := range []struct {
		what string
		do   func(f *far, t *testing.T)
	}{
		{"a pause", (*far).pause}, {"another URL", (*far).replace}, {"a held lane", (*far).held}, {"a test", (*far).test},
		{"replays", (*far).replays}, {"cancellations", (*far).cancellations}, {"readers", (*far).readers},
	} {
		t.Run(step.what, func(t *testing.T) {
			for _, f := range callbacks {
				f.t = t
				step.do(f, t)
			}
		})
	}
	t.Run("lists", c.sameLists)
	t.Run("revoked key", c.revoked)
	t.Run("nodes", c.listed)
	t.Run("deletion", callbacks[1].deletion)
	c.stopAll()
	c.fsck()
}

// oneOnEach creates keys until each of three nodes is the home of one. It returns a
// callback of each, by its home.
func (c *nodes) oneOnEach() []*far {
	c.t.Helper()
	callbacks := make([]*far, 3)
	for cl := c.cl; slices.Contains(callbacks, nil); cl = c.newKey() {
		key := callbackd.KeyID(len(c.keys))
		if home := c.home(key); callbacks[home] == nil {
			callbacks[home] = c.newFar(cl, fmt.Sprint("n", key), home)
		}
	}
	return callbacks
}

// newFar creates a callback whose sink fails the first attempts of the events in bad.
func (c *nodes) newFar(cl *client.Client, name string, home int) *far {
	c.t.Helper()
	f := &far{nodes: c, t: c.t, name: name, sink: newSink(c.t), cl: cl, home: home}
	f.sink.answer = func(_ context.Context, a try, seq int64) int {
		if _, bad := f.bad.Load(seq); bad && a.n == 1 {
			return 503
		}
		return 200
	}
	if _, err := cl.CreateCallback(c.t.Context(), client.NewCallback{Event: event, URL: f.sink.URL, Name: f.name, Retry: []string{"0s", "1h"}}); err != nil {
		c.t.Fatal(err)
	}
	var p wire.Policy
	f.do(cl, "GET", f.path("/policy"), nil, &p)
	f.callback = p.Callback
	f.a, f.c = f.at((home+1)%3), f.at((home+2)%3)
	return f
}

// pause at A: nothing of what C accepts arrives until C resumes.
func (f *far) pause(t *testing.T) {
	f.arrives(f.publish(f.c, "P"), 1) // B has the setting in memory
	f.do(f.a, "POST", f.path("/pause"), nil, nil)
	var waiting []wire.Accepted
	held := 0
	eventually(t, "the pause holds", func() bool {
		ev := f.publish(f.c, fmt.Sprint("P", len(waiting)))
		if waiting = append(waiting, ev); held < 4 {
			<-time.After(50 * time.Millisecond)
		}
		f.sink.mu.Lock()
		defer f.sink.mu.Unlock()
		if held++; f.sink.ids[ev.ID] > 0 {
			held = 0
		}
		return held == 4
	})
	f.do(f.c, "POST", f.path("/resume"), nil, nil)
	for _, ev := range waiting {
		f.arrives(ev, 1)
	}
}

// replace at A: what C accepts arrives at the new URL, soon and from then on.
func (f *far) replace(t *testing.T) {
	old, fresh := f.sink, newSink(t)
	f.do(f.a, "PUT", f.path(""), client.NewCallback{Event: event, Name: f.name, URL: fresh.URL, Retry: []string{"0s", "1h"}}, nil)
	eventually(t, "the new receiver is reached", func() bool {
		f.publish(f.c, "U")
		fresh.mu.Lock()
		defer fresh.mu.Unlock()
		return len(fresh.ids) > 0
	})
	old.mu.Lock()
	before := len(old.ids)
	old.mu.Unlock()
	var last wire.Accepted
	for range 3 {
		last = f.publish(f.c, "U")
	}
	fresh.await(t, "the last arrives", func() bool { return fresh.ids[last.ID] > 0 })
	old.mu.Lock()
	if n := len(old.ids) - before; n > 0 {
		t.Errorf("%d arrive at the old receiver", n)
	}
	old.mu.Unlock()
	f.do(f.c, "PUT", f.path(""), client.NewCallback{Event: event, Name: f.name, URL: old.URL, Retry: []string{"0s", "1h"}}, nil)
	eventually(t, "the old receiver is reached", func() bool {
		ev := f.publish(f.a, "U")
		old.mu.Lock()
		defer old.mu.Unlock()
		return len(old.ids) > before && ev.ID != ""
	})
}

// held: what only B knows, all nodes explain; and what is asked for at A, B
// does.
func (f *far) held(t *testing.T) {
	session := fmt.Sprint("H", f.callback)
	f.bad.Store(int64(1), true)
	defer f.bad.Delete(int64(1))
	head := f.publish(f.a, session)
	eventually(t, "the head is refused", func() bool {
		d, err := f.a.Delivery(t.Context(), f.delivery(head))
		return err == nil && d.Attempts == 1
	})
	next := f.publish(f.c, session)
	var want wire.Explanation
	defer func() {
		if t.Failed() {
			t.Logf("B says %+v", want)
		}
	}()
	eventually(t, "B explains it", func() bool {
		var err error
		want, err = f.at(f.home).ExplainDelivery(t.Context(), f.delivery(next))
		return err == nil && len(want.Reasons) > 0 && want.Reasons[0].Code == "held"
	})
	for i := range f.up {
		got, err := f.at(i).ExplainDelivery(t.Context(), f.delivery(next))
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		if diff := cmp.Diff(want.Reasons[0], got.Reasons[0]); diff != "" {
			t.Errorf("node %d: the first reason (-as at the home +got):\n%s", i, diff)
		}
		if got.Next != want.Next {
			t.Errorf("node %d: the advice is %q, want %q", i, got.Next, want.Next)
		}
		// Other reasons say how long ago something was, so that their texts may differ.
		if len(got.Reasons) != len(want.Reasons) {
			t.Errorf("node %d: %d reasons, want %d", i, len(got.Reasons), len(want.Reasons))
		}
	}
	f.do(f.a, "POST", "/v1/deliveries/"+f.delivery(head)+"/retry", nil, nil)
	f.arrives(head, 1)
	f.arrives(next, 1)
	eventually(t, "it has ended", func() bool {
		d, err := f.c.Delivery(t.Context(), f.delivery(next))
		return err == nil && d.State == "delivered"
	})
	f.do(f.c, "POST", "/v1/deliveries/"+f.delivery(next)+"/retry", nil, nil)
	f.arrives(next, 2)
}

func (f *far) test(t *testing.T) {
	begun := time.Now()
	var d wire.Delivery
	f.do(f.a, "POST", f.path("/test"), nil, &d)
	if !d.Test {
		t.Error("the delivery is not marked as a test")
	}
	if d.State != "delivered" {
		t.Errorf("the test is %s, want delivered", d.State)
	}
	if n := len(d.History); n != 1 {
		t.Errorf("the test has %d attempts, want 1", n)
	}
	t.Logf("a test at another node answers in %v", time.Since(begun).Round(time.Millisecond))
}

// cancellations that are made at A, of what C accepted: nothing of it arrives, and the
// session goes on.
func (f *far) cancellations(t *testing.T) {
	session := fmt.Sprint("C", f.callback)
	f.arrives(f.publish(f.c, session), 1)
	f.bad.Store(int64(2), true)
	f.publish(f.c, session) // fails, and holds its session
	defer f.bad.Delete(int64(2))
	pending := wire.NewCancellation{SessionKey: session, Reason: "a drill"}
	for range 5 {
		f.publish(f.c, session)
	}
	eventually(t, "the failure is recorded", func() bool {
		var l wire.DeliveryList
		f.do(f.a, "GET", "/v1/deliveries?status=503&session_key="+session, nil, &l)
		return len(l.Data) == 1
	})
	if n, err := f.c.CountPending(t.Context(), pending); err != nil || n != 6 {
		t.Fatalf("%d deliveries are pending, error %v; want 6", n, err)
	}
	r, err := f.a.CancelPending(t.Context(), pending)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cancellation ends", func() bool { r, err = f.c.Replay(t.Context(), r.ID); return err == nil && r.State == "done" })
	if r.Canceled != 6 {
		t.Errorf("%d deliveries were canceled, want 6", r.Canceled)
	}
	f.arrives(f.publish(f.c, session), 1)
	f.sink.await(t, "nothing of what was canceled", func() bool { return slices.Equal(f.sink.arrivals[session], []int64{1, 2, 8}) })
}

// replays that are made, paused, resumed and canceled at nodes that do not
// deliver.
func (f *far) replays(t *testing.T) {
	session := fmt.Sprint("R", f.callback)
	var evs []wire.Accepted
	for range 20 {
		evs = append(evs, f.publish(f.a, session))
	}
	f.arrives(evs[19], 1)
	again := wire.NewReplay{States: []string{"delivered"}, Callback: f.name, Event: event, SessionKey: session, Rate: 20}
	eventually(t, "all are recorded", func() bool { n, err := f.c.CountReplay(t.Context(), again); return err == nil && n == 20 })
	r, err := f.a.StartReplay(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	f.arrives(evs[0], 2)
	if _, err = f.c.PauseReplay(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	f.same(f.cl, "/v1/replays/"+r.ID)
	if _, err = f.a.ResumeReplay(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	f.arrives(evs[5], 2)
	if _, err = f.c.CancelReplay(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	f.same(f.cl, "/v1/replays/"+r.ID)
	again.Rate = 0
	if r, err = f.c.StartReplay(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	f.arrives(evs[19], 2)
	eventually(t, "the replay ends", func() bool { r, err := f.a.Replay(t.Context(), r.ID); return err == nil && r.State == "done" })
}

// readers that wait at A are woken by what another node accepts.
func (f *far) readers(t *testing.T) {
	session := fmt.Sprint("W", f.callback)
	now, err := f.a.EventsAfter(t.Context(), "now", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.a.Base+"/v1/events/stream?session_key="+session, nil)
	if err != nil {
		t.Fatal(err)
	}
	signature.SetHeaders(req.Header, f.a.Account, f.a.APIKey, f.a.APISecret, time.Now())
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	begun := make(chan time.Time, 1)
	polled := make(chan string, 1)
	waiter := *f.a
	waiter.HTTP = &http.Client{Timeout: patience}
	go func() {
		got, err := waiter.EventsAfter(t.Context(), *now.Next, 30*time.Second, url.Values{"session_key": {session}})
		if err != nil || len(got.Data) == 0 {
			polled <- fmt.Sprintf("%+v, %v", got, err)
			return
		}
		t.Logf("a poll at another node wakes within %v", time.Since(<-begun).Round(time.Millisecond))
		polled <- got.Data[0].ID
	}()
	lines := bufio.NewScanner(stream.Body)
	if !lines.Scan() { // it stands
		t.Fatal(lines.Err())
	}
	begun <- time.Now()
	ev := f.publish(f.at(f.home), session)
	if got := <-polled; got != ev.ID {
		t.Errorf("the poll says %s; want %s", got, ev.ID)
	}
	watch := time.AfterFunc(patience, func() { stream.Body.Close() })
	defer watch.Stop()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), ev.ID) {
			return
		}
	}
	t.Errorf("the stream ends without %s: %v", ev.ID, lines.Err())
}

// deletion checks that the pending deliveries of a callback that another node deletes are
// canceled, and that the callback gets no more deliveries.
func (f *far) deletion(t *testing.T) {
	f.t = t
	f.do(f.a, "POST", f.path("/pause"), nil, nil)
	ev := f.publish(f.c, "D")
	f.do(f.c, "DELETE", f.path(""), nil, nil)
	eventually(t, "the pending delivery is canceled", func() bool {
		d, err := f.a.Delivery(t.Context(), f.delivery(ev))
		return err == nil && d.State == "canceled"
	})
	if next := f.publish(f.a, "D"); next.Deliveries != 0 {
		t.Errorf("%d deliveries after the deletion, want 0", next.Deliveries)
	}
}
