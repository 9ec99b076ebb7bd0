package callbackd

import (
	"encoding/json"
	"log/slog"
)

// Mask replaces a secret in output.
const Mask = "[redacted]"

// Secret is text that must not be printed by accident: every way of printing it
// prints [Mask]. Reveal returns the value itself.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// String returns [Mask], for fmt.
func (s Secret) String() string { return Mask }

// GoString returns [Mask], for %#v.
func (s Secret) GoString() string { return Mask }

// LogValue returns [Mask], for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON writes [Mask].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(Mask) }

// MarshalText writes [Mask].
func (s Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }
