package sqlite

import "testing"

// group returns the group that the writer makes of waiting jobs.
func group(events, outcomes int) (g []*job) {
	q := newQueues()
	for range events {
		q.jobs <- &job{}
	}
	for range outcomes {
		q.outcomes <- &job{outcome: true}
	}
	for len(g) < maxGroup {
		j := q.next(g)
		if j == nil {
			break
		}
		g = append(g, j)
	}
	return g
}

func TestAGroupHasRoomForEventsAndForOutcomes(t *testing.T) {
	for _, c := range []struct{ events, outcomes, wantEvents, wantOutcomes int }{
		{1, 500, 1, 64},      // timeouts of many attempts leave an event its place
		{0, 500, 0, 64},      // and an event that comes next waits for few of them
		{100, 500, 100, 200}, // where there are many events, there are many outcomes
		{30, 30, 30, 30},
		{512, 512, 342, 170}, // events do not keep outcomes waiting
	} {
		events, outcomes := 0, 0
		for _, j := range group(c.events, c.outcomes) {
			if j.outcome {
				outcomes++
			} else {
				events++
			}
		}
		if events != c.wantEvents || outcomes != c.wantOutcomes {
			t.Errorf("of %d events and %d outcomes, a group has %d and %d, want %d and %d", c.events, c.outcomes, events, outcomes, c.wantEvents, c.wantOutcomes)
		}
	}
}
