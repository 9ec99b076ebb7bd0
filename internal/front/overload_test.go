package front_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/front"
)

// slowStore is a store that accepts one call after the other.
type slowStore struct {
	o     *front.Overload
	queue chan *front.Accepting
	each  time.Duration
	waits []time.Duration // of accepted calls
	by    map[string]int
}

func newSlowStore(each time.Duration) *slowStore {
	return &slowStore{o: front.NewOverload(nil), queue: make(chan *front.Accepting, 1<<14), each: each, by: map[string]int{}}
}

// offer has calls of keys come at the given rates for some time, and returns how many were
// accepted and refused of each.
func (s *slowStore) offer(t *testing.T, rates map[string]int, lasts time.Duration) (accepted, refused map[string]int) {
	t.Helper()
	accepted, refused = map[string]int{}, map[string]int{}
	const step = time.Millisecond
	owed := map[string]float64{}
	began := map[*front.Accepting]time.Time{}
	free := time.Now()
	var queue []*front.Accepting
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(step) {
		for key, rate := range rates {
			for owed[key] += float64(rate) * step.Seconds(); owed[key] >= 1; owed[key]-- {
				a, err := s.o.Begin(t.Context(), key, 1)
				if err != nil {
					if limit, after := callbackd.LimitOf(err); limit != callbackd.LimitOverload || after < 1 || after > 3 || callbackd.KindOf(err) != callbackd.KindUnavailable {
						t.Fatalf("the refusal is %v, limit %q, after %d s", err, limit, after)
					}
					refused[key]++
					continue
				}
				accepted[key]++
				began[a] = time.Now()
				queue = append(queue, a)
			}
		}
		for len(queue) > 0 && !free.After(time.Now()) {
			a := queue[0]
			queue = queue[1:]
			s.o.End(a)
			s.waits = append(s.waits, time.Since(began[a]))
			free = free.Add(s.each)
			if free.Before(time.Now().Add(-step)) {
				free = time.Now()
			}
		}
	}
	for _, a := range queue {
		s.o.End(a)
	}
	return accepted, refused
}

// clients has as many clients as most returns make a call each after the other, for some time,
// and returns how many calls were refused. A refused client makes its next call a second later.
func (s *slowStore) clients(t *testing.T, lasts time.Duration, most func(since time.Duration) int) (refused int) {
	t.Helper()
	type call struct {
		*front.Accepting
		began time.Time
	}
	var queue []call
	var back []time.Time // when refused clients come back
	work := time.Duration(0)
	for start := time.Now(); time.Since(start) < lasts; time.Sleep(time.Millisecond) {
		for len(back) > 0 && time.Now().After(back[0]) {
			back = back[1:]
		}
		for len(queue)+len(back) < most(time.Since(start)) {
			a, err := s.o.Begin(t.Context(), "a", 1)
			if err != nil {
				refused++
				back = append(back, time.Now().Add(time.Second))
				continue
			}
			queue = append(queue, call{a, time.Now()})
		}
		for work += time.Millisecond; len(queue) > 0 && work >= s.each; work -= s.each {
			s.o.End(queue[0].Accepting)
			s.waits = append(s.waits, time.Since(queue[0].began))
			queue = queue[1:]
		}
	}
	for _, c := range queue {
		s.o.End(c.Accepting)
	}
	return refused
}

// slowest returns the 99th percentile of the waits since the last call.
func (s *slowStore) slowest() time.Duration {
	_, p99 := percentiles(s.waits)
	s.waits = nil
	return p99
}

func percentiles(v []time.Duration) (p50, p99 time.Duration) {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}

// At ten times what the store can take, nearly as much is accepted as it can take, and what
// is accepted waits little.
func TestOverloadKeepsTheRateAndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(250 * time.Microsecond) // 4,000 a second
		_, refused := s.offer(t, map[string]int{"a": 3000}, 2*time.Second)
		if refused["a"] != 0 {
			t.Errorf("%d calls are refused at three quarters of the rate", refused["a"])
		}
		s.waits = nil
		accepted, refused := s.offer(t, map[string]int{"a": 40_000}, 3*time.Second)
		if n := accepted["a"]; n < 3*3600 || n > 3*4600 {
			t.Errorf("%d calls a second are accepted at ten times the rate, want about 4,000", n/3)
		}
		if refused["a"] == 0 {
			t.Error("nothing is refused at ten times the rate")
		}
		s.waits = s.waits[len(s.waits)/3:] // after the first second
		if p99 := s.slowest(); p99 > 60*time.Millisecond {
			t.Errorf("accepted calls wait %v (p99)", p99)
		}
		s.offer(t, map[string]int{"a": 3000}, time.Second)
		if _, refused := s.offer(t, map[string]int{"a": 3000}, time.Second); refused["a"] != 0 {
			t.Errorf("%d calls are refused after the overload", refused["a"])
		}
	})
}

// A key within its share is not refused because another one floods.
func TestOverloadIsDividedByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(250 * time.Microsecond)
		accepted, refused := s.offer(t, map[string]int{"flood": 40_000, "small": 500, "other": 300}, 3*time.Second)
		if refused["small"] != 0 || refused["other"] != 0 {
			t.Errorf("of the small keys %d and %d calls are refused, of the flood %d", refused["small"], refused["other"], refused["flood"])
		}
		if accepted["flood"] < 3*2500 {
			t.Errorf("of the flood %d calls a second are accepted, want the rest of the rate", accepted["flood"]/3)
		}
	})
}

// Clients on 64 connections are not refused because another key's arrays keep the store busy.
func TestOthersKeepTheirRoomBesideArrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(10 * time.Millisecond)
		s.offer(t, map[string]int{"flood": 5000}, 5*time.Second)
		if _, limit, _ := s.o.Figures(); limit > 2*front.MinAccepting {
			t.Errorf("in an overload the limit is %d", limit)
		}
		for range front.MinCalls {
			if _, err := s.o.Begin(t.Context(), "arrays", 1000); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"a", "b", "c"} {
			for i := range front.MinAccepting {
				if _, err := s.o.Begin(t.Context(), key, 1); err != nil {
					t.Fatalf("call %d of key %s is refused", i+1, key)
				}
			}
			if s.o.Check(key) == nil {
				t.Errorf("one more call of key %s is not refused", key)
			}
		}
	})
}

// A store that does not answer at all is an overload too, but MinAccepting calls may wait.
func TestOverloadOfAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(nil)
		var open []*front.Accepting
		for range front.MinAccepting {
			a, err := o.Begin(t.Context(), "a", 1)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, a)
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			o.Check("b")
		}
		if o.Check("a") == nil {
			t.Error("another call of the key that waits is not refused")
		}
		if err := o.Check("b"); err != nil {
			t.Errorf("a key without calls is refused: %v", err)
		}
		if n, limit, _ := o.Figures(); n != front.MinAccepting || limit != front.MinAccepting {
			t.Errorf("%d calls are being accepted, the limit is %d", n, limit)
		}
		for _, a := range open {
			o.End(a)
		}
		if err := o.Check("a"); err != nil {
			t.Errorf("a call is refused when none waits: %v", err)
		}
	})
}

// A disk that has become slow for good is no overload.
func TestOverloadLearnsWhatIsNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(250 * time.Microsecond)
		s.offer(t, map[string]int{"a": 1000}, time.Second)
		s.each = 2 * time.Millisecond // 500 a second
		s.offer(t, map[string]int{"a": 5000}, time.Minute)
		if _, limit, _ := s.o.Figures(); limit < front.MinAccepting {
			t.Errorf("the limit is %d", limit)
		}
		accepted, _ := s.offer(t, map[string]int{"a": 5000}, 10*time.Second)
		if n := accepted["a"] / 10; n < 450 || n > 600 {
			t.Errorf("%d calls a second are accepted of a disk that takes 500", n)
		}
	})
}

// A refusal is held back, but only so many at a time.
func TestRefusalsAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(front.New(front.Options{MaxConns: 64}))
		start := time.Now()
		o.Hold(t.Context())
		if held := time.Since(start); held != 500*time.Millisecond {
			t.Errorf("a refusal is held back for %v", held)
		}
		for range 16 {
			go o.Hold(t.Context())
		}
		synctest.Wait()
		start = time.Now()
		o.Hold(t.Context())
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		o.Hold(gone)
		if held := time.Since(start); held != 0 {
			t.Errorf("one more than a quarter of the connections is held back for %v", held)
		}
	})
}

// An array counts as its events, so that arrays do not make single events wait for long. Two
// of them are always accepted, also on a slow disk.
func TestAnArrayCountsAsItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(nil)
		begin := func(key string, events int) *front.Accepting {
			t.Helper()
			a, err := o.Begin(t.Context(), key, events)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		var open []*front.Accepting
		for range front.MinCalls {
			open = append(open, begin("a", 1000))
		}
		if _, err := o.Begin(t.Context(), "a", 1); err == nil {
			t.Errorf("another call of the key is accepted beside %d arrays", front.MinCalls)
		}
		open = append(open, begin("b", 1)) // has its share
		if n, _, _ := o.Figures(); n != front.MinCalls*1000+1 {
			t.Errorf("%d events are being accepted", n)
		}
		for range 50 { // the arrays hang
			time.Sleep(100 * time.Millisecond)
			o.Check("a")
		}
		for _, a := range open {
			o.End(a)
		}
		time.Sleep(100 * time.Millisecond)
		for range front.MinCalls {
			begin("a", 1000)
		}
		if _, limit, _ := o.Figures(); limit != front.MinAccepting {
			t.Errorf("after calls that waited for long, the limit is %d", limit)
		}
	})
}

// Arrays take their time also when nothing else comes: that is no overload.
func TestOneClientWithArraysIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(nil)
		for i := range 1000 {
			a, err := o.Begin(t.Context(), "a", 1000)
			if err != nil {
				t.Fatalf("array %d: %v", i, err)
			}
			time.Sleep(100 * time.Millisecond)
			o.End(a)
		}
		if _, limit, _ := o.Figures(); limit <= front.MinAccepting {
			t.Errorf("the limit is %d: arrays that take their time count as an overload", limit)
		}
	})
}

// A client with many connections is not refused by a server that has had no overload lately:
// nothing is known yet of how long its calls would wait.
func TestManyConnectionsAreNotRefusedBeforeTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(250 * time.Microsecond)
		atOnce := func(when string) {
			t.Helper()
			var open []*front.Accepting
			for i := range 256 {
				a, err := s.o.Begin(t.Context(), "a", 1)
				if err != nil {
					t.Fatalf("call %d of 256 at once is refused %s", i+1, when)
				}
				open = append(open, a)
			}
			for _, a := range open {
				s.o.End(a)
			}
		}
		atOnce("by a new server")
		s.each = 10 * time.Millisecond
		s.offer(t, map[string]int{"a": 5000}, 5*time.Second)
		if _, limit, _ := s.o.Figures(); limit > 2*front.MinAccepting {
			t.Errorf("in an overload the limit is %d", limit)
		}
		s.each = 250 * time.Microsecond
		s.offer(t, map[string]int{"a": 500}, 5*time.Second)
		atOnce("after an overload")
	})
}

// Clients that wait for each other do so on a server that is only busy: nothing is refused, although
// they wait for longer than calls of an overload may.
func TestClientsThatWaitForEachOtherAreNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(100 * time.Microsecond)
		s.clients(t, 2*time.Second, func(time.Duration) int { return 8 })
		for _, n := range []int{64, 128, 256} {
			if refused := s.clients(t, 5*time.Second, func(time.Duration) int { return n }); refused != 0 {
				t.Errorf("%d calls of %d clients are refused", refused, n)
			}
		}
	})
}

// However slowly an overload comes, calls that wait for each other do not become the normal.
func TestAnOverloadThatComesSlowlyIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowStore(50 * time.Microsecond) // 20,000 a second
		s.clients(t, 5*time.Second, func(time.Duration) int { return 16 })
		s.waits = nil
		more := func(since time.Duration) int { return 16 + int(20*since.Seconds()) }
		if s.clients(t, 100*time.Second, more) == 0 {
			t.Error("nothing is refused of 2,000 clients")
		}
		if p99 := s.slowest(); p99 > 25*time.Millisecond {
			t.Errorf("accepted calls wait %v (p99)", p99)
		}
	})
}
