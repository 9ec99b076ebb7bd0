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

// hits counts under the disk's mutex.
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

// Every kind of operation fails, once or from then on, at its first, second,
// … time. No commit whose sync failed is acknowledged, a store whose file
// failed says so and acknowledges nothing more, and what was acknowledged
// survives what follows: the end of the process, a restart, and a power cut.
func TestFailedOperationsLoseNothingAcknowledged(t *testing.T) {
	var mu sync.Mutex
	fired := map[string]int{}
	t.Run("", func(t *testing.T) {
		for _, at := range []struct {
			op, file string
			err      error
			numbers  []int
		}{
			{"write", "-wal", sqlite3.IOERR_WRITE, []int{1, 2, 3, 9, 20, 50, 120}},
			{"write", "-wal", sqlite3.FULL, []int{1, 2, 3, 9, 20, 50, 120}},
			{"sync", "-wal", sqlite3.IOERR_FSYNC, []int{1, 2, 3, 4, 5, 6, 7, 12}},
			{"write", ".db", sqlite3.IOERR_WRITE, []int{1, 2, 5, 11}},
			{"write", ".db", sqlite3.FULL, []int{1, 2, 5}},
			{"sync", ".db", sqlite3.IOERR_FSYNC, []int{1, 2, 3}},
			{"truncate", "", sqlite3.IOERR_TRUNCATE, []int{1}},
		} {
			for _, n := range at.numbers {
				for _, once := range []bool{true, false} {
					p := &planned{op: at.op, file: at.file, n: n, once: once, err: at.err}
					t.Run(fmt.Sprintf("%s %s %v %d once=%v", at.op, at.file, at.err, n, once), func(t *testing.T) {
						t.Parallel()
						r := newRig(t, rand.Uint64(), "FULL")
						r.life(t, p)
						mu.Lock()
						fired[at.op+at.file] += p.hits
						mu.Unlock()
						for _, l := range r.lost {
							t.Errorf("seed %d: %s", r.disk.seed, l)
						}
					})
				}
			}
		}
	})
	for what, n := range fired {
		if n == 0 {
			t.Errorf("no %s ever failed", what)
		}
	}
}

// life is a store that meets a fault, ends, and starts again.
func (r *rig) life(t *testing.T, p *planned) {
	s := open(t, r.o)
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	r.checkpointAt(s, 20)
	r.setFault(p.fault)
	refused := false
	for i := range 12 {
		before := r.hits(p)
		evs, err := r.accept(s, "S", 1, 3_000)
		if err == nil && i%2 == 0 {
			err = r.record(s, evs[0].ID)
		}
		failed := r.hits(p) > before
		switch {
		case err == nil && failed && p.file == "-wal" && p.op == "write":
			r.missing("acknowledged, and its write to the log failed")
		case err == nil && refused && closed(s.Failed()):
			r.missing("acknowledged by a store that failed")
		case err != nil && callbackd.KindOf(err) != callbackd.KindUnavailable:
			r.missing("the error is %v", err)
		case err != nil && p.err != sqlite3.FULL && !closed(s.Failed()):
			r.missing("%v, and the store did not fail", err)
		case err != nil && p.err == sqlite3.FULL && closed(s.Failed()):
			r.missing("a full disk ended the store: %v", err)
		}
		refused = refused || err != nil
	}
	if p.err == sqlite3.FULL {
		r.setFault(nil)
		if _, err := r.accept(s, "S", 1, 100); err != nil {
			r.missing("there is space again: %v", err)
		}
	}
	if r.rng.IntN(2) == 0 {
		r.setFault(nil)
		s.Close()
	}
	r.disk.kill()
	s.Close()
	r.restart(t, "after the fault")
	r.restart(t, "after the power cut")
}

// restart starts the store, compares, adds a little, and loses the power.
func (r *rig) restart(t *testing.T, when string) {
	r.disk.power()
	s, err := Open(r.ctx, r.o)
	if err != nil {
		r.missing("%s: %v", when, err)
		return
	}
	n := len(r.lost)
	r.verify(s)
	for i := range r.lost[n:] {
		r.lost[n+i] = when + ": " + r.lost[n+i]
	}
	for range 3 {
		if _, err := r.accept(s, "S", 1, 100); err != nil {
			r.missing("%s: %v", when, err)
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
