package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store"
	"callbackd/wire"
)

// told is a receiver of notices.
type told struct {
	*httptest.Server
	got chan notice
}

type notice struct {
	Event      string
	SessionKey string `json:"session_key"`
	wire.Notice
}

func tellMe(t *testing.T) *told {
	r := &told{got: make(chan notice, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		var n notice
		if err := json.Unmarshal(raw, &n); err != nil {
			t.Errorf("a notice is %q: %v", raw, err)
		}
		r.got <- n
	}))
	t.Cleanup(r.Close)
	return r
}

// watched is a server whose incidents have a clock of their own.
type watched struct {
	*App
	t     *testing.T
	ahead atomic.Int64
}

func startWatched(t *testing.T, c Config) *watched {
	t.Helper()
	w := &watched{t: t}
	c.watchClock = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	a, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w.App = a
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// next returns the next notice that a receiver gets. The clock of incidents goes on
// meanwhile.
func (w *watched) next(r *told) notice {
	w.t.Helper()
	var n notice
	w.until("a notice", func() bool {
		select {
		case n = <-r.got:
			return true
		default:
			return false
		}
	})
	return n
}

// until steps the watcher until f is true.
func (w *watched) until(what string, f func() bool) {
	w.t.Helper()
	deadline, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for !f() {
		if _, err := w.watcher.Step(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		if !pause(deadline, 20*time.Millisecond) {
			w.t.Fatalf("%s did not come", what)
		}
		w.ahead.Add(int64(5 * time.Second))
	}
}

func (w *watched) incidents(key callbackd.KeyID) []callbackd.Incident {
	w.t.Helper()
	page, err := w.store.ListIncidents(w.t.Context(), store.IncidentQuery{Key: key, Limit: store.MaxPage})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Incidents
}

// client returns a client with a new API key.
func (w *watched) client(name string) (*client.Client, callbackd.Key) {
	w.t.Helper()
	k, err := w.store.CreateKey(w.t.Context(), callbackd.Key{Account: name, APIKey: name, Name: name, Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	return &client.Client{Base: w.URL(), Account: name, APIKey: name, APISecret: "s"}, k
}

func register(t *testing.T, cl *client.Client, url string, p *client.Policy, retry []string, events ...callbackd.EventType) {
	t.Helper()
	for _, ev := range events {
		if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: string(ev), URL: url, Retry: retry, Policy: p}); err != nil {
			t.Fatal(err)
		}
	}
}

// A receiver that fails is told once, and so is its recovery, in this order, to the
// callbacks of its key and to those of the operator, and to nobody else.
func TestAKeyAndTheOperatorAreToldOfAReceiverThatFails(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer receiver.Close()
	mine, operators, others := tellMe(t), tellMe(t), tellMe(t)
	c := config(t.TempDir())
	c.NoticeKey = "operator"
	w := startWatched(t, c)
	key, _ := w.client("acme")
	operator, _ := w.client("operator")
	other, _ := w.client("other")
	inOrder := &client.Policy{OrderGroup: callbackd.GroupByOrigin}
	for cl, r := range map[*client.Client]*told{key: mine, operator: operators, other: others} {
		register(t, cl, r.URL, inOrder, nil, callbackd.NoticeTypes...)
	}
	register(t, key, receiver.URL, nil, []string{"0s", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "15s"}, callbackd.Complete)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}

	first := w.next(mine)
	if first.Event != string(callbackd.NoticeFailing) || first.State != "open" || first.About.Event != string(callbackd.Complete) || first.Account != "acme" {
		t.Errorf("the first notice is %+v", first)
	}
	failing.Store(false)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "T"}); err != nil {
		t.Fatal(err)
	}
	last := w.next(mine)
	if last.Event != string(callbackd.NoticeRecovered) || last.State != "closed" || last.Incident != first.Incident || last.SessionKey != first.SessionKey {
		t.Errorf("the last notice is %+v", last)
	}
	for i, want := range []callbackd.EventType{callbackd.NoticeFailing, callbackd.NoticeRecovered} {
		if n := w.next(operators); n.Event != string(want) || n.Incident != first.Incident || n.KeyName != "acme" {
			t.Errorf("notice %d of the operator is %+v, want %s", i+1, n, want)
		}
	}
	if n := len(mine.got) + len(operators.got) + len(others.got); n != 0 {
		t.Errorf("%d notices more came, want none", n)
	}
}

// An API key that expects events is told when none comes, and when one comes again. Neither
// tests nor the notices themselves count.
func TestAKeyIsToldOfSilence(t *testing.T) {
	mine := tellMe(t)
	w := startWatched(t, config(t.TempDir()))
	key, _ := w.client("acme")
	register(t, key, mine.URL, &client.Policy{Expect: "10m"}, nil, callbackd.NoticeSilence)
	register(t, key, mine.URL, nil, nil, callbackd.StatusChange)
	first := w.next(mine)
	if first.Event != string(callbackd.NoticeSilence) || first.State != "open" || first.About.Expect != "10m" {
		t.Errorf("the first notice is %+v", first)
	}
	w.ahead.Store(0) // the event is accepted by the real clock
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	if n := w.next(mine); n.Event != string(callbackd.StatusChange) {
		t.Errorf("the event is %+v", n)
	}
	if n := w.next(mine); n.Event != string(callbackd.NoticeSilence) || n.State != "closed" || n.Incident != first.Incident {
		t.Errorf("the notice of the end is %+v", n)
	}
}

// The whole server's incidents are the operator's.
func TestTheOperatorIsToldOfAFullDiskAndOfALostNode(t *testing.T) {
	operators, others := tellMe(t), tellMe(t)
	c := config(t.TempDir())
	c.NoticeKey, c.DiskLow = "operator", 1<<62
	w := startWatched(t, c)
	operator, _ := w.client("operator")
	other, _ := w.client("other")
	register(t, operator, operators.URL, nil, nil, callbackd.NoticeDisk, callbackd.NoticeNodeLost)
	register(t, other, others.URL, nil, nil, callbackd.NoticeDisk, callbackd.NoticeNodeLost)
	if n := w.next(operators); n.Event != string(callbackd.NoticeDisk) || n.Free == 0 || n.Account != "" {
		t.Errorf("the notice is %+v", n)
	}
	w.watcher.NodeLost("b", callbackd.NodesOfName{Newest: 1, N: 1})
	w.watcher.Flush(t.Context())
	if n := w.next(operators); n.Event != string(callbackd.NoticeNodeLost) || n.Node != "b" || n.State != "open" {
		t.Errorf("the notice is %+v", n)
	}
	if n := w.next(operators); n.Event != string(callbackd.NoticeNodeLost) || n.State != "closed" {
		t.Errorf("the notice of the end is %+v", n)
	}
	if n := len(others.got); n != 0 {
		t.Errorf("another key got %d notices, want none", n)
	}
}

// While the archive cannot be written, nothing is removed and the operator is told, in a notice and
// in the status. When it can be written again, the notice has its end.
func TestTheOperatorIsToldOfAnArchiveThatCannotBeWritten(t *testing.T) {
	operators, receiver := tellMe(t), tellMe(t)
	c := config(t.TempDir())
	c.NoticeKey, c.Archive = "operator", filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(c.Archive, nil, 0o600); err != nil { // in the place of the directory
		t.Fatal(err)
	}
	w := startWatched(t, c)
	told, _ := w.client("operator")
	key, k := w.client("acme")
	register(t, told, operators.URL, nil, nil, callbackd.NoticeArchive)
	register(t, key, receiver.URL, nil, nil, callbackd.Complete)
	for range 2 { // the newest event of a session stays
		if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S"}); err != nil {
			t.Fatal(err)
		}
		w.next(receiver)
	}
	w.until("the end of both deliveries", func() bool {
		page, err := w.store.ListDeliveries(t.Context(), store.DeliveryQuery{Key: k.ID, State: callbackd.Delivered, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Deliveries) == 2
	})
	ask := w.operator(c)
	status := func() *wire.StatusArchive { s := ask.read(t.Context()); return s.Archive }
	if s := status(); s != nil {
		t.Errorf("the status has %+v before anything was archived", s)
	}
	sweep := &eventSweep{store: w.store, log: w.log, retention: -48 * time.Hour, archive: w.archive}
	if _, err := sweep.step(t.Context()); err == nil {
		t.Fatal("retention goes on without its archive")
	}
	if s := status(); s == nil || !strings.Contains(s.Error, c.Archive) || s.FailingSince.IsZero() {
		t.Errorf("the status has %+v while the archive cannot be written", s)
	}
	first := w.next(operators)
	if first.Event != string(callbackd.NoticeArchive) || first.State != "open" || first.Account != "" || first.Since == nil || !strings.Contains(first.Text, c.Archive) {
		t.Errorf("the notice is %+v", first)
	}
	if page, err := w.store.ListEvents(t.Context(), store.EventQuery{Key: k.ID, Limit: 3}); err != nil || len(page.Events) != 2 {
		t.Errorf("%d events are stored while the archive cannot be written, %v; want 2", len(page.Events), err)
	}
	if err := os.Remove(c.Archive); err != nil {
		t.Fatal(err)
	}
	steps(t, sweep)
	if n := w.next(operators); n.Event != string(callbackd.NoticeArchive) || n.State != "closed" || n.Incident != first.Incident {
		t.Errorf("the notice of the end is %+v", n)
	}
	if s := status(); s != nil {
		t.Errorf("the status has %+v after the archive was written", s)
	}
}

// A delivery that waits for its turn too long is told.
func TestAKeyIsToldOfAnOldBacklog(t *testing.T) {
	hangs := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer slow.Close()
	defer close(hangs)
	mine := tellMe(t)
	w := startWatched(t, config(t.TempDir()))
	key, _ := w.client("acme")
	register(t, key, mine.URL, nil, nil, callbackd.NoticeBacklog)
	register(t, key, slow.URL, nil, nil, callbackd.Complete)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	if n := w.next(mine); n.Event != string(callbackd.NoticeBacklog) || n.Pending != 1 || n.About.Event != string(callbackd.Complete) {
		t.Errorf("the notice is %+v", n)
	}
}

// A delivery that is given up is told. A notice that cannot be delivered leads to no other.
func TestNoNoticeIsAboutNotices(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) }))
	defer broken.Close()
	mine := tellMe(t)
	c := config(t.TempDir())
	c.NoticeKey = "acme"
	w := startWatched(t, c)
	key, k := w.client("acme")
	register(t, key, broken.URL, nil, []string{"0s"}, callbackd.Complete, callbackd.NoticePaused, callbackd.NoticeFailing)
	register(t, key, mine.URL, nil, nil, callbackd.NoticeExhausted)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	n := w.next(mine)
	if n.Event != string(callbackd.NoticeExhausted) || n.Count != 1 || n.About.Event != string(callbackd.Complete) {
		t.Errorf("the notice is %+v", n)
	}
	// The pause is told to a receiver that answers 410 too, so that this callback is paused.
	w.until("an incident about a callback for notices", func() bool {
		for _, i := range w.incidents(k.ID) {
			if i.Facts.Event.IsNotice() {
				return i.Told[callbackd.ToKey] == -i.Stage
			}
		}
		return false
	})
	if n := len(mine.got); n != 0 {
		t.Errorf("%d notices more came, want none", n)
	}
}
