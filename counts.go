package callbackd

// AcceptReason says why a delivery became pending. A delivery becomes pending more than
// once when it is sent again after it has ended.
type AcceptReason string

// The reasons for which a delivery becomes pending.
const (
	AcceptedEvent AcceptReason = "event"       // its event was accepted
	AcceptedLate  AcceptReason = "late_target" // a replay added its callback to the event
	AcceptedAgain AcceptReason = "again"       // it had ended, and is sent again
	AcceptedFound AcceptReason = "found"       // it was pending when counting began
)

// AcceptReasons lists the reasons for which a delivery becomes pending.
var AcceptReasons = []AcceptReason{AcceptedEvent, AcceptedLate, AcceptedAgain, AcceptedFound}

// TerminalStates returns the states in which a delivery ends.
func TerminalStates() (ends []State) {
	for _, s := range States {
		if s.Terminal() {
			ends = append(ends, s)
		}
	}
	return ends
}

// DeliveryCounts counts how often deliveries became pending and how often they ended, since
// counting began. What became pending and has not ended is pending: the sum of Accepted is
// the sum of Ended and the number of pending deliveries.
type DeliveryCounts struct {
	Accepted map[AcceptReason]int64
	Ended    map[State]int64
}

// NewDeliveryCounts returns counts that are all 0.
func NewDeliveryCounts() DeliveryCounts {
	c := DeliveryCounts{Accepted: map[AcceptReason]int64{}, Ended: map[State]int64{}}
	for _, r := range AcceptReasons {
		c.Accepted[r] = 0
	}
	for _, s := range TerminalStates() {
		c.Ended[s] = 0
	}
	return c
}

// Add adds n to the count that is stored under a name: a reason or a terminal state. It
// reports whether there is such a count.
func (c DeliveryCounts) Add(name string, n int64) bool {
	if _, ok := c.Accepted[AcceptReason(name)]; ok {
		c.Accepted[AcceptReason(name)] += n
		return true
	}
	_, ok := c.Ended[State(name)]
	if ok {
		c.Ended[State(name)] += n
	}
	return ok
}

// Pending returns how many deliveries are pending by the counts.
func (c DeliveryCounts) Pending() (n int64) {
	for _, accepted := range c.Accepted {
		n += accepted
	}
	for _, ended := range c.Ended {
		n -= ended
	}
	return n
}
