package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// From any division among any nodes, with nobody in charge, the rule comes to
// even shares in a few rounds, and then moves nothing any more; who leaves or
// has a wrong clock ends with none.
func TestTheRuleComesToEvenSharesAndRests(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		v := &store.ClusterView{}
		free, good := callbackd.Shards, 0
		for i := range 1 + rnd.IntN(30) {
			n := store.Node{ID: callbackd.NodeID(i + 1), Shards: rnd.IntN(free/2 + 1)}
			free -= n.Shards
			switch rnd.IntN(8) {
			case 0:
				n.Leaving = true
			case 1:
				n.Skew = []time.Duration{-1, 1}[rnd.IntN(2)] * (callbackd.MaxSkew + time.Second)
			default:
				good++
			}
			v.Nodes = append(v.Nodes, n)
		}
		calm := 0
		for round := 0; calm < 2; round++ {
			if round > 12 {
				t.Fatalf("seed %d: not at rest after %d rounds: %+v", seed, round, v.Nodes)
			}
			calm++
			plans := make([]Plan, len(v.Nodes))
			for i, n := range v.Nodes {
				plans[i] = Decide(n.ID, n.Shards, v, TimingOf(DefaultLease), true)
			}
			for _, i := range rnd.Perm(len(plans)) { // claims come one after the other, in any order
				got := min(plans[i].Claim, free)
				if free += plans[i].GiveUp - got; got != 0 || plans[i].GiveUp != 0 {
					calm = 0
				}
				v.Nodes[i].Shards += got - plans[i].GiveUp
			}
		}
		if good == 0 {
			continue
		}
		if free != 0 {
			t.Fatalf("seed %d: %d shards are nobody's", seed, free)
		}
		for _, n := range v.Nodes {
			least := callbackd.Shards / good
			if n.Leaving || n.Skew != 0 {
				if n.Shards != 0 {
					t.Fatalf("seed %d: a node that must have none has %d", seed, n.Shards)
				}
			} else if n.Shards < least || n.Shards > least+1 {
				t.Fatalf("seed %d: %d shards, want %d or one more", seed, n.Shards, least)
			}
		}
	}
}

// A node that missed renewals itself buries nobody.
func TestWhoMissedRenewalsBuriesNobody(t *testing.T) {
	v := &store.ClusterView{Nodes: []store.Node{{ID: 1}, {ID: 2, Unseen: time.Hour, Shards: callbackd.Shards}}}
	if p := Decide(1, 0, v, TimingOf(DefaultLease), false); len(p.Evict) != 0 || p.Claim != 0 {
		t.Errorf("%+v", p)
	}
	if p := Decide(1, 0, v, TimingOf(DefaultLease), true); !slices.Equal(p.Evict, []callbackd.NodeID{2}) {
		t.Errorf("%+v", p)
	}
}

// Posts hold every word, each post fits, and what did not fit into the outbox
// ends in one word to all that they must look for themselves.
func TestTheOutbox(t *testing.T) {
	b := outbox{wake: make(chan struct{}, 1)}
	want := map[callbackd.EventID]bool{}
	for i := range 2000 {
		id := callbackd.EventID(i + 1)
		want[id] = true
		b.add(callbackd.NodeID(i%3+1), message{Kind: kindNew, Event: id, Session: strings.Repeat("ü", i%200)})
	}
	for _, post := range b.take() {
		if len(post.Body) > store.MaxMessage {
			t.Fatalf("%d bytes", len(post.Body))
		}
		var ms []message
		if err := json.Unmarshal([]byte(post.Body), &ms); err != nil {
			t.Fatal(err)
		}
		for _, w := range ms {
			if callbackd.NodeID((w.Event-1)%3+1) != post.To {
				t.Errorf("event %d went to node %d", w.Event, post.To)
			}
			delete(want, w.Event)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d words are gone", len(want))
	}
	if posts := b.take(); len(posts) != 0 {
		t.Errorf("%d posts of nothing", len(posts))
	}
	for range maxOut + 10 {
		b.add(1, message{Kind: kindNew})
	}
	b.add(2, message{Kind: kindNew})
	posts := b.take()
	if last := posts[len(posts)-1]; last.To != 0 || !strings.Contains(last.Body, kindRescan) {
		t.Errorf("nobody is told that words were lost: %+v", last)
	}
}

// notes is an engine and a store that write down what they are told.
type notes struct {
	Engine
	store.Cluster
	said    []string
	rescans []time.Time
}

func (n *notes) Rescan(context.Context) error { n.rescans = append(n.rescans, time.Now()); return nil }

func (n *notes) note(format string, args ...any) {
	n.said = append(n.said, fmt.Sprintf(format, args...))
}

func (n *notes) Look(ds []callbackd.Delivery) {
	for _, d := range ds {
		n.note("look %d %s %d", d.ID.Event, d.Session, d.Sequence)
	}
}
func (n *notes) OnCommit(ds []callbackd.Delivery) {
	for _, d := range ds {
		n.note("take %d test=%v", d.ID.Event, d.Test)
	}
}
func (n *notes) Retry(d callbackd.Delivery) { n.note("retry %d at %d", d.ID.Event, d.Due.UnixMilli()) }
func (n *notes) Replay(ds []callbackd.Delivery) {
	n.note("replay %d of %d", ds[0].ID.Event, ds[0].Replay)
}
func (n *notes) CallbackChanged(no callbackd.CallbackID) { n.note("changed %d", no) }
func (n *notes) Renew()                                  { n.note("renew") }
func (n *notes) Diagnosis(callbackd.CallbackID, string, time.Time) callbackd.Diagnosis {
	return callbackd.Diagnosis{Failures: 7}
}

// member is a node that owns callback 1 and not 2, which is node 9's.
func member() (*Member, *notes) {
	n := &notes{}
	m := &Member{o: Options{Engine: n, Store: n, Log: slog.New(slog.DiscardHandler), ReplaysChanged: func() { n.note("replays") }}, owners: make([]callbackd.NodeID, callbackd.Shards), wakeup: make(chan struct{}, 1)}
	m.out.wake = make(chan struct{}, 1)
	m.asks.waiting = map[uint64]chan message{}
	m.id.Store(5)
	m.shards[callbackd.ShardOf(1)] = owned
	m.owners[callbackd.ShardOf(1)], m.owners[callbackd.ShardOf(2)] = 5, 9
	return m, n
}

func (m *Member) posted() (out []string) {
	for _, post := range m.out.take() {
		out = append(out, fmt.Sprintf("%d %s", post.To, post.Body))
	}
	return out
}

func hears(m *Member, ms ...message) {
	body, _ := json.Marshal(ms)
	m.hear(string(body))
}

// What a word asks for is done by the owner; who is not passes it on to whom
// it takes for the owner, and to all when that has not helped, and no further.
func TestWordsAreActedOnByTheOwner(t *testing.T) {
	m, n := member()
	hears(m, message{Kind: kindNew, Callback: 1, Event: 10, Session: "S", Number: 3}, message{Kind: kindNew, Callback: 1, Event: 11, Test: true},
		message{Kind: kindRetry, Callback: 1, Event: 12, Due: 99}, message{Kind: kindReplay, Callback: 1, Event: 13, Replay: 4}, message{Kind: "of a later version"})
	if want := []string{"take 11 test=true", "retry 12 at 99", "replay 13 of 4", "look 10 S 3"}; !slices.Equal(n.said, want) {
		t.Errorf("%q", n.said)
	}
	n.said = nil
	if got := m.posted(); len(got) != 1 || !strings.HasPrefix(got[0], `0 `) {
		t.Errorf("the unknown word, of no callback, went %q", got)
	}
	away := message{Kind: kindNew, Callback: 2, Event: 20, Session: "S"}
	hears(m, away)
	if got := m.posted(); len(got) != 1 || got[0] != `9 [{"k":"new","h":1,"c":2,"e":20,"s":"S"}]` {
		t.Errorf("passed on as %q", got)
	}
	away.Hops = maxHops - 1
	hears(m, away)
	if got := m.posted(); len(got) != 1 || got[0] != `0 [{"k":"new","h":3,"c":2,"e":20,"s":"S"}]` {
		t.Errorf("passed on as %q", got)
	}
	away.Hops = maxHops
	hears(m, away)
	if got := m.posted(); len(got) != 0 || len(n.said) != 0 {
		t.Errorf("a word to all is passed on once more: %q, %q", got, n.said)
	}
	m.hear("{")
	m.hear("null")
}

// A changed callback is read anew, not from a cache that may be a moment old.
func TestAChangedCallbackIsReadAnew(t *testing.T) {
	m, n := member()
	hears(m, message{Kind: kindChanged, Callback: 2})
	if want := []string{"renew", "changed 2"}; !slices.Equal(n.said, want) {
		t.Errorf("%q", n.said)
	}
	n.said = nil
	m.CallbackChanged(2)
	if got := m.posted(); len(got) != 1 || got[0] != `0 [{"k":"changed","c":2}]` || !slices.Equal(n.said, []string{"changed 2"}) {
		t.Errorf("%q, %q", got, n.said)
	}
	m.ReplaysChanged()
	if got := m.posted(); len(got) != 1 || got[0] != `0 [{"k":"replays"}]` {
		t.Errorf("%q", got)
	}
}

// What is accepted here goes to the own engine, in order, or to the owner as a
// word; what is nobody's goes to all.
func TestDeliveriesAreRouted(t *testing.T) {
	m, n := member()
	m.owners[callbackd.ShardOf(3)] = 0
	d := func(no callbackd.CallbackID, ev callbackd.EventID) callbackd.Delivery {
		return callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev, Callback: no}, Session: "S", Sequence: int64(ev), Test: ev == 2}
	}
	m.OnCommit([]callbackd.Delivery{d(1, 1), d(2, 1), d(1, 2), d(3, 3)})
	if want := []string{"take 1 test=false", "take 2 test=true"}; !slices.Equal(n.said, want) {
		t.Errorf("%q", n.said)
	}
	got := m.posted()
	slices.Sort(got)
	if want := []string{`0 [{"k":"new","h":3,"c":3,"e":3,"s":"S","n":3}]`, `9 [{"k":"new","c":2,"e":1,"s":"S","n":1}]`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// An outlook is the owner's, and without an answer in time it is what is known
// here.
func TestAnOutlookIsAskedOfTheOwner(t *testing.T) {
	m, n := member()
	hears(m, message{Kind: kindAsk, From: 9, Ask: 3, Callback: 1, Session: "S"})
	got := m.posted()
	if len(got) != 1 || !strings.HasPrefix(got[0], `9 [{"k":"answer","a":3,`) || !strings.Contains(got[0], `"Failures":7`) {
		t.Fatalf("%q", got)
	}
	<-m.out.wake
	m.o.Engine = &quietEngine{n}
	answered := make(chan callbackd.Diagnosis)
	go func() { answered <- m.Diagnosis(2, "S", time.Now()) }()
	<-m.out.wake
	var ask []message
	if err := json.Unmarshal([]byte(m.out.take()[0].Body), &ask); err != nil || ask[0].From != 5 {
		t.Fatal(ask, err)
	}
	hears(m, message{Kind: kindAnswer, Ask: ask[0].Ask, Diagnosis: &callbackd.Diagnosis{Failures: 3}})
	if out := <-answered; out.Failures != 3 {
		t.Errorf("%+v", out)
	}
	if out := m.Diagnosis(2, "S", time.Now()); out.Failures != 0 {
		t.Errorf("without an answer: %+v", out)
	}
	hears(m, message{Kind: kindAnswer, Ask: ask[0].Ask + 1, Diagnosis: &callbackd.Diagnosis{}}) // too late
}

// After shards were taken the queue is read again when every living node must
// know whose they are, for each time some were taken; and else now and then.
func TestTheQueueIsReadAgainAfterShardsWereTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := member()
		m.o.Lease, m.timing, m.took = DefaultLease, TimingOf(DefaultLease), make(chan struct{}, 1)
		begun := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		go m.rescan(ctx)
		synctest.Wait()
		m.took <- struct{}{}
		time.Sleep(2 * m.timing.Heartbeat)
		m.took <- struct{}{}
		time.Sleep(90 * time.Second)
		stop()
		synctest.Wait()
		var at []time.Duration
		for _, when := range n.rescans {
			at = append(at, when.Sub(begun))
		}
		if want := []time.Duration{3 * m.timing.Heartbeat, 6 * m.timing.Heartbeat, 6*m.timing.Heartbeat + every*DefaultLease}; !slices.Equal(at, want) {
			t.Errorf("read again after %v, want %v", at, want)
		}
	})
}

type quietEngine struct{ *notes }

func (quietEngine) Diagnosis(callbackd.CallbackID, string, time.Time) callbackd.Diagnosis {
	return callbackd.Diagnosis{}
}
