package callbackd

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// EventID identifies an event. The upper 42 bits are the millisecond of its
// acceptance since 1970, the lower 21 bits count within that millisecond. Ids are
// therefore ordered by time, serve as the primary key without a second index, and
// a range of time is a range of ids. docs/decisions.md says why it is not a UUID.
type EventID int64

const (
	idCountBits = 21
	idDigits    = 13 // base32 digits that hold 63 bits
	idAlphabet  = "0123456789abcdefghjkmnpqrstvwxyz"
)

// FirstEventID returns the smallest id of an event accepted at t. Queries by time
// use it as a bound.
func FirstEventID(t time.Time) EventID {
	ms := t.UnixMilli()
	switch {
	case ms < 0:
		return 0
	case ms > math.MaxInt64>>idCountBits:
		return math.MaxInt64
	}
	return EventID(ms << idCountBits)
}

// NextEventID returns the id that follows last for an event accepted at now. Ids
// only grow: when the clock stands still or goes back, the counter goes on.
func NextEventID(last EventID, now time.Time) EventID {
	return max(last+1, FirstEventID(now))
}

// Time returns the time in the id, in milliseconds.
func (id EventID) Time() time.Time { return time.UnixMilli(int64(id) >> idCountBits).UTC() }

// String returns the id as the API writes it: "evt_" and 13 digits of base32. The
// texts sort like the ids.
func (id EventID) String() string { return "evt_" + encode63(int64(id)) }

// ParseEventID reads what [EventID.String] writes.
func ParseEventID(s string) (EventID, bool) {
	digits, ok := strings.CutPrefix(s, "evt_")
	if !ok {
		return 0, false
	}
	n, ok := decode63(digits)
	return EventID(n), ok
}

// DeliveryID identifies a delivery: one event to one callback.
type DeliveryID struct {
	Event    EventID
	Callback CallbackID
}

// String returns the id as the API writes it: "dlv_", the event's 13 digits, a
// hyphen and the callback's id in decimal.
func (id DeliveryID) String() string {
	return "dlv_" + encode63(int64(id.Event)) + "-" + strconv.FormatInt(int64(id.Callback), 10)
}

// ParseDeliveryID reads what [DeliveryID.String] writes.
func ParseDeliveryID(s string) (DeliveryID, bool) {
	rest, ok := strings.CutPrefix(s, "dlv_")
	if !ok {
		return DeliveryID{}, false
	}
	digits, callback, ok := strings.Cut(rest, "-")
	if !ok {
		return DeliveryID{}, false
	}
	ev, ok := decode63(digits)
	if !ok {
		return DeliveryID{}, false
	}
	cb, err := strconv.ParseInt(callback, 10, 64)
	if err != nil || cb <= 0 || strconv.FormatInt(cb, 10) != callback {
		return DeliveryID{}, false
	}
	return DeliveryID{Event: EventID(ev), Callback: CallbackID(cb)}, true
}

func encode63(n int64) string {
	var b [idDigits]byte
	for i := idDigits - 1; i >= 0; i-- {
		b[i] = idAlphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}

func decode63(s string) (int64, bool) {
	if len(s) != idDigits {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		d := strings.IndexByte(idAlphabet, s[i])
		if d < 0 {
			return 0, false
		}
		n = n<<5 | uint64(d)
	}
	// 13 digits hold 65 bits, but the value must fit into 63.
	if s[0] > '7' || n > math.MaxInt64 {
		return 0, false
	}
	return int64(n), true
}
