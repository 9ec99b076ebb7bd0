package callbackd

// LaneState is what a lane does now. At most one delivery of a lane is in flight, and
// the next one starts when the outcome of the one before is recorded.
type LaneState uint8

const (
	LaneIdle      LaneState = iota // no delivery of it can start
	LaneReady                      // a delivery of it can start
	LaneInFlight                   // an attempt of it is in flight
	LaneRecording                  // the store is recording the outcome
	LaneBlocked                    // its deliveries wait: its head failed, or another callback of the order group is first
)

var laneStates = [...]string{"idle", "ready", "in flight", "recording", "blocked"}

func (s LaneState) String() string { return laneStates[s] }

// UnderWay reports whether an attempt of the lane has begun whose outcome is not
// recorded yet.
func (s LaneState) UnderWay() bool { return s == LaneInFlight || s == LaneRecording }

// LaneEvent is what happens to a lane.
type LaneEvent uint8

const (
	LaneFilled   LaneEvent = iota // a delivery of it can start
	LaneHeld                      // nothing can start before its head is due or opens it, or before it has its turn in the order group
	LaneEmptied                   // nothing waits in it
	LaneStarted                   // an attempt begins
	LaneAnswered                  // the exchange is over, or nothing was sent
	LaneRecorded                  // the outcome is stored, or never will be
)

var laneEvents = [...]string{"filled", "held", "emptied", "started", "answered", "recorded"}

func (e LaneEvent) String() string { return laneEvents[e] }

// laneTransitions has the state after each event. What waits in a lane counts again
// when the outcome of its attempt is recorded.
var laneTransitions = [...][len(laneEvents)]LaneState{
	//              filled         held           emptied        started       answered       recorded
	LaneIdle:      {LaneReady, LaneBlocked, LaneIdle, noLaneState, noLaneState, noLaneState},
	LaneReady:     {LaneReady, LaneBlocked, LaneIdle, LaneInFlight, noLaneState, noLaneState},
	LaneInFlight:  {LaneInFlight, LaneInFlight, LaneInFlight, noLaneState, LaneRecording, noLaneState},
	LaneRecording: {LaneRecording, LaneRecording, LaneRecording, noLaneState, noLaneState, LaneIdle},
	LaneBlocked:   {LaneReady, LaneBlocked, LaneIdle, noLaneState, noLaneState, noLaneState},
}

// noLaneState marks what cannot happen.
const noLaneState LaneState = 255

// After returns the state after an event; ok is false when the event cannot happen in
// state s.
func (s LaneState) After(e LaneEvent) (next LaneState, ok bool) {
	next = laneTransitions[s][e]
	return next, next != noLaneState
}
