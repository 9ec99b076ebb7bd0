package sqlite

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"callbackd"

	"github.com/ncruces/go-sqlite3"
)

// planned fails operations of one kind on one file, from the nth on.
type planned struct {
	op, file string
	n        int
	once     bool
	err      error
	seen     int
	hits     int
}

func (p *planned) fault(op, file string) error {
	if op != p.op || !strings.HasSuffix(file, p.file) {
		return nil
	}
	p.seen++
	if p.seen < p.n || p.once && p.hits > 0 {
		return nil
	}
	p.hits++
	return p.err
}

// hits returns the number of failures, which is guarded by the disk's mutex.
func (r *rig) hits(p *planned) int {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	return p.hits
}

func (r *rig) setFault(f func(op, file string) error) {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.disk.fault = f
}

// failingOperations are the operations that fail, and at which of them the
// failures begin.
var failingOperations = []struct {
	op, file string
	err      error
	numbers  []int
}{
	{"write", "-wal", sqlite3.IOERR_WRITE, []int{1, 2, 3, 4, 6, 9, 14, 20}},
	{"write", "-wal", sqlite3.FULL, []int{1, 2, 3, 4, 6, 9, 14, 20}},
	{"sync", "-wal", sqlite3.IOERR_FSYNC, []int{1, 2, 3, 4, 5, 6, 7, 12}},
	{"write", ".db", sqlite3.IOERR_WRITE, []int{1, 2, 5, 11}},
	{"write", ".db", sqlite3.FULL, []int{1, 2, 5}},
	{"sync", ".db", sqlite3.IOERR_FSYNC, []int{1, 2, 3}},
	{"truncate", "", sqlite3.IOERR_TRUNCATE, []int{1}},
}

// Every kind of operation fails at its first, second, … call, once or from then on. No
// commit whose sync failed is acknowledged. A store whose file failed reports it and
// acknowledges nothing more. What was acknowledged survives the end of the process, a
// restart, and a power cut.
func TestFailedOperationsLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failures := map[string]int{}
	t.Run("", func(t *testing.T) {
		for _, at := range failingOperations {
			for _, n := range at.numbers {
				for _, once := range []bool{true, false} {
					p := &planned{op: at.op, file: at.file, n: n, once: once, err: at.err}
					t.Run(fmt.Sprintf("%s %s %v %d once=%v", at.op, at.file, at.err, n, once), func(t *testing.T) {
						t.Parallel()
						hits := live(t, p)
						mu.Lock()
						failures[at.op+at.file] += hits
						mu.Unlock()
					})
				}
			}
		}
	})
	for what, n := range failures {
		if n == 0 {
			t.Errorf("no %s failed, want one or more", what)
		}
	}
}

// live runs a store that meets a fault, ends, and starts again. It returns how
// many operations failed.
func live(t *testing.T, p *planned) (hits int) {
	r := newRig(t, rand.Uint64(), "FULL")
	s := open(t, r.o)
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	r.checkpointAt(s, 5)
	r.setFault(p.fault)
	r.loadWithFault(s, p)
	if p.err == sqlite3.FULL {
		r.setFault(nil)
		if _, err := r.accept(s, "S", 1, 100); err != nil {
			r.violation("an event is refused when there is space again: %v", err)
		}
	}
	if r.rng.IntN(2) == 0 {
		r.setFault(nil)
		s.Close()
	}
	r.disk.kill()
	s.Close()
	r.restart("after the fault", true)
	r.restart("after the power cut", false)
	for _, v := range r.violations {
		t.Errorf("seed %d: %s", r.disk.seed, v)
	}
	return p.hits
}

// loadWithFault accepts events and ends deliveries, and compares each answer with
// whether an operation failed meanwhile.
func (r *rig) loadWithFault(s *Store, p *planned) {
	refused := false
	for i := range 12 {
		before := r.hits(p)
		evs, err := r.accept(s, "S", 1, 3_000)
		if err == nil && i%2 == 0 {
			err = r.record(s, evs[0].ID)
		}
		if err != nil {
			r.checkRefusal(s, p, err)
		} else {
			r.checkAcknowledged(s, p, r.hits(p) > before, refused)
		}
		refused = refused || err != nil
	}
}

// checkAcknowledged checks that a store may acknowledge: no write to its log
// failed, and it did not fail before.
func (r *rig) checkAcknowledged(s *Store, p *planned, failed, refused bool) {
	if failed && p.file == "-wal" && p.op == "write" {
		r.violation("a command was acknowledged although its write to the log failed")
	}
	if refused && closed(s.Failed()) {
		r.violation("a store that had failed acknowledged a command")
	}
}

// checkRefusal checks that every error but a full disk ends the store.
func (r *rig) checkRefusal(s *Store, p *planned, err error) {
	if callbackd.KindOf(err) != callbackd.KindUnavailable {
		r.violation("the error is %v, want Unavailable", err)
	}
	if ends := p.err != sqlite3.FULL; closed(s.Failed()) != ends {
		r.violation("whether the store failed after %v: %v, want %v", err, !ends, ends)
	}
}

// restart starts the store, compares it with what was acknowledged, adds a little, and
// cuts the power.
func (r *rig) restart(when string, killed bool) {
	r.disk.power()
	s, err := Open(r.ctx, r.o)
	if err != nil {
		r.violation("%s: %v", when, err)
		return
	}
	n := len(r.violations)
	r.verify(s, killed)
	for i := range r.violations[n:] {
		r.violations[n+i] = when + ": " + r.violations[n+i]
	}
	for range 3 {
		if _, err := r.accept(s, "S", 1, 100); err != nil {
			r.violation("%s: %v", when, err)
		}
	}
	r.disk.mu.Lock()
	r.disk.cut()
	r.disk.mu.Unlock()
	s.Close()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
