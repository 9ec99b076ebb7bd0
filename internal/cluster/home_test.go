package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
)

func TestTheHomeOfAKeyIsTheOwnerOfItsShard(t *testing.T) {
	m, _ := node5()
	m.view.addresses = map[callbackd.NodeID]string{5: "http://five", 9: "http://nine"}
	for _, c := range []struct {
		name string
		key  callbackd.KeyID
		want callbackd.Home
	}{
		{"this node", 1, callbackd.Home{Here: true, Node: 5}},
		{"another node", 2, callbackd.Home{Node: 9, Address: "http://nine"}},
		{"nobody", 3, callbackd.Home{}},
	} {
		if diff := cmp.Diff(c.want, m.Home(c.key)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

// What a node gives up has no home until another node claims it.
func TestAShardThatIsGivenUpIsNobodysHome(t *testing.T) {
	m, _ := node5()
	for i := range m.shards {
		if m.shards[i] == owned {
			m.shards[i] = draining
		}
	}
	if got := m.Home(1); got != (callbackd.Home{}) {
		t.Errorf("the home is %+v, want none", got)
	}
}

// leases is a store whose renewals of the lease answer what the test says.
type leases struct {
	*calls
	renewals int
	answer   func() (store.ClusterView, error)
}

func (l *leases) Heartbeat(context.Context, store.Heartbeat, int64) (store.ClusterView, error) {
	l.renewals++
	time.Sleep(time.Millisecond)
	return l.answer()
}

func (c *calls) InFlight() int { return 0 }

func (c *calls) SetLease(time.Time) {}

// A node asks for a renewal when its map of homes may be old. Calls at the same time
// share one, and a renewal that failed is repeated.
func TestRefreshReturnsWithANewMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, c := node5()
		l := &leases{calls: c}
		m.options.Store, m.options.Now = l, time.Now
		m.view.owners = make([]callbackd.NodeID, callbackd.Shards)
		view := store.ClusterView{Alive: true, Nodes: []store.Node{{ID: 9, Inner: "http://nine"}}}
		l.answer = func() (store.ClusterView, error) { view.At = time.Now(); return view, nil }
		go m.heartbeats(t.Context())
		synctest.Wait()
		time.Sleep(2 * time.Millisecond) // the first renewal is over
		if got := m.Home(2); got != (callbackd.Home{}) {
			t.Fatalf("the home is %+v, want none", got)
		}

		view.Revision = 2
		view.Owners = make([]callbackd.NodeID, callbackd.Shards)
		for i := range view.Owners {
			view.Owners[i] = 9
		}
		failures := 1
		good := l.answer
		l.answer = func() (store.ClusterView, error) {
			if failures--; failures >= 0 {
				return store.ClusterView{}, errors.New("no connection")
			}
			return good()
		}
		before := l.renewals
		refreshed := make(chan error)
		for range 3 {
			go func() { refreshed <- m.Refresh(t.Context()) }()
		}
		for range 3 {
			if err := <-refreshed; err != nil {
				t.Error(err)
			}
		}
		if got, want := m.Home(2), (callbackd.Home{Node: 9, Address: "http://nine"}); got != want {
			t.Errorf("the home is %+v, want %+v", got, want)
		}
		if n := l.renewals - before; n != 2 {
			t.Errorf("%d renewals, want one that failed and one that all share", n)
		}

		failures = 1000
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer Refresh returns %v, want the end of its context", err)
		}
	})
}

// A node that could not renew its lease for a while lets others answer its calls.
func TestANodeThatDoesNotRenewItsLeaseIsNotReady(t *testing.T) {
	for _, c := range []struct {
		heartbeats time.Duration
		ready      bool
	}{{0, true}, {2, true}, {4, false}} {
		m, _ := node5()
		m.lease.renewedAt.Store(time.Now().Add(-c.heartbeats * m.timing.Heartbeat).UnixNano())
		if err := m.Ready(); (err == nil) != c.ready {
			t.Errorf("%d heartbeats after a renewal: %v, want ready %v", c.heartbeats, err, c.ready)
		}
	}
}

// Nodes agree on the time by the database's clock, whatever their own say.
func TestDatabaseTime(t *testing.T) {
	m, _ := node5()
	own := time.Now()
	m.options.Now = func() time.Time { return own }
	m.compareClocks(own, 0, own.Add(-time.Minute))
	if got, want := m.DatabaseTime(), own.Add(-time.Minute); !got.Equal(want) {
		t.Errorf("the time is %v, want %v", got, want)
	}
}
