package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
)

// Every message is sent to its node, and each notification fits.
func TestTheOutboxSendsEveryMessage(t *testing.T) {
	b := &newMember(Options{}).outbox
	want := map[callbackd.EventID]bool{}
	for i := range 2000 {
		id := callbackd.EventID(i + 1)
		want[id] = true
		b.add(callbackd.NodeID(i%3+1), message{Kind: kindNew, Event: id, Session: strings.Repeat("ü", i%200)})
	}
	for _, sent := range b.encode() {
		if len(sent.Body) > store.MaxMessage {
			t.Fatalf("a notification has %d bytes, want %d or fewer", len(sent.Body), store.MaxMessage)
		}
		var ms []message
		if err := json.Unmarshal([]byte(sent.Body), &ms); err != nil {
			t.Fatal(err)
		}
		for _, msg := range ms {
			if node := callbackd.NodeID((msg.Event-1)%3 + 1); sent.To != node {
				t.Errorf("event %d went to node %d, want %d", msg.Event, sent.To, node)
			}
			delete(want, msg.Event)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d of 2000 messages were not sent", len(want))
	}
	if again := b.encode(); len(again) != 0 {
		t.Errorf("the empty outbox sends %d notifications, want 0", len(again))
	}
}

// A message of any size is either sent or dropped, and the messages after it are sent.
func TestTheOutboxSendsWhatFitsExactly(t *testing.T) {
	empty, err := json.Marshal(message{Kind: kindNew, Session: "x"})
	if err != nil {
		t.Fatal(err)
	}
	fits := store.MaxMessage - len("[]") - len(empty) + len("x")
	for size, want := range map[int]int{fits - 1: 2, fits: 2, fits + 1: 2} {
		b := &newMember(Options{}).outbox
		b.add(1, message{Kind: kindNew, Session: strings.Repeat("x", size)}, message{Kind: kindNew})
		out := b.encode()
		if len(out) != want {
			t.Errorf("with a message of %d bytes more than fit there are %d notifications, want %d", size-fits, len(out), want)
		}
		toAll := out[len(out)-1].To == 0
		if tooLarge := size > fits; toAll != tooLarge {
			t.Errorf("with a message of %d bytes more than fit, all nodes are told of a loss: %v, want %v", size-fits, toAll, tooLarge)
		}
	}
}

// When messages do not fit into the outbox, all nodes are told that some are lost.
func TestAFullOutboxTellsAllNodesOfTheLoss(t *testing.T) {
	b := &newMember(Options{}).outbox
	for range maxOutbox + 10 {
		b.add(1, message{Kind: kindNew})
	}
	b.add(2, message{Kind: kindNew})
	out := b.encode()
	want := store.Message{To: 0, Body: `[{"k":"rescan"}]`}
	if diff := cmp.Diff(want, out[len(out)-1]); diff != "" {
		t.Errorf("last notification (-want +got):\n%s", diff)
	}
}

// calls is an engine and a store that write down how they are called.
type calls struct {
	Engine
	store.Cluster
	list    []string
	rescans []time.Time
}

func (c *calls) add(format string, args ...any) {
	c.list = append(c.list, fmt.Sprintf(format, args...))
}

// take returns the calls since it was called last.
func (c *calls) take() []string {
	out := c.list
	c.list = nil
	return out
}

func (c *calls) Rescan(context.Context) error {
	c.rescans = append(c.rescans, time.Now())
	return nil
}

func (c *calls) AcceptedElsewhere(d callbackd.Delivery) {
	c.add("AcceptedElsewhere %d %s of key %d at once=%v", d.ID.Event, d.Session, d.Key, d.Test && d.AtOnce)
}

func (c *calls) OnCommit(ds []callbackd.Delivery) {
	for _, d := range ds {
		c.add("OnCommit %d at once=%v", d.ID.Event, d.AtOnce)
	}
}

func (c *calls) Resent(d callbackd.Delivery) {
	c.add("Resent %d at %d", d.ID.Event, d.Due.UnixMilli())
}

func (c *calls) Replayed(ds []callbackd.Delivery) {
	c.add("Replayed %d of %d", ds[0].ID.Event, ds[0].Replay)
}

func (c *calls) CallbackChanged(id callbackd.CallbackID) { c.add("CallbackChanged %d", id) }

func (c *calls) Renew() { c.add("Renew") }

// node5 returns node 5. It is the home of key 1, and node 9 that of key 2. Callback 10 is
// key 1's, callback 20 is key 2's, and so on.
func node5() (*Member, *calls) {
	c := &calls{}
	m := newMember(Options{
		Engine:         c,
		Store:          c,
		Lease:          DefaultLease,
		Log:            slog.New(slog.DiscardHandler),
		ReplaysChanged: func() { c.add("ReplaysChanged") },
		KeyOf: func(_ context.Context, id callbackd.CallbackID) (callbackd.KeyID, error) {
			return callbackd.KeyID(id / 10), nil
		},
	})
	m.id.Store(5)
	m.shards[callbackd.ShardOf(1)] = owned
	m.view.owners[callbackd.ShardOf(1)] = 5
	m.view.owners[callbackd.ShardOf(2)] = 9
	return m, c
}

// sent returns what m sends: the receiver and the body.
func (m *Member) sent() (out []string) {
	for _, msg := range m.outbox.encode() {
		out = append(out, fmt.Sprintf("%d %s", msg.To, msg.Body))
	}
	slices.Sort(out)
	return out
}

func receive(m *Member, ms ...message) {
	body, _ := json.Marshal(ms)
	m.receive(string(body))
}

func wantSent(t *testing.T, m *Member, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.sent()); diff != "" {
		t.Errorf("messages sent (-want +got):\n%s", diff)
	}
}

func wantCalls(t *testing.T, c *calls, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, c.take()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestTheOwnerHandlesMessages(t *testing.T) {
	m, c := node5()
	receive(m,
		message{Kind: kindNew, Key: 1, Callback: 10, Event: 10, Session: "S"},
		message{Kind: kindNew, Key: 1, Callback: 10, Event: 11, Session: "T", AtOnce: true},
		message{Kind: kindResend, Key: 1, Callback: 10, Event: 12, Due: 99},
		message{Kind: kindReplay, Key: 1, Callback: 10, Event: 13, Replay: 4},
	)
	wantCalls(t, c, "AcceptedElsewhere 10 S of key 1 at once=false", "AcceptedElsewhere 11 T of key 1 at once=true", "Resent 12 at 99", "Replayed 13 of 4")
	wantSent(t, m)
}

func TestAnotherNodeForwardsMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		hops int
		want []string
	}{
		{"to the owner", 0, []string{`9 [{"k":"new","h":1,"y":2,"c":20,"e":20,"s":"S"}]`}},
		{"to all nodes after too many hops", maxHops - 1, []string{`0 [{"k":"new","h":3,"y":2,"c":20,"e":20,"s":"S"}]`}},
		{"no further", maxHops, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, calls := node5()
			receive(m, message{Kind: kindNew, Hops: c.hops, Key: 2, Callback: 20, Event: 20, Session: "S"})
			wantSent(t, m, c.want...)
			wantCalls(t, calls)
		})
	}
}

// A node of the version in which shards were of callbacks names no key.
func TestAMessageWithoutAKeyGoesToTheHomeOfItsCallback(t *testing.T) {
	m, c := node5()
	receive(m, message{Kind: kindNew, Callback: 10, Event: 1, Session: "S"}, message{Kind: kindNew, Callback: 20, Event: 2, Session: "S"})
	wantCalls(t, c, "AcceptedElsewhere 1 S of key 1 at once=false")
	wantSent(t, m, `9 [{"k":"new","h":1,"y":2,"c":20,"e":2,"s":"S"}]`)
}

// A message of a later version may have a kind that is unknown here. It names no key, so
// it has no known home.
func TestAMessageOfAnUnknownKindGoesToAll(t *testing.T) {
	m, c := node5()
	receive(m, message{Kind: "of a later version"})
	wantSent(t, m, `0 [{"k":"of a later version","h":1}]`)
	wantCalls(t, c)
}

func TestWhatIsNoMessageIsIgnored(t *testing.T) {
	m, c := node5()
	m.receive("{")
	m.receive("null")
	wantSent(t, m)
	wantCalls(t, c)
}

// A callback that changed on another node is read again from the store, not from a
// cache that may be a moment old.
func TestACallbackThatChangedElsewhereIsReadAgain(t *testing.T) {
	m, c := node5()
	receive(m, message{Kind: kindChanged, Key: 1, Callback: 10}) // of a version that does not wait
	wantCalls(t, c, "Renew", "CallbackChanged 10")
	wantSent(t, m)
	receive(m, message{Kind: kindChanged, Key: 1, Callback: 10, From: 9, Number: 3})
	wantCalls(t, c, "Renew", "CallbackChanged 10")
	wantSent(t, m, `9 [{"k":"told","n":3}]`)
	receive(m, message{Kind: kindChanged, Key: 2, Callback: 20, From: 7, Number: 4})
	wantCalls(t, c)
	wantSent(t, m, `9 [{"k":"changed","h":1,"y":2,"c":20,"f":7,"n":4}]`)
}

// The home of a callback is told of its change, here or by a message. A change at another node
// returns when the home has got it, so that what is sent afterwards is sent by it, or after a
// moment when no home answers.
func TestTheHomeIsToldOfAChangedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, c := node5()
		m.CallbackChanged(10)
		wantCalls(t, c, "CallbackChanged 10")
		wantSent(t, m)

		returned := false
		go func() { m.CallbackChanged(20); returned = true }()
		synctest.Wait()
		wantCalls(t, c)
		wantSent(t, m, `9 [{"k":"changed","y":2,"c":20,"f":5,"n":1}]`)
		receive(m, message{Kind: kindTold, Number: 9})
		if synctest.Wait(); returned {
			t.Error("the change returns before the home has got it")
		}
		receive(m, message{Kind: kindTold, Number: 1}, message{Kind: kindTold, Number: 1})
		if synctest.Wait(); !returned {
			t.Error("the change does not return when the home has got it")
		}

		began := time.Now()
		m.CallbackChanged(30)
		if took := time.Since(began); took != changeTimeout {
			t.Errorf("without a home the change takes %v, want %v", took, changeTimeout)
		}
		wantCalls(t, c)
		wantSent(t, m, `0 [{"k":"changed","h":3,"y":3,"c":30,"f":5,"n":2}]`)
		receive(m, message{Kind: kindTold, Number: 2}) // too late
	})
}

// What is accepted here goes to this node's engine, in order, or as a message to the
// home of its key. What has no known home goes to all.
func TestDeliveriesAreRouted(t *testing.T) {
	m, c := node5()
	delivery := func(key callbackd.KeyID, ev callbackd.EventID) callbackd.Delivery {
		return callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev, Callback: callbackd.CallbackID(key * 10)}, Key: key, Session: "S", Sequence: int64(ev), Test: ev == 2, AtOnce: ev == 2}
	}
	m.OnCommit([]callbackd.Delivery{delivery(1, 1), delivery(2, 1), delivery(1, 2), delivery(3, 3)})
	wantCalls(t, c, "OnCommit 1 at once=false", "OnCommit 2 at once=true")
	wantSent(t, m, `0 [{"k":"new","h":3,"y":3,"c":30,"e":3,"s":"S"}]`, `9 [{"k":"new","y":2,"c":20,"e":1,"s":"S"}]`)
}

// The queue is read again three heartbeats after each claim, when every live node
// must know the new owner, and else every few leases.
func TestTheQueueIsReadAgainAfterAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, c := node5()
		start := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		go m.rescan(ctx)
		synctest.Wait()
		m.claimed <- struct{}{}
		time.Sleep(2 * m.timing.Heartbeat)
		m.claimed <- struct{}{}
		time.Sleep(90 * time.Second)
		stop()
		synctest.Wait()
		var got []time.Duration
		for _, at := range c.rescans {
			got = append(got, at.Sub(start))
		}
		h := m.timing.Heartbeat
		want := []time.Duration{3 * h, 6 * h, 6*h + rescanEvery*DefaultLease}
		if !slices.Equal(got, want) {
			t.Errorf("read again after %v, want %v", got, want)
		}
	})
}

// A gap counts by either clock: the monotonic one stands still while a machine is
// suspended, and the wall clock may be set back.
func TestAGapBetweenRenewalsCountsByEitherClock(t *testing.T) {
	m, _ := node5()
	gap := m.timing.EvictAfter
	for _, c := range []struct {
		name            string
		monotonic, wall time.Duration
		want            bool
	}{
		{"none", gap - 1, gap - 1, false},
		{"by both", gap, gap, true},
		{"the machine was suspended", time.Second, gap, true},
		{"the wall clock was set back", gap, -time.Hour, true},
	} {
		start := time.Now()
		m.lease.renewal, m.lease.renewalWall = start, start.Round(0)
		if got := m.gapBefore(start.Add(c.monotonic), start.Round(0).Add(c.wall)); got != c.want {
			t.Errorf("%s: a gap is %v, want %v", c.name, got, c.want)
		}
	}
	m.lease.renewal = time.Time{}
	if !m.gapBefore(time.Now(), time.Now()) {
		t.Error("before the first renewal there is no gap, want one")
	}
}
