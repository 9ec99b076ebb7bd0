package callbackd

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
)

// Trace is a W3C trace context: which span of which trace an event comes from. It is that
// of the publish, or the span that callbackd made of it.
type Trace struct {
	ID    [16]byte
	Span  [8]byte
	Flags byte   // of those that are defined: traceSampled, traceRandom
	State string // the header tracestate; empty without one
}

const (
	traceSampled = 1
	traceRandom  = 2

	// MaxTraceState is the longest tracestate that is kept, in bytes. A longer one is left out.
	MaxTraceState   = 512
	maxStateMembers = 32
	parentLength    = 55 // of a traceparent of version 00
)

// ParseTrace reads the headers traceparent and tracestate, each with the values of all its
// lines. It returns nil when traceparent is not valid. A tracestate that is not valid is
// left out.
func ParseTrace(parent, state []string) *Trace {
	if len(parent) != 1 {
		return nil
	}
	s := strings.Trim(parent[0], " \t")
	if len(s) < parentLength || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return nil
	}
	var version, flags [1]byte
	var t Trace
	if !lowerHex(version[:], s[:2]) || !lowerHex(t.ID[:], s[3:35]) || !lowerHex(t.Span[:], s[36:52]) || !lowerHex(flags[:], s[53:55]) {
		return nil
	}
	if !readableVersion(version[0], s[parentLength:]) || t.ID == [16]byte{} || t.Span == [8]byte{} {
		return nil
	}
	t.Flags = flags[0] & (traceSampled | traceRandom)
	t.State = validState(strings.Join(state, ","))
	return &t
}

// readableVersion reports whether a traceparent of a version, with this text after the flags,
// can be read: a later version may have more there.
func readableVersion(version byte, rest string) bool {
	switch version {
	case 0:
		return rest == ""
	case 0xff:
		return false
	}
	return rest == "" || rest[0] == '-'
}

func lowerHex(dst []byte, s string) bool {
	if strings.ToLower(s) != s {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}

// validState returns a tracestate without empty members, or nothing when it is not valid.
func validState(s string) string {
	if len(s) > MaxTraceState {
		return ""
	}
	var members, keys []string
	for member := range strings.SplitSeq(s, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		key, value, _ := strings.Cut(member, "=")
		if !validStateKey(key) || !validStateValue(value) || slices.Contains(keys, key) || len(keys) == maxStateMembers {
			return ""
		}
		members, keys = append(members, member), append(keys, key)
	}
	return strings.Join(members, ",")
}

func validStateKey(key string) bool {
	for i, c := range []byte(key) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_-*/@", rune(c))) {
			return false
		}
	}
	return key != "" && len(key) <= 256 && strings.Count(key, "@") <= 1
}

func validStateValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return value != "" && len(value) <= 256
}

// Sampled reports whether the spans of the trace are collected.
func (t *Trace) Sampled() bool { return t.Flags&traceSampled != 0 }

// Parent returns the header traceparent.
func (t *Trace) Parent() string {
	b := make([]byte, 0, parentLength)
	b = append(b, "00-"...)
	b = append(hex.AppendEncode(b, t.ID[:]), '-')
	b = append(hex.AppendEncode(b, t.Span[:]), '-')
	return string(hex.AppendEncode(b, []byte{t.Flags}))
}

// IDText returns the trace's ID as traces are searched by it.
func (t *Trace) IDText() string { return hex.EncodeToString(t.ID[:]) }

// OfAttempt returns the context that attempt n of a delivery has when it is a span of its
// own. The ID of that span is computed from the attempt, so that it need not be stored: who
// builds the request and who reports the span get the same one, and so does a later look at
// what was sent.
func (t *Trace) OfAttempt(id DeliveryID, n int) *Trace {
	b := append([]byte("attempt"), t.ID[:]...)
	for _, v := range []int64{int64(id.Event), int64(id.Callback), int64(n)} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	sum := sha256.Sum256(b)
	out := *t
	copy(out.Span[:], sum[:])
	out.Span[0] |= 1 // a span's ID is never 0
	return &out
}
