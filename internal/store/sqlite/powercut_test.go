package sqlite

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

var cuts = flag.Int("cuts", 60, "simulated power cuts")

// rig has a store on a disk that can lose its power, and everything that the store has
// acknowledged.
type rig struct {
	ctx  context.Context
	disk *disk
	o    Options
	rng  *rand.Rand
	key  callbackd.KeyID
	cb   callbackd.CallbackID
	// canWait sets CanWait of every second outcome.
	canWait bool

	mu         sync.Mutex
	acked      map[callbackd.EventID]*ackedEvent
	outcomes   []*ackedEvent // whose outcome was acknowledged, in order
	synced     int           // how many of outcomes must survive a power cut
	repeated   int           // outcomes that a power cut lost
	violations []string      // what was acknowledged and is missing, and what is damaged
}

// ackedEvent is an acknowledged event.
type ackedEvent struct {
	ev       callbackd.Event
	tried    bool // an outcome was handed in
	recorded bool // and acknowledged
	synced   bool // and something was synced since
}

func newRig(t *testing.T, seed uint64, synchronous string) *rig {
	d := newDisk(t.TempDir(), seed)
	t.Cleanup(d.remove)
	return &rig{ctx: t.Context(), disk: d, rng: rand.New(rand.NewPCG(seed, 1)), acked: map[callbackd.EventID]*ackedEvent{},
		o: Options{Dir: t.TempDir(), vfs: d.name, synchronous: synchronous, flushAt: 1 + int(seed%40)}}
}

// violation records a fault. It ignores faults while the power is off: then every command
// fails, also one that reads, because it flushes the buffer first.
func (r *rig) violation(format string, args ...any) {
	if r.disk.isOff() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// begin makes the key and the callback, unless they are there.
func (r *rig) begin(s *Store) error {
	keys, err := s.ListKeys(r.ctx)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		k, err := s.CreateKey(r.ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
		if err != nil {
			return err
		}
		keys = []callbackd.Key{k}
	}
	cb, _, err := s.CreateCallback(r.ctx, callbackd.Callback{Key: keys[0].ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
	if err != nil {
		return err
	}
	if r.key != 0 && (r.key != keys[0].ID || r.cb != cb.ID) {
		r.violation("the key or the callback is another one")
	}
	r.key, r.cb = keys[0].ID, cb.ID
	return nil
}

// accept publishes n events and keeps what was acknowledged.
func (r *rig) accept(s *Store, session string, n, size int) ([]*callbackd.Event, error) {
	b := store.Batch{Key: r.key, At: time.Now()}
	for range n {
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: session, Data: bytes.Repeat([]byte{'x'}, size)})
	}
	r.mu.Lock()
	before := len(r.outcomes)
	r.mu.Unlock()
	evs, err := s.Accept(r.ctx, b)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.synced < before; r.synced++ { // the event's sync includes them
		r.outcomes[r.synced].synced = true
	}
	for _, ev := range evs {
		if r.acked[ev.ID] != nil {
			r.violations = append(r.violations, fmt.Sprintf("the id %s was given twice", ev.ID))
		}
		r.acked[ev.ID] = &ackedEvent{ev: *ev}
	}
	return evs, nil
}

// record ends the delivery of an event.
func (r *rig) record(s *Store, id callbackd.EventID) error {
	r.mu.Lock()
	o := r.acked[id]
	o.tried = true
	r.mu.Unlock()
	_, err := s.Record(r.ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: id, Callback: r.cb}},
		Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200}, Decision: callbackd.Decision{State: callbackd.Delivered}},
		CanWait: r.canWait && id&1 == 0})
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.recorded = err == nil; o.recorded {
		r.outcomes = append(r.outcomes, o)
	}
	return err
}

// verify compares a store that was just opened with what was acknowledged before. After a
// power cut the last outcomes may be missing, after a kill they may not.
func (r *rig) verify(s *Store, killed bool) {
	r.checkIntegrity(s)
	report, err := s.Check(r.ctx)
	if err != nil {
		r.violation("check: %v", err)
		return
	}
	if report.FaultN > 0 {
		r.violation("fsck finds %d faults, want none: %q", report.FaultN, report.Faults)
		return
	}
	r.outcomes, r.synced = nil, 0
	for id, a := range r.acked {
		if r.verifyEvent(s, id, a) {
			r.verifyDelivery(s, id, a, killed)
		}
	}
}

// checkIntegrity has SQLite check its file.
func (r *rig) checkIntegrity(s *Store) {
	err := s.read(r.ctx, func(d *db) error {
		return d.query("PRAGMA integrity_check", func(st *sqlite3.Stmt) error {
			if text := st.ColumnText(0); text != "ok" {
				r.violation("integrity_check says %q, want ok", text)
			}
			return nil
		})
	})
	if err != nil {
		r.violation("integrity_check: %v", err)
	}
}

// verifyEvent compares a stored event with the acknowledged one, and reports whether it
// is there.
func (r *rig) verifyEvent(s *Store, id callbackd.EventID, a *ackedEvent) bool {
	got, err := s.Event(r.ctx, r.key, id)
	if err != nil {
		r.violation("event %s, which was acknowledged: %v", id, err)
		return false
	}
	if got.Session != a.ev.Session || got.Sequence != a.ev.Sequence {
		r.violation("event %s is %d of %s, want %d of %s", id, got.Sequence, got.Session, a.ev.Sequence, a.ev.Session)
	}
	if !bytes.Equal(got.Data, a.ev.Data) {
		r.violation("event %s has other data than it was accepted with", id)
	}
	return true
}

// verifyDelivery compares a delivery with the outcomes that were acknowledged. An
// outcome that was handed in and not acknowledged may be stored or not. Opening the store
// has synced what is stored.
func (r *rig) verifyDelivery(s *Store, id callbackd.EventID, a *ackedEvent, killed bool) {
	d, err := s.Delivery(r.ctx, r.key, callbackd.DeliveryID{Event: id, Callback: r.cb}, 0)
	if err != nil {
		r.violation("the delivery of event %s: %v", id, err)
		return
	}
	if (a.synced || a.recorded && killed) && (d.State != callbackd.Delivered || len(d.History) != 1) {
		r.violation("event %s is %s after %d attempts, want delivered after 1", id, d.State, len(d.History))
		return
	}
	if !a.tried && d.State != callbackd.Pending {
		r.violation("event %s is %s, and was never attempted; want pending", id, d.State)
		return
	}
	stored := d.State == callbackd.Delivered
	if a.recorded && !stored {
		r.repeated++
	}
	a.tried, a.recorded, a.synced = stored, stored, stored
}

// load publishes and records from a few goroutines until the store fails.
func (r *rig) load(s *Store) {
	var wg sync.WaitGroup
	for w := range 3 {
		rng := rand.New(rand.NewPCG(r.rng.Uint64(), 2))
		wg.Go(func() {
			for {
				evs, err := r.accept(s, fmt.Sprint("S", w, rng.IntN(3)), 1+rng.IntN(3), rng.IntN(3_000))
				if err != nil {
					return
				}
				if rng.IntN(3) > 0 {
					if err := r.record(s, evs[rng.IntN(len(evs))].ID); err != nil {
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// checkpointAt makes checkpoints as frequent as a test needs them.
func (r *rig) checkpointAt(s *Store, pages int) {
	s.write(r.ctx, func(*tx) error { s.w.checkpointPages = pages; return nil })
}

// cycle runs the machine from a start to the next power cut: it starts the store,
// compares it, and works until the cut. The cut comes at the start, during the work, or
// while the store stops.
func (r *rig) cycle() {
	r.disk.power()
	if r.rng.IntN(8) == 0 {
		r.disk.cutAfter(1 + r.rng.IntN(40))
	}
	s, err := Open(r.ctx, r.o)
	if err == nil {
		err = r.begin(s)
	}
	if err == nil {
		r.verify(s, false)
		r.checkpointAt(s, []int{30, 200, 2000}[r.rng.IntN(3)])
		r.disk.cutAfter(1 + r.rng.IntN(500))
		if r.rng.IntN(8) == 0 { // in the last checkpoint
			for range 20 {
				r.accept(s, "S", 1, 100)
			}
			r.disk.cutAfter(1 + r.rng.IntN(30))
		} else {
			r.load(s)
		}
	} else if !r.disk.isOff() {
		r.violation("open: %v", err)
	}
	if s != nil {
		s.Close() // most times while the power is off
	}
	r.disk.mu.Lock()
	if !r.disk.off {
		r.disk.cut()
	}
	r.disk.mu.Unlock()
}

// machine runs n cycles on one disk and compares once more at the end.
func (r *rig) machine(n int) {
	for range n {
		if len(r.violations) == 0 {
			r.cycle()
		}
	}
	r.disk.power()
	s, err := Open(r.ctx, r.o)
	if err != nil {
		r.violation("open: %v", err)
		return
	}
	if r.key != 0 {
		r.verify(s, false)
	}
	if err := s.Close(); err != nil {
		r.violation("close: %v", err)
	}
}

// cutsPerDisk is the number of power cuts of one disk.
const cutsPerDisk = 15

// powerCuts runs all cuts. It returns the faults, how many events were acknowledged, and
// how many outcomes were lost because they had not been synced.
func powerCuts(t *testing.T, synchronous string, n int) (lost []string, acked, repeated int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, 4)
	for range (n + cutsPerDisk - 1) / cutsPerDisk {
		r := newRig(t, rand.Uint64(), synchronous)
		r.canWait = true
		seed := r.disk.seed
		free <- struct{}{}
		wg.Go(func() {
			r.machine(cutsPerDisk)
			mu.Lock()
			defer mu.Unlock()
			acked += len(r.acked)
			repeated += r.repeated
			for _, l := range r.violations {
				lost = append(lost, fmt.Sprintf("seed %d: %s", seed, l))
			}
			<-free
		})
	}
	wg.Wait()
	return lost, acked, repeated
}

// A power cut loses no acknowledged event, whenever it comes and whichever of the writes
// in progress reach the disk. It loses no outcome from before the last event.
func TestPowerCutsLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	lost, acked, repeated := powerCuts(t, "FULL", *cuts)
	if len(lost) > 0 {
		t.Errorf("%d faults, the first:\n%s", len(lost), strings.Join(lost[:min(10, len(lost))], "\n"))
	}
	if acked < *cuts {
		t.Errorf("only %d events were acknowledged between %d cuts", acked, *cuts)
	}
	t.Logf("%d acknowledged, %d cuts, %d outcomes were lost with one", acked, *cuts, repeated)
}

// The control experiment: the same cuts lose events of a store that syncs less.
func TestPowerCutsLoseEventsWithoutSync(t *testing.T) {
	t.Parallel()
	for _, synchronous := range []string{"OFF", "NORMAL"} {
		if lost, acked, _ := powerCuts(t, synchronous, 4*cutsPerDisk); len(lost) == 0 {
			t.Errorf("%s: none of %d events was lost, so the cuts prove nothing", synchronous, acked)
		}
	}
}
