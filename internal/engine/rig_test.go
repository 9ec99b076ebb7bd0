package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// rig is an engine on a real store with a scripted receiver, in the fake time of
// a synctest bubble.
type rig struct {
	*testing.T
	dir string
	s   *sqlite.Store
	e   *engine.Engine
	o   engine.Options
	key callbackd.Key

	mu     sync.Mutex
	script func(call) callbackd.Result
	calls  []call

	callbacks int // how many were made
	inFlight  int
	peak      int // of inFlight
}

type call struct {
	at       time.Time
	cb       callbackd.CallbackID
	session  string
	sequence int64
	attempt  int
	url      string
}

// Send is part of [engine.Sender].
func (r *rig) Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) callbackd.Result {
	c := call{time.Now(), cb.ID, ev.Session, ev.Sequence, n, cb.URL}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.inFlight++
	r.peak = max(r.peak, r.inFlight)
	script := r.script
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inFlight--
	}()
	res := script(c)
	res.StartedAt = c.at
	if ctx.Err() != nil {
		res = callbackd.Result{StartedAt: c.at, Fault: callbackd.FaultShutdown}
	}
	return res
}

func status(code int) callbackd.Result {
	if code/100 == 2 {
		return callbackd.Result{Status: code}
	}
	return callbackd.Result{Status: code, Fault: callbackd.FaultStatus}
}

func ok(call) callbackd.Result { return status(200) }

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(firstStore.dir)
	os.Exit(code)
}

// firstStore is an empty store. Its migrations take longer than many tests, so every test
// gets a copy of it.
var firstStore struct {
	once sync.Once
	dir  string
}

// emptyStore returns a data directory for one test, with an empty store. It is called
// outside of a bubble, and copies a store that was made in one, so that its times are those
// of a bubble's start.
func emptyStore(t *testing.T) string {
	t.Helper()
	firstStore.once.Do(func() {
		dir, err := os.MkdirTemp("", "callbackd-engine-")
		if err != nil {
			t.Fatal(err)
		}
		firstStore.dir = dir
		synctest.Test(t, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(firstStore.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bubble runs f in fake time. In the end the store is checked for faults: every
// delivery must be in exactly one state.
func bubble(t *testing.T, o engine.Options, f func(r *rig)) {
	t.Helper()
	dir := emptyStore(t)
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, dir: dir, o: o, script: ok}
		r.open()
		r.key = r.newKey("k")
		f(r)
		report, err := r.s.Check(r.Context())
		if err != nil {
			r.Errorf("check: %v", err)
		}
		if report.FaultN > 0 {
			r.Errorf("the check found %d faults: %+v", report.FaultN, report)
		}
		r.close()
	})
}

// open opens the store and starts an engine on it.
func (r *rig) open() {
	r.Helper()
	s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
	o := r.o
	o.Queue, o.Sender = s, r
	r.e = engine.New(o)
	s.OnCommit(r.e.OnCommit)
	if err := r.e.Start(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// close drains the engine and closes the store.
func (r *rig) close() {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	r.e.Drain(ctx)
	if err := r.s.Close(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) newKey(text string) callbackd.Key {
	r.Helper()
	key, err := r.s.CreateKey(r.Context(), callbackd.Key{Account: "acme", APIKey: text, Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	return key
}

// callback makes a callback.
func (r *rig) callback(ev callbackd.EventType, p callbackd.Policy) callbackd.CallbackID {
	r.Helper()
	url := "https://example.com/"
	if r.callbacks++; r.callbacks > 1 { // each has its own receiver
		url = fmt.Sprintf("https://r%d.example.com/", r.callbacks)
	}
	cb, _, err := r.s.CreateCallback(r.Context(), callbackd.Callback{Key: r.key.ID, Event: ev, Name: fmt.Sprint(time.Now().UnixNano(), len(r.calls), p),
		URL: url, Method: "POST", Payload: []byte("{}"), Policy: p}, time.Now())
	if err != nil {
		r.Fatal(err)
	}
	return cb.ID
}

// publish accepts one event for each session.
func (r *rig) publish(ev callbackd.EventType, sessions ...string) []callbackd.EventID {
	r.Helper()
	b := store.Batch{Key: r.key.ID, At: time.Now()}
	for _, s := range sessions {
		b.Events = append(b.Events, store.NewEvent{Type: ev, Session: s, Data: []byte("{}")})
	}
	evs, err := r.s.Accept(r.Context(), b)
	if err != nil {
		r.Fatal(err)
	}
	var ids []callbackd.EventID
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

// set makes the receiver answer as f says.
func (r *rig) set(f func(call) callbackd.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = f
}

// sent returns the attempts so far.
func (r *rig) sent() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// pass lets fake time pass and then waits until nothing more happens.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const ev1 = callbackd.StatusChange

// wantSent fails the test unless there were so many attempts.
func (r *rig) wantSent(want int) {
	r.Helper()
	if got := len(r.sent()); got != want {
		r.Errorf("%d attempts, want %d", got, want)
	}
}

// wantWaiting fails the test unless so many deliveries have not ended.
func (r *rig) wantWaiting(want int64) {
	r.Helper()
	if got := r.waiting(); got != want {
		r.Errorf("%d deliveries have not ended, want %d", got, want)
	}
}

// wantDelivered fails the test unless the first callback got so many deliveries.
func (r *rig) wantDelivered(want int64) {
	r.Helper()
	report, err := r.s.Check(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if got := report.Callbacks[0].Delivered; got != want {
		r.Errorf("%d deliveries to the first callback, want %d", got, want)
	}
}

// wantAtOnce fails the test unless there were least to most attempts at a time since
// the last peakFromHere.
func (r *rig) wantAtOnce(least, most int) {
	r.Helper()
	if got := r.highest(); got < least || got > most {
		r.Errorf("%d attempts at a time, want %d to %d", got, least, most)
	}
}

// wantPause fails the test unless the callback is paused for the reason.
func (r *rig) wantPause(id callbackd.CallbackID, want callbackd.PauseReason) *callbackd.Callback {
	r.Helper()
	cb, err := r.s.CallbackByID(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	if cb.Pause.Reason != want {
		r.Errorf("the callback is paused for %q, want %q", cb.Pause.Reason, want)
	}
	return cb
}

// wantDelivery fails the test unless the delivery is in the state and its attempts
// had these faults.
func (r *rig) wantDelivery(id callbackd.DeliveryID, state callbackd.State, faults ...callbackd.Fault) {
	r.Helper()
	d, err := r.s.Delivery(r.Context(), r.key.ID, id, 0)
	if err != nil {
		r.Fatal(err)
	}
	if d.State != state {
		r.Errorf("the delivery is %s, want %s", d.State, state)
	}
	var got []callbackd.Fault
	for _, a := range d.History {
		got = append(got, a.Fault)
	}
	if !slices.Equal(got, faults) {
		r.Errorf("its attempts had the faults %q, want %q", got, faults)
	}
}
