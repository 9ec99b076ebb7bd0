package callbackd

import (
	"slices"
	"strings"
)

// MaxOwnEventType is how long the name of a platform's own event type may be, in bytes.
const MaxOwnEventType = 64

// reservedWords begin the names of callbackd's own types, also of those that it will have.
var reservedWords = []string{"SESSION", "CALLBACK", "DELIVERY", "BACKLOG", "CERTIFICATE", "SILENCE", "DISK", "NODE", "ARCHIVE", "CALLBACKD", "EXAM"}

// IsOwn reports whether t can be the name of a platform's own event type: two or more words
// of capital letters, digits and underscores with colons between them, such as
// VEHICLE:ARRIVED. The first word is none of callbackd's own.
func (t EventType) IsOwn() bool {
	words := strings.Split(string(t), ":")
	if len(t) > MaxOwnEventType || len(words) < 2 || slices.Contains(reservedWords, words[0]) {
		return false
	}
	for _, w := range words {
		if w == "" || w[0] < 'A' || w[0] > 'Z' || strings.Trim(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			return false
		}
	}
	return true
}

// CheckOwn returns why t cannot be the name of a platform's own event type.
func (t EventType) CheckOwn() error {
	if t.IsOwn() {
		return nil
	}
	return Invalid("%q cannot be the name of an event type: use two or more words of capital letters, digits and underscores with colons between them, at most %d bytes, such as VEHICLE:ARRIVED. The first word must not be one of %s.",
		Clip(string(t), 100), MaxOwnEventType, strings.Join(reservedWords, ", "))
}
