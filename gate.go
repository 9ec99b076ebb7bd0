package callbackd

import "time"

// Gate has all that decides at a moment whether an attempt of a callback may start,
// besides the order of its lane. The engine starts attempts by it, and explanations
// are made from it.
type Gate struct {
	Running bool // the engine starts attempts at all
	// Paused is set also when the callback was deleted or its setting is being read.
	Paused bool
	// OpenUntil is when the breaker lets a probe through. It is zero when the
	// breaker is closed.
	OpenUntil time.Time
	// ClosedUntil is the time until which the receiver asked for no requests, by
	// Retry-After; zero when it did not.
	ClosedUntil time.Time
	// Probation is set while the callback has not succeeded at its origin yet.
	// It then shares OriginLimit attempts with the other callbacks on probation
	// there, of which OriginInFlight are in flight. BeginsAt is when it may make
	// its first attempt; zero means now. OriginOpenUntil is when their shared
	// breaker lets a probe through; zero means that it is closed.
	Probation                   bool
	OriginInFlight, OriginLimit int
	BeginsAt                    time.Time
	OriginOpenUntil             time.Time
	InFlight                    int // attempts of the callback in flight
	ReplaysInFlight             int // of those, the ones of replays
	Limit                       int // how many attempts may be in flight now
	// RateUntil is when the rate limit lets the next attempt through; zero means
	// now.
	RateUntil time.Time
	// Full is set when no slot, or too few bytes, are left in the process for one
	// more attempt of the callback.
	Full bool
}

// WaitReason says why an attempt may not start.
type WaitReason int

// The reasons, in the order in which they count.
const (
	NoWait             WaitReason = iota
	WaitForStart                  // the engine is starting or stopping, or its lease has ended
	WaitForResume                 // the callback is paused
	WaitForProbe                  // the breaker is open
	WaitForReceiver               // the receiver asked to wait
	WaitForOriginProbe            // the breaker that callbacks on probation share is open
	WaitToBegin                   // too many callbacks begin at the origin
	WaitForOrigin                 // the callbacks on probation there have as many attempts in flight as they may
	WaitForAttempt                // the callback has as many attempts in flight as it may
	WaitForReplay                 // replays use their half of those
	WaitForRate                   // the callback's rate
	WaitForSlot                   // the process has no slot or too few bytes left
)

// OfOrigin reports whether an attempt waits because its callback is on probation.
func (r WaitReason) OfOrigin() bool { return r >= WaitForOriginProbe && r <= WaitForOrigin }

// Wait says why an attempt may not start, and until when. Until is zero when it
// waits for something else than a time: the end of an attempt or a change.
type Wait struct {
	Reason WaitReason
	Until  time.Time
}

// holds reports whether a reason holds at now, and until when.
func (g *Gate) holds(reason WaitReason, replay bool, now time.Time) (holds bool, until time.Time) {
	switch reason {
	case WaitForStart:
		holds = !g.Running
	case WaitForResume:
		holds = g.Paused
	case WaitForOrigin:
		holds = g.Probation && g.OriginInFlight >= g.OriginLimit
	case WaitForAttempt:
		holds = g.InFlight > 0 && g.InFlight >= g.Limit
	case WaitForReplay:
		holds = replay && g.ReplaysInFlight >= max(1, g.Limit/2)
	case WaitForSlot:
		holds = g.Full
	default:
		until = g.until(reason)
		holds = until.After(now)
	}
	return holds, until
}

// until returns the time that a reason waits for.
func (g *Gate) until(reason WaitReason) time.Time {
	switch reason {
	case WaitForProbe:
		return g.OpenUntil
	case WaitForReceiver:
		return g.ClosedUntil
	case WaitForOriginProbe:
		return g.OriginOpenUntil
	case WaitToBegin:
		return g.BeginsAt
	case WaitForRate:
		return g.RateUntil
	}
	return time.Time{}
}

// First returns the reason that counts why an attempt may not start at now: the
// first one that holds, or NoWait. replay says that the attempt is of a replay.
func (g *Gate) First(replay bool, now time.Time) Wait {
	return g.first(WaitForStart, WaitForSlot, replay, now)
}

// Receiver returns why nothing at all may be sent to the callback's receiver at now,
// or NoWait. As long as something holds, nothing of the callback need be read.
func (g *Gate) Receiver(now time.Time) Wait {
	return g.first(WaitForResume, WaitForReceiver, false, now)
}

func (g *Gate) first(from, to WaitReason, replay bool, now time.Time) Wait {
	for reason := from; reason <= to; reason++ {
		if holds, until := g.holds(reason, replay, now); holds {
			return Wait{reason, until}
		}
	}
	return Wait{}
}

// Waits returns all reasons that hold at now.
func (g *Gate) Waits(replay bool, now time.Time) (all []Wait) {
	next := WaitForStart
	for next <= WaitForSlot {
		w := g.first(next, WaitForSlot, replay, now)
		if w.Reason == NoWait {
			break
		}
		all = append(all, w)
		next = w.Reason + 1
	}
	return all
}
