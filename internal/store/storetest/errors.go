package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// errorTests are about lists of deliveries by how their last attempt ended.
var errorTests = map[string]func(*suite){
	"ListsByLastAttempt":          (*suite).attemptFilters,
	"OldErrorsAreFound":           (*suite).oldErrors,
	"ListsByErrorAfterAnyHistory": (*suite).lastErrors,
}

// failed records an attempt that failed with an error.
func (s *suite) failed(d callbackd.Delivery, state callbackd.State, fault callbackd.Fault, status int, due time.Time) {
	s.Helper()
	o := result(d, state, s.at, due, time.Time{})
	o.Attempt.Fault, o.Attempt.Status, o.Attempt.Error = fault, status, "it failed"
	s.must(second(s.Record(s.ctx(), o)))
}

// attemptFilters lists four deliveries, three of which failed.
func (s *suite) attemptFilters() {
	_, ds := s.pending("S1", "S2", "S3", "S4")
	s.failed(ds[0], callbackd.Failed, callbackd.FaultStatus, 500, time.Time{})
	s.failed(ds[1], callbackd.Failed, callbackd.FaultStatus, 503, time.Time{})
	s.failed(ds[2], callbackd.Failed, callbackd.FaultTLS, 0, time.Time{})
	for _, c := range []struct {
		q           store.DeliveryQuery
		all, failed int
	}{
		{store.DeliveryQuery{Status: 5}, 2, 2},
		{store.DeliveryQuery{Fault: callbackd.FaultTLS}, 1, 1},
		{store.DeliveryQuery{Status: 500, Fault: callbackd.FaultTLS}, 0, 0},
		{store.DeliveryQuery{}, 4, 3},
	} {
		c.q.Key, c.q.Limit = s.key.ID, 200
		s.equal(fmt.Sprintf("deliveries of %+v", c.q), len(s.allDeliveries(c.q)), c.all)
		c.q.State = callbackd.Failed
		s.equal(fmt.Sprintf("deliveries of %+v", c.q), len(s.allDeliveries(c.q)), c.failed)
	}
}

// errorRounds and errorBatch are how many deliveries fail after an old error: in
// every second round they are delivered by their next attempt.
const errorRounds, errorBatch = 25, 120

// oldError lets one delivery fail with a TLS error, and then many others with
// the status 503.
func (s *suite) oldError() *callbackd.Event {
	s.Helper()
	cb := s.newCallback(s.key, ev1, "a")
	first := s.publish(s.key, ev1, "OLD")[0]
	s.failed(s.fresh(cb.ID)[0], callbackd.Failed, callbackd.FaultTLS, 0, time.Time{})
	for round := range errorRounds {
		var sessions []string
		for i := range errorBatch {
			sessions = append(sessions, fmt.Sprintf("S%d-%d", round, i))
		}
		s.publish(s.key, ev1, sessions...)
		s.atOnce(s.fresh(cb.ID), func(_ int, d callbackd.Delivery) {
			s.failed(d, callbackd.Pending, callbackd.FaultStatus, 503, s.at)
			if round%2 == 0 {
				d.Attempts = 1
				s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
			}
		})
	}
	return first
}

// oldErrors shows that an old error is on the first page, whatever has failed or been
// delivered since, together with the last attempt.
func (s *suite) oldErrors() {
	first := s.oldError()
	s.errorPages()
	for _, state := range []callbackd.State{"", callbackd.Failed} {
		page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Fault: callbackd.FaultTLS, State: state, Limit: 50})
		s.must(err)
		what := fmt.Sprintf("state %q: ", state)
		if len(page.Deliveries) != 1 {
			s.Fatalf("%s%d deliveries with a TLS error, want 1", what, len(page.Deliveries))
		}
		s.equal(what+"the cursor", page.Next, callbackd.DeliveryID{})
		d := page.Deliveries[0]
		s.equal(what+"the event", d.ID.Event, first.ID)
		s.equal(what+"the fault", d.Last.Fault, callbackd.FaultTLS)
		s.equal(what+"the error", d.Last.Error, "it failed")
		s.equal(what+"the attempt's number", d.Last.Number, 1)
		s.equal(what+"the answer's body, which lists leave out", d.Last.Body, []byte(nil))
	}
}

// errorPages lists the deliveries that wait after a 503, in pages of the largest size.
func (s *suite) errorPages() {
	s.Helper()
	none, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Status: 503, State: callbackd.Failed, Limit: 50})
	s.must(err)
	s.equal("deliveries that failed with 503", none, store.DeliveryPage{})
	n := 0
	for q := (store.DeliveryQuery{Key: s.key.ID, Status: 5, Limit: store.MaxPage}); ; {
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		n += len(page.Deliveries)
		if q.After = page.Next; q.After == (callbackd.DeliveryID{}) {
			break
		}
		s.equal("the size of a page that is not the last", len(page.Deliveries), store.MaxPage)
	}
	s.equal("deliveries that wait after a 503", n, errorRounds/2*errorBatch)
}

// failure is how an attempt failed.
type failure struct {
	fault  callbackd.Fault
	status int
}

var failures = []failure{
	{callbackd.FaultStatus, 500}, {callbackd.FaultStatus, 503}, {callbackd.FaultStatus, 404},
	{callbackd.FaultTimeout, 0}, {callbackd.FaultShutdown, 0}, {callbackd.FaultProtocol, 200},
}

// lastErrors shows that a list by error has exactly the deliveries whose last attempt
// ended with that error, whatever happened to them, also after a restart and after events
// were removed.
func (s *suite) lastErrors() {
	random := rand.New(rand.NewPCG(11, 7))
	cbs := []*callbackd.Callback{s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")}
	want := map[callbackd.DeliveryID]failure{}
	for round := range 40 {
		s.publish(s.key, ev1, fmt.Sprintf("S%d", round))
		for _, cb := range cbs {
			s.attemptSome(random, cb, want)
		}
		for id := range want {
			if random.IntN(9) == 0 {
				s.must(second(s.Resend(s.ctx(), s.key.ID, id, s.at)))
			}
		}
	}
	s.listedByError("at first", want)
	s.reopen()
	s.listedByError("after a restart", want)
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "b", s.at)))
	s.listedByError("after a callback was deleted", want)
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 1000)))
	s.listedByError("after its pending deliveries were canceled", want)
	s.sweepAll(s.at.Add(time.Hour))
	for id := range want {
		if _, err := s.Delivery(s.ctx(), s.key.ID, id, 0); callbackd.KindOf(err) == callbackd.KindNotFound {
			delete(want, id)
		}
	}
	s.listedByError("after the sweep", want)
}

// attemptSome records attempts of most of the pending deliveries of a callback
// and keeps in last how each delivery failed last.
func (s *suite) attemptSome(random *rand.Rand, cb *callbackd.Callback, last map[callbackd.DeliveryID]failure) {
	s.Helper()
	for _, d := range append(s.fresh(cb.ID), s.dueOf(callbackd.Retries, cb.ID)...) {
		f := failures[random.IntN(len(failures))]
		switch random.IntN(4) {
		case 0:
			s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
			delete(last, d.ID)
		case 1:
			s.failed(d, callbackd.Failed, f.fault, f.status, time.Time{})
			last[d.ID] = f
		case 2:
			s.failed(d, callbackd.Pending, f.fault, f.status, s.at)
			last[d.ID] = f
		}
	}
}

// listedByError compares the lists by error with the last failures.
func (s *suite) listedByError(when string, last map[callbackd.DeliveryID]failure) {
	s.Helper()
	states := map[callbackd.DeliveryID]callbackd.State{}
	for id := range last {
		d, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
		s.must(err)
		states[id] = d.State
	}
	queries := []store.DeliveryQuery{{Status: 5}, {Status: 404}}
	for _, f := range failures {
		queries = append(queries, store.DeliveryQuery{Fault: f.fault}, store.DeliveryQuery{Fault: f.fault, Status: f.status})
	}
	for _, q := range queries {
		for _, q.State = range []callbackd.State{"", callbackd.Pending, callbackd.Failed, callbackd.Canceled} {
			q.Key, q.Limit = s.key.ID, store.MaxPage
			var want, got []callbackd.DeliveryID
			for id, f := range last {
				attempt := callbackd.Attempt{Result: callbackd.Result{Fault: f.fault, Status: f.status}}
				if q.FitsAttempt(&attempt) && (q.State == "" || states[id] == q.State) {
					want = append(want, id)
				}
			}
			for _, d := range s.allDeliveries(q) {
				got = append(got, d.ID)
			}
			slices.SortFunc(want, newestDelivery)
			s.equal(fmt.Sprintf("%s: deliveries of %+v", when, q), got, want)
		}
	}
}

// newestDelivery orders deliveries as lists do.
func newestDelivery(a, b callbackd.DeliveryID) int {
	return cmp.Or(cmp.Compare(b.Event, a.Event), cmp.Compare(b.Callback, a.Callback))
}
