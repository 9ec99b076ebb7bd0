package postgres

import (
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
)

// Nodes cancel deliveries while others record their attempts and people resend them. Each
// attempt is recorded, and each delivery is in one state.
func TestNodesCancelRecordAndResendTogether(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 3)
	const total = 1200
	var evs []*callbackd.Event
	for range total / 200 {
		more, err := d.accept(nodes[0], time.Now(), slices.Repeat([]string{"A", "B"}, 100)...)
		d.must(err)
		evs = append(evs, more...)
	}
	r, err := nodes[0].CreateReplay(t.Context(), callbackd.Replay{Key: d.key.ID, Filter: callbackd.CancelFilter(callbackd.ReplayFilter{}), Cancel: &callbackd.Cancellation{By: callbackd.ByOperator}, CreatedAt: time.Now()})
	d.must(err)
	d.equal("the size of the set", r.Total, int64(total))
	var work sync.WaitGroup
	try := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, node := range nodes {
		work.Go(func() {
			for range 4 {
				_, err := node.StepReplay(t.Context(), r.ID, time.Now())
				try(err)
			}
		})
	}
	for worker := range 64 {
		work.Go(func() {
			for i := worker; i < total; i += 64 {
				o := d.outcomeOf(evs[total-1-i])
				switch i % 3 {
				case 1:
					o.Attempt.Decision = callbackd.Decision{State: callbackd.Failed}
				case 2:
					o.Attempt.Decision = callbackd.Decision{State: callbackd.Pending, Step: 1, Due: time.Now().Add(time.Hour)}
				}
				_, err := nodes[i%3].Record(t.Context(), o)
				try(err)
			}
		})
	}
	for worker := range 4 {
		work.Go(func() {
			for i := worker; i < total; i += 16 {
				_, err := nodes[worker%3].Resend(t.Context(), d.key.ID, callbackd.DeliveryID{Event: evs[i].ID, Callback: d.cb.ID}, time.Now())
				try(err)
			}
		})
	}
	work.Wait()
	r, err = nodes[1].Replay(t.Context(), d.key.ID, r.ID)
	d.must(err)
	d.equal("the cancellation's state", r.State, callbackd.ReplayDone)
	d.equal("deliveries that were canceled or had ended", r.Canceled+r.Skipped, int64(total))
	d.equal("events", d.checked(nodes[2]), int64(total))
	report, err := nodes[2].Check(t.Context())
	d.must(err)
	d.equal("attempts that were recorded", report.Callbacks[0].Attempts, int64(total))
}
