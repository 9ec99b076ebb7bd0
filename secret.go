package callbackd

import (
	"encoding/json"
	"log/slog"
)

// Mask stands where a secret was.
const Mask = "[redacted]"

// Secret is text that must not be seen by accident: every way of printing it
// gives [Mask]. Call Reveal where the value itself is needed.
type Secret string

// Reveal is the value itself.
func (s Secret) Reveal() string { return string(s) }

// String is [Mask], for fmt.
func (s Secret) String() string { return Mask }

// GoString is [Mask], for %#v.
func (s Secret) GoString() string { return Mask }

// LogValue is [Mask], for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON writes [Mask].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(Mask) }

// MarshalText writes [Mask].
func (s Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }
