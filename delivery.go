package callbackd

import (
	"net/url"
	"time"
)

// State is the state of a delivery. Every delivery is in exactly one state and
// ends in exactly one of the last four.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed"   // no attempt of its schedule succeeded
	Canceled  State = "canceled" // a person canceled it, or its callback was deleted or its key revoked
	Expired   State = "expired"  // it was not delivered before its expiry
)

// States lists the states of a delivery.
var States = []State{Pending, Delivered, Failed, Canceled, Expired}

// Terminal reports whether the delivery has ended.
func (s State) Terminal() bool {
	return s == Delivered || s == Failed || s == Canceled || s == Expired
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return s == Pending || s.Terminal() }

// Delivery is one event on its way to one callback, as the engine holds it.
type Delivery struct {
	ID DeliveryID
	// Key owns the event. It is set when the store hands a delivery to the engine, and
	// 0 in what the engine reads of a callback's queue.
	Key      KeyID
	Session  string
	Sequence int64
	Test     bool // of its event: it is sent once, and says nothing about the health of the receiver
	// AtOnce marks the delivery of a test-send that was just accepted. It waits for nothing.
	// It is not stored: after a restart the delivery takes its turn in its lane.
	AtOnce bool

	// Attempts counts all attempts. Step counts those that used up an entry of
	// the retry schedule: an internal fault uses up none, and a resend starts
	// the schedule again.
	Attempts int
	Step     int
	// FirstFailedAt is when the current run of attempts first failed; zero before.
	FirstFailedAt time.Time
	// Due is the earliest time of the next attempt. It is zero before the first
	// attempt, which may start at once.
	Due time.Time
	// DeliverAt is [Event.DeliverAt]: the delivery is deferred until then.
	DeliverAt time.Time
	// ExpiresAt is the time from which no attempt may start. It is zero for a delivery
	// that does not expire, and for one that a person resent or replayed.
	ExpiresAt time.Time
	// HoldsUntil is the time until which this delivery blocks its lane while it
	// waits for Due. It is zero when the delivery does not block its lane.
	HoldsUntil time.Time
	// Manual marks a delivery that a person asked to resend. Like every delivery
	// it runs alone in its lane, but it does not wait for earlier ones.
	Manual bool
	// ReadLane marks a delivery that was just accepted and whose predecessor in
	// the session may have been accepted by another node. The engine must read
	// the lane from the store, because earlier deliveries may not be in memory.
	ReadLane bool
	// Replay is the replay that made the delivery due, or 0. Replayed deliveries
	// are sent after first attempts and retries.
	Replay ReplayID

	// Event is the event itself when it is in memory. When it is nil, the engine
	// loads it from the store.
	Event *Event
}

// MaySendFrom returns since when the delivery may be sent: since DeliverAt, or else since
// its event was accepted. That is by [Event.Accepted] when Event is set, and otherwise by
// the time in the id.
func (d *Delivery) MaySendFrom() time.Time {
	switch {
	case !d.DeliverAt.IsZero():
		return d.DeliverAt
	case d.Event != nil:
		return d.Event.MaySendFrom()
	}
	return d.ID.Event.Time()
}

// Deferred reports whether the delivery waits for DeliverAt and is not in its lane yet. A
// person who resends it, or a replay, ends that.
func (d *Delivery) Deferred() bool {
	return !d.DeliverAt.IsZero() && !d.Due.IsZero() && d.Attempts == 0 && !d.Manual && d.Replay == 0
}

// Expired reports whether no attempt of the delivery may start at a time any more.
func (d *Delivery) Expired(at time.Time) bool {
	return !d.ExpiresAt.IsZero() && !at.Before(d.ExpiresAt)
}

// OverdueAfter is how long a delivery may wait before it counts as not delivered
// in time.
const OverdueAfter = time.Minute

// WaitsSince returns since when a pending delivery has been waiting: since it may be
// sent, or since a person or a replay made it due again. Due holds
// the latter until the first failure moves it; then FirstFailedAt is used.
func (d *Delivery) WaitsSince() time.Time {
	switch {
	case !d.Manual && d.Replay == 0:
		return d.MaySendFrom()
	case !d.FirstFailedAt.IsZero():
		return d.FirstFailedAt
	}
	return d.Due
}

// Fault is the kind of failure of an attempt.
type Fault string

// The kinds of failure. NoFault means success.
const (
	NoFault       Fault = ""
	FaultStatus   Fault = "status"   // an answer other than 2xx
	FaultRefused  Fault = "refused"  // the target address is not allowed
	FaultDNS      Fault = "dns"      // the name resolves to no allowed address
	FaultConnect  Fault = "connect"  // no connection could be made
	FaultTLS      Fault = "tls"      // no trusted TLS connection
	FaultTimeout  Fault = "timeout"  // connected, but the exchange was not complete by the deadline
	FaultProtocol Fault = "protocol" // no answer, or an answer that is not HTTP or over a limit
	FaultQuery    Fault = "query"    // the query of a GET or DELETE would be longer than MaxQuery
	FaultProxy    Fault = "proxy"    // the operator's egress proxy failed, not the receiver
	FaultLocal    Fault = "local"    // this machine failed: its resolver, network or file descriptors, or a bug
	FaultShutdown Fault = "shutdown" // callbackd stopped during the attempt
	FaultAuth     Fault = "auth"     // the provider of access tokens gave none
)

// Faults lists every fault. The stores save a fault as its index in this list:
// add new ones at the end only.
var Faults = []Fault{FaultStatus, FaultRefused, FaultDNS, FaultConnect, FaultTLS, FaultTimeout, FaultProtocol, FaultProxy, FaultLocal, FaultShutdown, FaultQuery, FaultAuth}

// Internal reports whether the fault is on our side and not the receiver's. Such
// an attempt does not use up the retry schedule and does not count against the
// callback's health.
func (f Fault) Internal() bool {
	return f == FaultProxy || f == FaultLocal || f == FaultShutdown || f == FaultQuery
}

// MaxQuery is the longest query, in bytes, that a GET or DELETE is sent with.
// Servers and proxies refuse longer ones, each from a different length on.
const MaxQuery = 8 << 10

// Limits on what an attempt reads and stores of an answer, in bytes.
const (
	MaxResponseKept    = 16 << 10 // stored of the body, as received, never decoded
	MaxResponseRead    = 64 << 10 // read of the body; then the connection is closed
	MaxResponseHeaders = 32 << 10
)

// Timings holds the duration of each phase of an attempt. A phase that did not
// happen is 0. Total runs from the start to the last byte that was read.
type Timings struct {
	DNS, Connect, TLS, FirstByte, Total time.Duration
}

// Request is what an attempt sends.
type Request struct {
	Method string
	URL    *url.URL // as it goes over the wire
	// Headers are in the order and spelling of the wire. Host, Connection and
	// Content-Length are left out.
	Headers []Header
	Body    []byte // nil for none
}

// Result is what happened in one attempt. What to do next is up to [Decide].
type Result struct {
	StartedAt time.Time
	Timings   Timings
	Address   string // ip:port of the receiver; empty without a connection
	Reused    bool   // the connection had served an earlier request
	// CertEnds is when the receiver's certificate expires; zero without TLS. It
	// is not stored with the attempt.
	CertEnds time.Time

	Fault      Fault
	Error      string  // a sentence for the key holder; on success empty or a warning
	Status     int     // 0 when there was no answer
	RetryAfter string  // the header as received; several are joined with ", "
	Control    Control // what the receiver asks for; it is not stored with the attempt
	Location   string  // of a redirect, which is not followed; shortened
	Headers    string  // the answer's header lines, with sensitive values redacted
	Body       []byte  // the first MaxResponseKept bytes
	BodySize   int64   // bytes read, at most MaxResponseRead
	Truncated  bool    // the body was longer than what is stored
	Capture    Capture
}

// Capture says whether the request and the answer of an attempt can still be shown.
type Capture string

// What is stored of an attempt.
const (
	CaptureStored Capture = ""       // everything
	CaptureErased Capture = "erased" // neither request nor answer; see [Attempt.Erase]
	// CaptureNoResponse is everything but headers and body of the answer; see
	// [Result.DropResponse].
	CaptureNoResponse Capture = "response_not_stored"
)

// DropResponse removes what the receiver's answer had besides its status and size, because
// the callback's policy does not have it stored. The texts about the attempt have nothing
// of the answer either: [Decide] and the sender leave it out.
func (r *Result) DropResponse() {
	r.RetryAfter, r.Location, r.Headers, r.Body, r.Truncated = "", "", "", nil, false
	r.Capture = CaptureNoResponse
}

// EndedAt returns when the attempt ended.
func (r *Result) EndedAt() time.Time { return r.StartedAt.Add(r.Timings.Total) }

// Success reports whether the receiver accepted the delivery. Only a 2xx status
// is a success.
func (r *Result) Success() bool { return r.Fault == NoFault && r.Status >= 200 && r.Status <= 299 }

// Attempt is one HTTP request for a delivery, with its result, as it is stored.
type Attempt struct {
	Number  int   // 1, 2, …
	Version int64 // of the callback's setting that was sent
	Result
	Decision
}

// Outcome is what the engine gives to the store after an attempt. One transaction
// writes the attempt, the new state of the delivery and the change of the
// callback.
type Outcome struct {
	Delivery Delivery // as it was before the attempt
	Attempt  Attempt
	Change   CallbackChange
	// CanWait is set when nothing waits for the record. A store may then hold it back
	// for some milliseconds, to write it together with others.
	CanWait bool
	// Canceled is set by the store that recorded the outcome: the delivery
	// was canceled or had expired during the attempt, and the outcome took the place of that.
	Canceled bool
}

// FirstFailedAt returns when the delivery's present run of attempts first
// failed, given that the attempt did not succeed.
func (o *Outcome) FirstFailedAt() time.Time {
	if first := o.Delivery.FirstFailedAt; !first.IsZero() {
		return first
	}
	return o.Attempt.EndedAt()
}

// CallbackChange is what an attempt changes in the stored state of its callback,
// which survives restarts. The zero value changes nothing.
type CallbackChange struct {
	// Version is the version of the setting that was sent. When the callback has
	// another version by now, the change is ignored.
	Version int64
	// Pause is set when the outcome pauses the callback.
	Pause PauseReason
	// HealthTurned is set when the callback began to fail or recovered.
	// FailingSince is then stored.
	HealthTurned bool
	FailingSince time.Time
	// ClosedUntil is [Health.ClosedUntil] when the outcome changed it, and zero
	// otherwise.
	ClosedUntil time.Time
	// Proven is set by the first success of the callback at its origin.
	Proven bool
}

// None reports whether c changes nothing.
func (c *CallbackChange) None() bool {
	return c.Pause == NotPaused && !c.HealthTurned && c.ClosedUntil.IsZero() && !c.Proven
}

// OnlyProven reports whether c says that the callback is proven, and nothing else.
func (c *CallbackChange) OnlyProven() bool {
	rest := *c
	rest.Proven = false
	return c.Proven && rest.None()
}

// Recorded is the result of writing an outcome.
type Recorded struct {
	State  State // of the delivery
	Paused bool  // the callback was not paused before and is now
}
