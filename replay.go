package callbackd

import (
	"slices"
	"strings"
	"time"
)

// ReplayID is the id of a replay. Like an event's id it holds the time of
// creation, and later replays have greater ids.
type ReplayID int64

// String returns the id as the API writes it: "rpl_" and 13 digits of base32.
func (id ReplayID) String() string { return "rpl_" + encode63(int64(id)) }

// ParseReplayID parses what [ReplayID.String] returns.
func ParseReplayID(s string) (ReplayID, bool) {
	digits, ok := strings.CutPrefix(s, "rpl_")
	if !ok {
		return 0, false
	}
	n, ok := decode63(digits)
	return ReplayID(n), ok && n > 0
}

// ReplayState is the state of a replay.
type ReplayState string

// The states of a replay. The last two are final.
const (
	ReplayRunning  ReplayState = "running"
	ReplayPaused   ReplayState = "paused"   // makes nothing due until it is resumed
	ReplayDone     ReplayState = "done"     // its whole set was made due and has ended
	ReplayCanceled ReplayState = "canceled" // makes nothing more due
)

// Ended reports whether the state is final.
func (s ReplayState) Ended() bool { return s == ReplayDone || s == ReplayCanceled }

// replayMoves lists the states that each state can change to.
var replayMoves = map[ReplayState][]ReplayState{
	ReplayRunning: {ReplayPaused, ReplayCanceled, ReplayDone},
	ReplayPaused:  {ReplayRunning, ReplayCanceled},
}

// Limits of replays.
const (
	MaxReplay     = 1_000_000 // deliveries of one replay
	MaxReplays    = 20        // of one API key that have not ended
	MaxReplayRate = 10_000    // deliveries a second
	MaxReplayStep = 512       // deliveries that one step makes due
	// ReplayWindow bounds the deliveries of one replay to one callback that are
	// due and were not tried yet, so that a pause or a cancel takes effect soon.
	ReplayWindow = 512
)

// ReplayFilter chooses what a replay sends again. Zero members choose all.
//
// Without a Target it chooses deliveries to callbacks that are not deleted:
// those in one of States, or those that have ended when States is empty.
//
// With a Target it chooses events of the target's type, and each is sent to the
// target. When States or Callback is set, it chooses only events with a delivery
// that matches them.
//
// With Missing it chooses only events that are [Missing] at the callback they go to.
// Without a Target that is every callback of the event's type that is not deleted, and
// the events from before a callback was created are missing too.
type ReplayFilter struct {
	States   []State
	Type     EventType
	Callback CallbackID
	Session  string
	Since    time.Time // event accepted at or after
	Until    time.Time // event accepted before
	Target   CallbackID
	Missing  bool
}

// Hastens reports whether the replay makes pending deliveries due that wait for a later
// time. It does when the filter names the state pending.
func (f *ReplayFilter) Hastens() bool { return f.Target == 0 && slices.Contains(f.States, Pending) }

// Matches reports whether the filter chooses a delivery by its state. ended says that
// the delivery's callback was deleted or its API key revoked.
func (f *ReplayFilter) Matches(s State, ended bool) bool {
	if f.Target == 0 && ended {
		return false
	}
	if len(f.States) > 0 {
		return slices.Contains(f.States, s)
	}
	return f.Target != 0 || s.Terminal()
}

// Missing reports whether a callback has not received an event, and will not by itself,
// when the event's delivery to it is in state s. s is empty when there is no delivery.
func Missing(s State) bool { return s != Delivered && s != Pending }

// TooEarly reports whether an event is left out at a time because it may not be sent yet: before
// its DeliverAt nobody misses it. A replay that names states or a target is a person's wish to
// send it all the same.
func (f *ReplayFilter) TooEarly(ev *Event, now time.Time) bool {
	return f.Missing && ev.DeliverAt.After(now)
}

// Skips reports whether a step of the replay leaves a delivery as it is, because of the
// state that the delivery has by then.
func (f *ReplayFilter) Skips(s State) bool {
	switch s {
	case Pending:
		return !f.Hastens()
	case Delivered:
		return f.Missing
	}
	return false
}

// Resolve returns an error when the filter can choose nothing. When there is a Target,
// it sets Type to the event of the target, or Session to the session that it is for. key is
// the API key of the replay. target is the callback that Target names, or nil when there is
// none.
func (f *ReplayFilter) Resolve(key KeyID, target *Callback) error {
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Until.After(f.Since) {
		return Errorf(KindInvalid, "until %s is not after since %s, so nothing can be chosen. Change one of them, or leave it out.", f.Until.UTC().Format(time.RFC3339), f.Since.UTC().Format(time.RFC3339))
	}
	if f.Target == 0 {
		if f.Missing && len(f.States) > 0 {
			return Errorf(KindInvalid, "A replay of what is missing chooses by itself what was not delivered: leave out the states, or name a target.")
		}
		return nil
	}
	if target == nil || target.Key != key || target.Deleted() {
		return Errorf(KindInvalid, "The target %d is not a callback of this API key; GET /v1/callbacks/:event/policy shows the number.", f.Target)
	}
	if f.Type != "" && !target.Takes(f.Type, target.Session) {
		return Errorf(KindInvalid, "The target %d is registered for %s and gets no %s.", f.Target, strings.Join(target.EventNames(), ", "), f.Type)
	}
	if !target.OfSession() {
		f.Type = target.Event
		return nil
	}
	if f.Session != "" && f.Session != target.Session {
		return Errorf(KindInvalid, "The target %d is for the session %s and gets no events of %s.", f.Target, target.Session, f.Session)
	}
	f.Session = target.Session
	return nil
}

// Replay is a stored order to send a fixed set of deliveries again, or to cancel it.
type Replay struct {
	ID        ReplayID
	Key       KeyID
	Filter    ReplayFilter
	Cancel    *Cancellation // set when it cancels its set; see [CancelFilter]
	Rate      float64       // deliveries made due a second; 0: no limit
	State     ReplayState
	CreatedAt time.Time
	EndedAt   time.Time // zero before the end
	NextDue   time.Time // the rate allows no step before it; zero when it allows one now

	Total int64 // the size of the set
	Due   int64 // deliveries of the set that were made due, canceled or skipped
	// Skipped counts deliveries that were not made due: they were waiting
	// already, or could not be sent any more because the callback was deleted
	// or the event removed. Of a replay that cancels, it counts those that were
	// not pending any more.
	Skipped int64
	Created int64 // deliveries that did not exist before
	// Delivered, Failed and Canceled count the outcomes of what was made due, or
	// what the replay itself canceled.
	Delivered, Failed, Canceled int64
}

// Pending returns how many deliveries were made due and have not ended.
func (r *Replay) Pending() int64 {
	return r.Due - r.Skipped - r.Delivered - r.Failed - r.Canceled
}

// SetState changes the state at the time at. changed is false when the replay is in that
// state already. SetState fails with Conflict when the replay has ended.
func (r *Replay) SetState(s ReplayState, at time.Time) (changed bool, err error) {
	if r.State == s {
		return false, nil
	}
	if r.State.Ended() {
		return false, Errorf(KindConflict, "Replay %s is %s and does not change any more; start another one.", r.ID, r.State)
	}
	if !slices.Contains(replayMoves[r.State], s) {
		return false, Errorf(KindConflict, "Replay %s is %s and cannot become %s.", r.ID, r.State, s)
	}
	r.State = s
	if s.Ended() {
		r.EndedAt = at.UTC().Truncate(time.Millisecond)
	}
	return true, nil
}

// CanStep reports whether a step at the time at can do something. When only the rate
// forbids it, next is the earliest time of the next step.
func (r *Replay) CanStep(at time.Time) (ok bool, next time.Time) {
	if r.State != ReplayRunning {
		return false, time.Time{}
	}
	if r.Due < r.Total && r.NextDue.After(at) {
		return false, r.NextDue
	}
	return true, time.Time{}
}

// ReplayPart is the share of a replay that goes to one callback.
type ReplayPart struct {
	Callback CallbackID
	Total    int64 // the size of the share
	Done     int64 // deliveries of it that were made due or skipped
	Untried  int64 // deliveries of it that are due and were not tried yet
	Ended    bool  // the callback was deleted or its API key revoked
}

// Divide returns for each part how many deliveries the next step takes from it.
// The parts share [MaxReplayStep], or the deliveries of one second if the rate
// allows fewer, and get at least one each while there is something to share. A
// part whose callback ended is taken whole, because nothing of it is sent.
func (r *Replay) Divide(parts []ReplayPart) []int64 {
	budget := int64(MaxReplayStep)
	if r.Rate > 0 {
		budget = min(max(int64(r.Rate), 1), budget)
	}
	takes := make([]int64, len(parts))
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Ended:
			takes[i] = p.Total - p.Done
		case budget > 0:
			share := max(1, budget/int64(len(parts)-i))
			takes[i] = p.fit(share)
			budget -= takes[i]
		}
	}
	return takes
}

// fit returns how many of share deliveries can be made due now. When the window
// has no room for all of them, fit waits until half of the window is free, so
// that steps are not tiny.
func (p *ReplayPart) fit(share int64) int64 {
	n := min(share, p.Total-p.Done)
	room := ReplayWindow - p.Untried
	if room < min(n, ReplayWindow/2) {
		return 0
	}
	return min(n, room)
}

// DueAt returns when the n-th delivery that a step makes due is due; the first
// is number 0. at is the time of the step.
func (r *Replay) DueAt(at time.Time, n int64) time.Time {
	if r.Rate == 0 {
		return at
	}
	return at.Add(time.Duration(n) * time.Duration(float64(time.Second)/r.Rate))
}

// ReplayProgress counts what one step of a replay did.
type ReplayProgress struct {
	Taken    int64 // deliveries of the set that the step made due, canceled or skipped
	Skipped  int64
	Created  int64
	Canceled int64
}

// Advance adds the progress of a step at the time at, and reports whether the replay
// changed. The replay is done when its whole set was taken and no delivery of it is
// pending.
func (r *Replay) Advance(p ReplayProgress, at time.Time) (changed bool) {
	r.Due += p.Taken
	r.Skipped += p.Skipped
	r.Created += p.Created
	r.Canceled += p.Canceled
	if r.Due == r.Total && r.Pending() == 0 {
		r.State, r.EndedAt, r.NextDue = ReplayDone, at, time.Time{}
		return true
	}
	if p.Taken == 0 {
		return false
	}
	r.NextDue = time.Time{}
	if r.Rate > 0 {
		r.NextDue = r.DueAt(at, p.Taken-p.Skipped)
	}
	return true
}
