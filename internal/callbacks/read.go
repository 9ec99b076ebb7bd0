// Package callbacks is what a callback's setting may be, wherever it comes
// from: the API reads it from JSON, the console from a form. It also has the
// samples of test-sends and how often they may be made.
package callbacks

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/strictjson"
)

func invalid(format string, args ...any) error {
	return callbackd.Errorf(callbackd.KindInvalid, format, args...)
}

// Methods a callback may use; POST is the default.
var Methods = []string{"POST", "PUT", "PATCH", "GET", "DELETE"}

// ErrMissing is PAVE's answer to a body without event or url.
var ErrMissing = invalid("Missing required fields.")

// Parse reads a setting from the text of one JSON object.
func Parse(text []byte, needEvent bool) (callbackd.Callback, error) {
	members, err := strictjson.Object(text)
	if err != nil {
		return callbackd.Callback{}, invalid("The setting %v.", err)
	}
	return Read(members, needEvent)
}

// Read reads the members that POST and PUT send. The event is left empty when
// it is not there and not needed.
func Read(members []strictjson.Member, needEvent bool) (callbackd.Callback, error) {
	cb := callbackd.Callback{Name: callbackd.DefaultName, Method: "POST", Payload: []byte("{}")}
	byName := map[string]strictjson.Value{}
	for _, m := range members {
		if !m.Value.IsNull() {
			byName[m.Name] = m.Value
		}
	}
	text := func(name string) (string, error) {
		v, ok := byName[name]
		if !ok {
			return "", nil
		}
		s, ok := v.Text()
		if !ok {
			return "", invalid("%s must be a string.", name)
		}
		return s, nil
	}
	event, err := text("event")
	if err != nil {
		return cb, err
	}
	cb.Event = callbackd.EventType(event)
	rawURL, err := text("url")
	if err != nil {
		return cb, err
	}
	if rawURL == "" || needEvent && event == "" {
		return cb, ErrMissing
	}
	if event != "" && !cb.Event.Valid() {
		return cb, invalid("event %q is not supported; the supported events are %s.", clip(event, 100), Types())
	}
	if cb.URL, err = egress.KeepURL(rawURL); err != nil {
		return cb, invalid("%v.", err)
	}
	if m, err := text("method"); err != nil {
		return cb, err
	} else if m != "" {
		cb.Method = strings.ToUpper(m)
		if !slices.Contains(Methods, cb.Method) {
			return cb, invalid("method %q is not allowed; the allowed methods are %s.", clip(m, 20), strings.Join(Methods, ", "))
		}
	}
	if n, err := text("name"); err != nil {
		return cb, err
	} else if n != "" {
		if !validName(n) {
			return cb, invalid("name must be 1 to %d letters, digits, dots, hyphens or underscores.", callbackd.MaxName)
		}
		cb.Name = n
	}
	if cb.Headers, err = readHeaders(byName["headers"]); err != nil {
		return cb, err
	}
	if cb.Payload, err = readPayload(byName["payload"]); err != nil {
		return cb, err
	}
	cb.Policy, err = readPolicy(byName)
	return cb, err
}

// Types is the supported events in a sentence.
func Types() string {
	names := make([]string, len(callbackd.EventTypes))
	for i, t := range callbackd.EventTypes {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

func validName(s string) bool {
	if s == "" || len(s) > callbackd.MaxName {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// objectValue reads a member that is an object: PAVE's tables say string, its
// samples show objects.
func objectValue(name string, v strictjson.Value) (strictjson.Value, []strictjson.Member, error) {
	object, members, err := strictjson.LenientObject(v)
	switch {
	case err != nil && object.Kind() != '{':
		return nil, nil, invalid("%s must be a JSON object, or a string that holds one.", name)
	case err != nil:
		return nil, nil, invalid("%s must be a JSON object, or a string that holds one: it %v.", name, err)
	}
	return object, members, nil
}

// readPayload keeps the extra payload byte for byte.
func readPayload(v strictjson.Value) ([]byte, error) {
	v, _, err := objectValue("payload", v)
	if err != nil {
		return nil, err
	}
	if len(v) > callbackd.MaxPayload {
		return nil, invalid("payload is larger than %d bytes.", callbackd.MaxPayload)
	}
	return bytes.Clone(v), nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return fmt.Sprint(strings.ToValidUTF8(s[:n], ""), "…")
	}
	return s
}
