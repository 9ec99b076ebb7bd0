package callbackd

import (
	"slices"
	"time"
)

// EventType names what happened to a session, in PAVE's spelling.
type EventType string

// PAVE's events, in the order its documentation lists them.
const (
	SMSProcess   EventType = "SESSION:SMS_PROCESS"
	StageChange  EventType = "SESSION:STAGE_CHANGE"
	StatusChange EventType = "SESSION:STATUS_CHANGE"
	Complete     EventType = "SESSION:COMPLETE"
	NoteInsert   EventType = "SESSION:NOTE_INSERT"
)

// SMSRequested is an event of callbackd's own: someone asked for the SMS with a
// session's link, and the platform should send it. SMSProcess reports later
// whether it was sent.
const SMSRequested EventType = "SESSION:SMS_REQUESTED"

// EventTypes lists every supported type in the order that lists use: the events of
// sessions, then notices.
var EventTypes = slices.Concat(SessionEvents, NoticeTypes)

// Valid reports whether t is one of callbackd's types, or can be one of a platform's own.
func (t EventType) Valid() bool { return slices.Contains(EventTypes, t) || t.IsOwn() }

// Limits on what a client may send, in bytes unless said otherwise.
const (
	MaxBody        = 1 << 20   // a request body
	MaxEventData   = 256 << 10 // the data of one event
	MaxBatch       = 1000      // events in one POST /v1/events
	MaxSessionKey  = 64        // a session key published through POST /v1/events
	MaxIdempotency = 255       // an idempotency key
	MaxURL         = 2048      // a callback's URL
	MaxHeaders     = 32        // a callback's headers, in number
	MaxHeaderBytes = 8 << 10   // a callback's headers, names and values together
	MaxPayload     = 16 << 10  // a callback's extra payload
	MaxName        = 64        // a callback's or a key's name
	MaxCallbacks   = 100       // callbacks of one key for one event
)

// Event is something that happened to a session. It never changes.
type Event struct {
	ID       EventID
	Key      KeyID
	Type     EventType
	Session  string // session key
	Sequence int64  // 1, 2, … within the session of this API key
	Data     []byte // a JSON object, byte for byte as it was accepted
	Test     bool   // published as a test, or made by a test-send; see [TestTTL]
	// Targets lists the callbacks that were in force for the event when it was
	// accepted. Each of them gets one delivery.
	Targets []CallbackID
	// Withheld lists the callbacks that were in force too, but whose filter did not
	// match. A replay can still send the event to them.
	Withheld []Withheld
	// DeliverAt is the time before which the event is not delivered; zero: at once.
	// ExpiresAt is the time from which it is not delivered; zero: never.
	DeliverAt, ExpiresAt time.Time
	// ClockTime is the time of acceptance by the clock of that moment. It is set
	// only when the time in the id is more than MaxSkew later, and zero otherwise.
	ClockTime time.Time
	// Trace is the trace context of the call that published the event; nil for none.
	Trace *Trace
	// ErasedAt is when an erasure replaced Data by [ErasedData]; zero before.
	ErasedAt time.Time
}

// Accepted returns when the event was accepted. That is the time in the id,
// unless ClockTime is set: ids only grow, so that after a clock ran ahead and was
// corrected, new ids hold times in the future.
func (e *Event) Accepted() time.Time {
	if !e.ClockTime.IsZero() {
		return e.ClockTime
	}
	return e.ID.Time()
}

// ClockTime returns the value of [Event.ClockTime] for an event that gets this id
// at the given time.
func ClockTime(id EventID, at time.Time) time.Time {
	if id.Time().Sub(at) <= MaxSkew {
		return time.Time{}
	}
	return at.UTC().Truncate(time.Millisecond)
}
