// Package codec is how the drivers write values that are no column of their
// own: both keep them alike, byte for byte, so that what one database holds
// can be moved to another.
package codec

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"callbackd"
	"callbackd/internal/store"
)

// TypeNo is how an event type is stored: its place in callbackd.EventTypes,
// from 1. The list may grow at its end only.
func TypeNo(t callbackd.EventType) int64 { return int64(slices.Index(callbackd.EventTypes, t) + 1) }

// Type is the event type that TypeNo numbered; empty for another number.
func Type(n int64) callbackd.EventType {
	if n < 1 || int(n) > len(callbackd.EventTypes) {
		return ""
	}
	return callbackd.EventTypes[n-1]
}

// AppendTargets appends the targets of an event, as varints.
func AppendTargets(dst []byte, owed []callbackd.CallbackID) []byte {
	for _, no := range owed {
		dst = binary.AppendUvarint(dst, uint64(no))
	}
	return dst
}

// Targets reads what AppendTargets wrote.
func Targets(b []byte) []callbackd.CallbackID {
	var owed []callbackd.CallbackID
	for len(b) > 0 {
		no, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		owed, b = append(owed, callbackd.CallbackID(no)), b[n:]
	}
	return owed
}

// AppendIDs appends the ids of events, eight bytes each.
func AppendIDs(dst []byte, evs []*callbackd.Event) []byte {
	for _, ev := range evs {
		dst = binary.BigEndian.AppendUint64(dst, uint64(ev.ID))
	}
	return dst
}

// IDs reads what AppendIDs wrote.
func IDs(b []byte) []callbackd.EventID {
	ids := make([]callbackd.EventID, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		ids = append(ids, callbackd.EventID(binary.BigEndian.Uint64(b)))
	}
	return ids
}

// BatchHash and EventHash are what idempotency keys are kept as: short, and
// apart from each other.
func BatchHash(key string) []byte { return scopedHash('b', key) }

// EventHash is BatchHash for the key of one event.
func EventHash(key string) []byte { return scopedHash('e', key) }

func scopedHash(scope byte, key string) []byte {
	h := sha256.Sum256(append([]byte{scope}, key...))
	return h[:16]
}

// EventDigest is what a repeat of one event must equal.
func EventDigest(n *store.NewEvent) []byte {
	h := sha256.New()
	h.Write([]byte(string(n.Type) + "\x00" + n.Session + "\x00"))
	h.Write(n.Data)
	return h.Sum(nil)
}
