package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// at makes n callbacks of the event at one origin.
func (r *rig) at(host string, n int, p callbackd.Policy) (all []callbackd.CallbackID) {
	r.Helper()
	for i := range n {
		cb, _, err := r.s.CreateCallback(r.Context(), callbackd.Callback{Key: r.key.ID, Event: ev1, Name: fmt.Sprint(host, i),
			URL: fmt.Sprintf("https://%s/%d", host, i), Method: "POST", Payload: []byte("{}"), Policy: p}, time.Now())
		if err != nil {
			r.Fatal(err)
		}
		all = append(all, cb.ID)
	}
	return all
}

// since counts the requests since from.
func (r *rig) since(from time.Time) (n int) {
	for _, c := range r.sent() {
		if !c.at.Before(from) {
			n++
		}
	}
	return n
}

// One event for a hundred callbacks of a key at one origin begins with a few requests,
// whatever the receiver answers, and reaches all of them in the end. When each has
// succeeded once, the next event is a hundred requests at once, also after a restart.
func TestOneEventIsNotAHundredRequestsAtAnOriginOnProbation(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.at("example.com", 100, callbackd.Policy{})
		r.publish(ev1, "A")
		pass(15*time.Second - time.Millisecond)
		if n := len(r.sent()); n != callbackd.ProbationBurst+2 {
			t.Errorf("%d requests within 15 s, want %d", n, callbackd.ProbationBurst+2)
		}
		pass(100 * callbackd.ProbationEvery)
		if n := len(r.sent()); n != 100 {
			t.Errorf("%d requests, want 100", n)
		}
		for range 2 {
			from := time.Now()
			r.publish(ev1, "B")
			pass(time.Second)
			if n := r.since(from); n != 100 {
				t.Errorf("%d requests when all are proven, want 100", n)
			}
			r.restart()
		}
	})
}

// Published tests are on probation as real events are.
func TestPublishedTestsAreOnProbation(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		all := r.at("example.com", 100, callbackd.Policy{})
		r.set(slowly(time.Second, status(404)))
		r.tests(ev1, "A")
		pass(15*time.Second - time.Millisecond)
		if n := len(r.sent()); n > callbackd.ProbationBurst+2 {
			t.Errorf("%d requests within 15 s, want %d at most", n, callbackd.ProbationBurst+2)
		}
		pass(2 * time.Minute)
		if d := r.e.Diagnosis(all[len(all)-1], "A", time.Now()); d.OriginFailures < callbackd.BreakerThreshold {
			t.Errorf("%d failures at the origin, want %d or more", d.OriginFailures, callbackd.BreakerThreshold)
		}
	})
}

// While nothing has succeeded at an origin, its callbacks share one allowance
// and one breaker.
func TestCallbacksOnProbationShareTheirAllowanceAndBreaker(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.at("example.com", 50, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		r.set(slowly(time.Second, status(404)))
		for i := range 20 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(9 * time.Second)
		r.wantAtOnce(1, callbackd.RampStart)
		d := r.e.Diagnosis(r.sent()[0].cb, "S0", time.Now())
		if !d.OriginOpenUntil.After(time.Now()) {
			t.Errorf("the shared breaker is open until %v, want later than now, %v", d.OriginOpenUntil, time.Now())
		}
		if d.OriginFailures < callbackd.BreakerThreshold {
			t.Errorf("%d failures at the origin, want %d or more", d.OriginFailures, callbackd.BreakerThreshold)
		}
		if n := len(r.sent()); n > 2*callbackd.BreakerThreshold {
			t.Errorf("%d requests while the shared breaker is open, want 0", n)
		}
		pass(10 * time.Minute)
		from := time.Now()
		pass(callbackd.BreakerMaxWait * 11 / 10)
		if n := r.since(from); n == 0 || n > 2 {
			t.Errorf("%d probes of one origin in five minutes, want 1 or 2", n)
		}
		r.set(ok)
		pass(200 * time.Hour)
		r.wantWaiting(0)
	})
}

// A resume lets one probe through at an origin that fails: each resume of a callback there
// is one request at most.
func TestAResumeIsOneProbeAtAnOriginOnProbation(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		all := r.at("example.com", 30, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		r.set(slowly(10*time.Millisecond, status(404)))
		for i := range 20 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Minute)
		before := len(r.sent())
		for _, callback := range all {
			r.pause(callback, callbackd.NotPaused)
			pass(100 * time.Millisecond)
		}
		if n := len(r.sent()) - before; n == 0 || n > len(all) {
			t.Errorf("%d resumes are %d requests, want 1 to %[1]d", len(all), n)
		}
		r.set(ok)
		r.pause(all[0], callbackd.NotPaused)
		pass(200 * time.Hour)
		r.wantWaiting(0)
	})
}

// Callbacks on probation do not delay a callback at their origin that has succeeded, nor
// callbacks at other origins and of other keys.
func TestProbationHoldsNoOtherCallback(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		proven := r.at("example.com", 1, callbackd.Policy{})[0]
		r.publish(ev1, "A")
		pass(time.Second)
		r.at("example.com", 60, callbackd.Policy{}) // the first of them exists already
		elsewhere := r.at("other.example.com", 1, callbackd.Policy{})[0]
		first := r.key
		other, err := r.s.CreateKey(r.Context(), callbackd.Key{Account: "acme", APIKey: "k2", Secret: "s", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		r.key = other
		theirs := r.at("example.com", 1, callbackd.Policy{})[0]
		r.set(func(c call) callbackd.Result {
			if c.cb != proven && c.cb != elsewhere && c.cb != theirs {
				time.Sleep(time.Minute)
				return status(500)
			}
			return status(200)
		})
		from := time.Now()
		r.publish(ev1, "B")
		r.key = first
		r.publish(ev1, "B")
		pass(time.Second)
		got := map[callbackd.CallbackID]int{}
		for _, c := range r.sent() {
			if !c.at.Before(from) {
				got[c.cb]++
			}
		}
		for name, id := range map[string]callbackd.CallbackID{"that has succeeded": proven, "at another origin": elsewhere, "of another key": theirs} {
			if got[id] != 1 {
				t.Errorf("the callback %s got %d requests, want 1", name, got[id])
			}
		}
		const share = callbackd.RampStart + 1 // the success there allowed one more
		if len(got) != 3+share {
			t.Errorf("%d callbacks were called, want %d", len(got), 3+share)
		}
		d := r.e.Diagnosis(proven+10, "B", time.Now())
		if !d.Probation {
			t.Error("a callback at the origin is not on probation, want that it is")
		}
		if d.OriginInFlight != share {
			t.Errorf("%d attempts are in flight at the origin, want %d", d.OriginInFlight, share)
		}
	})
}

// Every delivery to callbacks on probation is sent, also when callbacks at the origin are
// paused, limited by a rate, deleted, or get another URL.
func TestProbationForgetsNoDelivery(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		callbacks := r.at("example.com", 30, callbackd.Policy{Rate: 1, Concurrency: 1})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Duration(c.cb%5) * time.Second)
			return status([]int{200, 500, 200, 503}[(int(c.cb)+c.attempt)%4])
		})
		for i := range 6 {
			r.publish(ev1, fmt.Sprint("S", i), fmt.Sprint("S", i))
			pass(3 * time.Second)
			r.pause(callbacks[i], callbackd.PausedByUser)
			r.put(callbacks[10+i], "https://other.example.com/")
			r.put(callbacks[20+i], "https://example.com/moved")
			if i%2 == 0 {
				r.end(callbacks[29-i/2], false)
			}
		}
		r.restart()
		for i := range 6 {
			r.pause(callbacks[i], callbackd.NotPaused)
		}
		r.set(ok)
		pass(200 * time.Hour)
		for range 10 {
			r.finalizeCanceled()
		}
		r.wantWaiting(0)
		synctest.Wait()
	})
}

// Retry-After of one receiver delays no other callback at its origin.
func TestRetryAfterOfOneHoldsNoOtherOnProbation(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callbacks := r.at("example.com", 2, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			if c.cb == callbacks[0] {
				busy := status(503)
				busy.RetryAfter = "600"
				return busy
			}
			return status(500)
		})
		r.publish(ev1, "S")
		pass(time.Minute)
		got := map[callbackd.CallbackID]int{}
		for _, c := range r.sent() {
			got[c.cb]++
		}
		if n := got[callbacks[0]]; n != 1 {
			t.Errorf("%d attempts at the receiver that asked to wait, want 1", n)
		}
		if n := got[callbacks[1]]; n < 2 {
			t.Errorf("%d attempts at the other one, want 2 or more", n)
		}
	})
}

// A test that the receiver accepts ends the probation of its callback: its deliveries no
// longer wait for the other callbacks at the origin.
func TestATestThatSucceedsEndsProbation(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		all := r.at("example.com", 12, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		r.set(func(call) callbackd.Result { return status(404) })
		r.publish(ev1, "S")
		pass(time.Second)
		requests := map[callbackd.CallbackID]int{}
		count := func() {
			clear(requests)
			for _, c := range r.sent() {
				requests[c.cb]++
			}
		}
		count()
		waits := slices.IndexFunc(all, func(callback callbackd.CallbackID) bool { return requests[callback] == 0 })
		if waits < 0 {
			t.Error("no callback waits for the others, want one")
			return
		}
		good := all[waits]
		r.set(func(c call) callbackd.Result {
			if c.cb == good {
				return status(200)
			}
			return status(404)
		})
		r.test(good)
		pass(time.Second)
		if count(); requests[good] != 2 { // the test and the delivery
			t.Errorf("%d requests to it, want 2: the test and the delivery that waited", requests[good])
		}
		r.set(ok)
		pass(200 * time.Hour)
	})
}
