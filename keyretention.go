package callbackd

import (
	"encoding/json"
	"fmt"
	"time"
)

// Bounds of how long the events of an API key are kept.
const (
	MinRetention = time.Hour
	MaxRetention = 3650 * day
)

// ParseRetentions reads how long events of some types are kept: a JSON object with a
// duration for each type. An empty text has none.
func ParseRetentions(text string) (map[EventType]time.Duration, error) {
	if text == "" {
		return nil, nil
	}
	var raw map[string]string
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, Invalid("it must be an object with a duration for each type of event, such as {\"SESSION:NOTE_INSERT\": \"1d\"}.")
	}
	out := map[EventType]time.Duration{}
	for name, duration := range raw {
		if !EventType(name).Valid() {
			return nil, Invalid("%q is not a type of event; see GET /v1/event-types.", Clip(name, 60))
		}
		d, err := ParseDuration(duration)
		if err != nil || d < MinRetention || d > MaxRetention {
			return nil, Invalid("%s must have a duration from %s to %s, not %q.", name, FormatDuration(MinRetention), FormatDuration(MaxRetention), Clip(duration, 60))
		}
		out[EventType(name)] = d
	}
	return out, nil
}

// FormatRetentions writes in one spelling what [ParseRetentions] reads.
func FormatRetentions(r map[EventType]time.Duration) string {
	if len(r) == 0 {
		return ""
	}
	texts := map[EventType]string{}
	for t, d := range r {
		texts[t] = FormatDuration(d)
	}
	text, err := json.Marshal(texts) // in the order of the types
	if err != nil {
		panic(fmt.Sprintf("a map of texts is not written: %v", err))
	}
	return string(text)
}

// HasRetention reports whether events of k, or of some types, have a retention of their own.
func (k *Key) HasRetention() bool { return k.Retention != 0 || k.RetentionEvents != "" }

// RemovedBefore returns before which times events of the key are removed because of the
// key's own retention: those of some types, and all others. The zero time removes nothing.
func (k *Key) RemovedBefore(now time.Time) (others time.Time, types map[EventType]time.Time, err error) {
	kept, err := ParseRetentions(k.RetentionEvents)
	if err != nil {
		return others, nil, err
	}
	if k.Retention > 0 {
		others = now.Add(-k.Retention)
	}
	types = map[EventType]time.Time{}
	for t, d := range kept {
		types[t] = now.Add(-d)
	}
	return others, types, nil
}
