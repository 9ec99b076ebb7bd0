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

// rig is a store on a disk that can lose its power, and everything that the
// store has acknowledged.
type rig struct {
	ctx  context.Context
	disk *disk
	o    Options
	rng  *rand.Rand
	key  callbackd.KeyID
	cb   callbackd.CallbackID

	mu    sync.Mutex
	acked map[callbackd.EventID]*owed
	lost  []string // what was acknowledged and is not there, what is damaged
}

// owed is an acknowledged event.
type owed struct {
	ev       callbackd.Event
	tried    bool // an outcome was handed in
	recorded bool // and acknowledged
}

func newRig(t *testing.T, seed uint64, synchronous string) *rig {
	d := newDisk(t.TempDir(), seed)
	t.Cleanup(d.remove)
	return &rig{ctx: t.Context(), disk: d, rng: rand.New(rand.NewPCG(seed, 1)), acked: map[callbackd.EventID]*owed{},
		o: Options{Dir: t.TempDir(), vfs: d.name, synchronous: synchronous, flushAt: 1 + int(seed%40)}}
}

func (r *rig) missing(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, fmt.Sprintf(format, args...))
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
		r.missing("the key or the callback is another one")
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
	evs, err := s.Accept(r.ctx, b)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range evs {
		if r.acked[ev.ID] != nil {
			r.lost = append(r.lost, fmt.Sprintf("the id %s was given twice", ev.ID))
		}
		r.acked[ev.ID] = &owed{ev: *ev}
	}
	return evs, nil
}

// record ends the delivery of an event.
func (r *rig) record(s *Store, id callbackd.EventID) error {
	r.mu.Lock()
	o := r.acked[id]
	o.tried = true
	r.mu.Unlock()
	_, err := s.Record(r.ctx, callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: id, Callback: r.cb}},
		Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200}, Decision: callbackd.Decision{State: callbackd.Delivered}}})
	r.mu.Lock()
	defer r.mu.Unlock()
	o.recorded = err == nil
	return err
}

// verify compares the store with what it has acknowledged.
func (r *rig) verify(s *Store) {
	var damage []string
	err := s.read(r.ctx, func(d *db) error {
		return d.query("PRAGMA integrity_check", func(st *sqlite3.Stmt) error {
			if text := st.ColumnText(0); text != "ok" {
				damage = append(damage, text)
			}
			return nil
		})
	})
	if err != nil || len(damage) > 0 {
		r.missing("integrity: %q, %v", damage, err)
	}
	report, err := s.Check(r.ctx)
	if err != nil || report.FaultN > 0 {
		r.missing("check: %v, %v", report, err)
		return
	}
	for id, o := range r.acked {
		ev, err := s.Event(r.ctx, r.key, id)
		if err != nil || ev.Sequence != o.ev.Sequence || ev.Session != o.ev.Session || !bytes.Equal(ev.Data, o.ev.Data) {
			r.missing("event %s, number %d of %s: %v", id, o.ev.Sequence, o.ev.Session, err)
			continue
		}
		d, err := s.Delivery(r.ctx, r.key, callbackd.DeliveryID{Event: id, Callback: r.cb}, 0)
		switch {
		case err != nil:
			r.missing("delivery of %s: %v", id, err)
		case o.recorded && (d.State != callbackd.Delivered || len(d.History) != 1):
			r.missing("the outcome of %s: %s after %d attempts", id, d.State, len(d.History))
		case !o.tried && d.State != callbackd.Pending:
			r.missing("%s is %s and was never attempted", id, d.State)
		case d.State == callbackd.Delivered:
			o.tried, o.recorded = true, true // it was in doubt; now it is not
		default:
			o.tried = false
		}
	}
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
	s.write(r.ctx, func(*tx) error { s.checkpointPages = pages; return nil })
}

// cycle is one life of the machine: start, compare, work until the power
// goes, at the start, in the middle, or while it stops.
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
		r.verify(s)
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
		r.missing("open: %v", err)
	}
	if s != nil {
		s.Close() // while the disk is dead, most times
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
		if len(r.lost) == 0 {
			r.cycle()
		}
	}
	r.disk.power()
	s, err := Open(r.ctx, r.o)
	if err != nil {
		r.missing("open: %v", err)
		return
	}
	if r.key != 0 {
		r.verify(s)
	}
	if err := s.Close(); err != nil {
		r.missing("close: %v", err)
	}
}

// cutsPerDisk is how often one disk loses its power.
const cutsPerDisk = 15

// powerCuts runs all the cuts and returns what was lost and how much was
// acknowledged.
func powerCuts(t *testing.T, synchronous string, n int) (lost []string, acked int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, 4)
	for range (n + cutsPerDisk - 1) / cutsPerDisk {
		r := newRig(t, rand.Uint64(), synchronous)
		seed := r.disk.seed
		free <- struct{}{}
		wg.Go(func() {
			r.machine(cutsPerDisk)
			mu.Lock()
			defer mu.Unlock()
			acked += len(r.acked)
			for _, l := range r.lost {
				lost = append(lost, fmt.Sprintf("seed %d: %s", seed, l))
			}
			<-free
		})
	}
	wg.Wait()
	return lost, acked
}

// A power cut loses nothing that was acknowledged, at whatever moment it
// comes and whatever of the writes under way reaches the disk.
func TestPowerCutsLoseNothingAcknowledged(t *testing.T) {
	lost, acked := powerCuts(t, "FULL", *cuts)
	if len(lost) > 0 {
		t.Errorf("%d faults, the first:\n%s", len(lost), strings.Join(lost[:min(10, len(lost))], "\n"))
	}
	if acked < *cuts {
		t.Errorf("only %d events were acknowledged between %d cuts", acked, *cuts)
	}
	t.Logf("%d acknowledged, %d cuts", acked, *cuts)
}

// The control: the same cuts do lose events of a store that syncs less.
func TestPowerCutsLoseEventsWithoutSync(t *testing.T) {
	for _, synchronous := range []string{"OFF", "NORMAL"} {
		if lost, acked := powerCuts(t, synchronous, 4*cutsPerDisk); len(lost) == 0 {
			t.Errorf("%s: nothing of %d was lost: the cuts cut nothing", synchronous, acked)
		}
	}
}
