package callbackd

import (
	"net/url"
	"time"
)

// State is where a delivery stands. Every delivery is in exactly one state
// and ends in exactly one of the last three.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed"   // its schedule ran out
	Canceled  State = "canceled" // its callback was deleted or its key revoked
)

// Terminal tells whether the delivery has ended.
func (s State) Terminal() bool { return s == Delivered || s == Failed || s == Canceled }

// Valid tells whether s is one of the states.
func (s State) Valid() bool { return s == Pending || s.Terminal() }

// Delivery is one event owed to one callback, as the engine carries it.
type Delivery struct {
	ID       DeliveryID
	Session  string
	Sequence int64
	Test     bool

	// Attempts counts the attempts made, Step those that used up the
	// schedule: a local fault or a manual retry tells them apart.
	Attempts int
	Step     int
	// FirstFailedAt is when the current run of attempts first failed; zero before.
	FirstFailedAt time.Time
	// Due is the earliest time of the next attempt; zero: fresh, at once.
	Due time.Time
	// HoldsUntil is until when this delivery holds its lane while it waits
	// for Due; zero: it does not hold.
	HoldsUntil time.Time
	// Manual marks a delivery that a person asked to send again. It is
	// serialised with its lane but not ordered within it.
	Manual bool
	// ReadLane marks a delivery, just accepted, of a session whose event before
	// may have been accepted by another node: what is owed before it may not
	// be in memory yet.
	ReadLane bool
	// Replay is the replay that made the delivery due; 0: none. It is sent
	// behind first attempts and retries.
	Replay ReplayID

	// Event is the whole event when it is at hand in memory; the engine loads
	// it from the store when it is nil.
	Event *Event
}

// Accepted returns when the event was accepted, as well as is known without it:
// see [Event.Accepted].
func (d *Delivery) Accepted() time.Time {
	if d.Event != nil {
		return d.Event.Accepted()
	}
	return d.ID.Event.Time()
}

// OverdueAfter is how long a delivery may wait before it counts against the
// share of deliveries that succeed.
const OverdueAfter = time.Minute

// WaitsSince returns since when a pending delivery has been waiting: from when
// its event was accepted, or from when a person or a replay made it due again.
// The first failure stands for that time once it is overwritten.
func (d *Delivery) WaitsSince() time.Time {
	switch {
	case !d.Manual && d.Replay == 0:
		return d.Accepted()
	case !d.FirstFailedAt.IsZero():
		return d.FirstFailedAt
	}
	return d.Due
}

// Fault says what kind of thing went wrong in an attempt.
type Fault string

// The faults of an attempt. NoFault is success.
const (
	NoFault       Fault = ""
	FaultStatus   Fault = "status"   // an answer other than 2xx
	FaultRefused  Fault = "refused"  // the target address is not allowed
	FaultDNS      Fault = "dns"      // the name leads to no address that is allowed
	FaultConnect  Fault = "connect"  // no connection, whatever the reason
	FaultTLS      Fault = "tls"      // no trusted connection
	FaultTimeout  Fault = "timeout"  // connected, and not over by the deadline of the exchange
	FaultProtocol Fault = "protocol" // no answer, or not an HTTP answer within limits
	FaultQuery    Fault = "query"    // the query of a GET or DELETE is too long to be sent
	FaultProxy    Fault = "proxy"    // the operator's egress proxy, not the receiver
	FaultLocal    Fault = "local"    // this machine: its resolver, its network, descriptors, a bug
	FaultShutdown Fault = "shutdown" // callbackd stopped while it waited
)

// Faults is every kind of fault. Stores keep the place in this list: a new one
// is added at its end.
var Faults = []Fault{FaultStatus, FaultRefused, FaultDNS, FaultConnect, FaultTLS, FaultTimeout, FaultProtocol, FaultProxy, FaultLocal, FaultShutdown, FaultQuery}

// Internal tells whether the fault is not the receiver's: the attempt then does
// not use up the delivery's schedule and does not count against the
// callback's health.
func (f Fault) Internal() bool {
	return f == FaultProxy || f == FaultLocal || f == FaultShutdown || f == FaultQuery
}

// MaxQuery is the longest query, in bytes, that a GET or DELETE is sent with:
// servers and proxies refuse longer ones, each at a length of its own.
const MaxQuery = 8 << 10

// Limits on what an attempt reads and keeps of an answer, in bytes.
const (
	MaxResponseKept    = 16 << 10 // of the body, as received, never decoded
	MaxResponseRead    = 64 << 10 // then the connection is closed
	MaxResponseHeaders = 32 << 10
)

// Timings of an attempt; a phase that did not happen is 0. Total covers
// everything from the start to the last body byte read.
type Timings struct {
	DNS, Connect, TLS, FirstByte, Total time.Duration
}

// Request is what an attempt sends.
type Request struct {
	Method string
	URL    *url.URL // as it goes over the wire
	// Headers are in the order and spelling of the wire, without those that
	// say where the request goes and ends: Host, Connection, Content-Length.
	Headers []Header
	Body    []byte // nil for none
}

// Result is what happened in one attempt. It says nothing about what to do
// next: that is [Decide].
type Result struct {
	StartedAt time.Time
	Timings   Timings
	Address   string // ip:port that was spoken to; empty when none
	Reused    bool   // the connection had been used before
	// CertEnds is when the receiver's certificate ends; zero without TLS. It
	// is not kept with the attempt.
	CertEnds time.Time

	Fault      Fault
	Error      string // a sentence for the key holder; on success empty, or what was odd
	Status     int    // 0 when there was no answer
	RetryAfter string // the header, as received; of several, all with ", " between
	Location   string // of a redirect that was not followed, capped
	Headers    string // the answer's header lines, sensitive values redacted
	Body       []byte // the first MaxResponseKept bytes
	BodySize   int64  // bytes read, at most MaxResponseRead
	Truncated  bool   // there was more than was kept
}

// Success tells whether the receiver took the delivery: 2xx alone.
func (r *Result) Success() bool { return r.Fault == NoFault && r.Status >= 200 && r.Status <= 299 }

// Attempt is one try of a delivery as it is kept.
type Attempt struct {
	Number  int   // 1, 2, …
	Version int64 // of the callback's setting that was sent
	Result
	Decision
}

// Outcome is what the engine hands to the store after an attempt: one
// transaction writes the attempt, where the delivery stands now, and what it
// changes of the callback.
type Outcome struct {
	Delivery Delivery // as it was before the attempt
	Attempt  Attempt
	Change   CallbackChange
}

// CallbackChange is what an attempt changes of what is kept with its callback,
// so that it survives restarts. The zero value changes nothing.
type CallbackChange struct {
	// Version is the setting whose receiver it is about: when the callback has
	// another one by now, nothing of it is taken.
	Version int64
	// Pause is set when the outcome pauses the callback.
	Pause PauseReason
	// HealthTurned is set when the callback began to fail or recovered;
	// FailingSince is then kept.
	HealthTurned bool
	FailingSince time.Time
	// ClosedUntil is [Health.ClosedUntil] when the outcome moved it; zero: it
	// did not.
	ClosedUntil time.Time
	// Proven is set by the first success of the callback at its origin.
	Proven bool
}

// None tells whether c changes nothing.
func (c *CallbackChange) None() bool {
	return c.Pause == NotPaused && !c.HealthTurned && c.ClosedUntil.IsZero() && !c.Proven
}

// Recorded is what the store made of an outcome.
type Recorded struct {
	State  State // of the delivery
	Paused bool  // the outcome paused the callback, which was not paused before
}
