// Package codec encodes values that are stored in one column together. Both drivers
// store the same bytes, so that rows can be moved from one database to the other.
package codec

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"callbackd"
	"callbackd/internal/store"
)

// AppendTargets appends the targets of an event, as varints.
func AppendTargets(dst []byte, targets []callbackd.CallbackID) []byte {
	for _, id := range targets {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// Targets reads what AppendTargets wrote.
func Targets(b []byte) []callbackd.CallbackID {
	var targets []callbackd.CallbackID
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		targets, b = append(targets, callbackd.CallbackID(id)), b[n:]
	}
	return targets
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

// BatchHash returns the stored form of the idempotency key of a batch.
func BatchHash(key string) []byte { return scopedHash('b', key) }

// EventHash returns the stored form of the idempotency key of one event. It differs from
// the BatchHash of the same key.
func EventHash(key string) []byte { return scopedHash('e', key) }

func scopedHash(scope byte, key string) []byte {
	h := sha256.Sum256(append([]byte{scope}, key...))
	return h[:16]
}

// EventDigest returns the hash that a repeat of one event must equal.
func EventDigest(n *store.NewEvent) []byte {
	h := sha256.New()
	h.Write([]byte(string(n.Type) + "\x00" + n.Session + "\x00"))
	h.Write(n.Data)
	if !n.DeliverAt.IsZero() || !n.ExpiresAt.IsZero() {
		fmt.Fprintf(h, "\x00%d\x00%d", n.DeliverAt.UnixMilli(), n.ExpiresAt.UnixMilli())
	}
	if n.Test {
		h.Write([]byte("\x00test"))
	}
	if n.Callback != nil {
		fmt.Fprintf(h, "\x00%s\x00%d", n.Callback.URL, TypeSet(n.Callback.Types))
		for _, t := range n.Callback.Types {
			if TypeNumber(t) == 0 {
				fmt.Fprintf(h, "\x00%s", t)
			}
		}
	}
	return h.Sum(nil)
}
