// Package callbacks is what a callback's setting may be, wherever it comes
// from: the API reads it from JSON, the console from a form. It also has the
// samples of test-sends and how often they may be made.
package callbacks

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

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
	u, err := egress.ParseURL(rawURL)
	if err != nil {
		return cb, invalid("%v.", err)
	}
	cb.URL = u.String()
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

// objectValue accepts an object, or a string that holds one: PAVE's tables
// say string, its samples show objects.
func objectValue(name string, v strictjson.Value) (strictjson.Value, []strictjson.Member, error) {
	if v == nil {
		return strictjson.Value("{}"), nil, nil
	}
	if s, ok := v.Text(); ok {
		if strings.TrimSpace(s) == "" {
			return strictjson.Value("{}"), nil, nil
		}
		v = strictjson.Value(strings.TrimSpace(s))
	}
	m, err := strictjson.Object(v)
	if err != nil {
		return nil, nil, invalid("%s must be a JSON object, or a string that holds one: it %v.", name, err)
	}
	return v, m, nil
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

// reserved are headers that callbackd or HTTP itself must own.
var reserved = []string{"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
	"proxy-connection", "proxy-authorization", "proxy-authenticate", "accept-encoding"}

func readHeaders(v strictjson.Value) ([]callbackd.Header, error) {
	_, members, err := objectValue("headers", v)
	if err != nil {
		return nil, err
	}
	if len(members) > callbackd.MaxHeaders {
		return nil, invalid("headers has %d members; at most %d are allowed.", len(members), callbackd.MaxHeaders)
	}
	var out []callbackd.Header
	seen, size := map[string]bool{}, 0
	for _, m := range members {
		value, ok := m.Value.Text()
		if !ok && (m.Value.Kind() == '0' || m.Value.Kind() == 't' || m.Value.Kind() == 'f') {
			value, ok = string(m.Value), true
		}
		lower := strings.ToLower(m.Name)
		switch {
		case !ok:
			return nil, invalid("headers has a value for %q that is not a string.", clip(m.Name, 100))
		case !isToken(m.Name):
			return nil, invalid("headers has a name %q that HTTP does not allow (RFC 9110, section 5.1).", clip(m.Name, 100))
		case slices.Contains(reserved, lower), strings.HasPrefix(lower, "webhook-"), strings.HasPrefix(lower, "callback-"):
			return nil, invalid("headers must not set %s: callbackd sets it itself.", m.Name)
		case !isFieldValue(value):
			return nil, invalid("headers has a value for %s with characters that HTTP does not allow; visible ASCII, spaces and tabs are.", m.Name)
		case seen[lower]:
			return nil, invalid("headers names %s twice.", m.Name)
		}
		seen[lower] = true
		size += len(m.Name) + len(value)
		out = append(out, callbackd.Header{Name: m.Name, Value: callbackd.Secret(value)})
	}
	if size > callbackd.MaxHeaderBytes {
		return nil, invalid("headers has more than %d bytes in names and values.", callbackd.MaxHeaderBytes)
	}
	return out, nil
}

// isToken: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue: RFC 9110, section 5.5, without obsolete bytes and without
// white space at the ends, which a transport would cut off.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < ' ' || c >= 0x7f) {
			return false
		}
	}
	return strings.Trim(s, " \t") == s
}

// readPolicy reads the members of our extension. Durations are strings such
// as "5s" or "2h", or numbers of seconds.
func readPolicy(m map[string]strictjson.Value) (p callbackd.Policy, err error) {
	if v, ok := m["timeout"]; ok {
		if p.Timeout, err = ReadDuration("timeout", v, callbackd.MinTimeout, callbackd.MaxTimeout); err != nil {
			return p, err
		}
	}
	if v, ok := m["order"]; ok {
		if p.OrderWait, err = ReadDuration("order", v, 0, callbackd.MaxOrderWait); err != nil {
			return p, err
		}
		if p.OrderWait == 0 {
			p.OrderWait = callbackd.NoOrderWait
		}
	}
	if v, ok := m["retry"]; ok {
		steps, err := strictjson.Array(v)
		if err != nil || len(steps) == 0 || len(steps) > callbackd.MaxRetries {
			return p, invalid("retry must be an array of 1 to %d delays, the first before attempt 1.", callbackd.MaxRetries)
		}
		for _, s := range steps {
			d, err := ReadDuration("retry", s, 0, callbackd.MaxRetryDelay)
			if err != nil {
				return p, err
			}
			p.Retry = append(p.Retry, d)
		}
		if p.Retry[0] != 0 {
			return p, invalid("retry must begin with 0: the first attempt is made at once.")
		}
	}
	if v, ok := m["rate"]; ok {
		if p.Rate, ok = v.Float(); !ok || p.Rate < 0 || p.Rate > callbackd.MaxRate || p.Rate > 0 && p.Rate < 0.001 {
			return p, invalid("rate must be a number of attempts a second from 0.001 to %d, or 0 for no limit.", callbackd.MaxRate)
		}
	}
	if v, ok := m["concurrency"]; ok {
		f, ok := v.Float()
		if !ok || f != float64(int(f)) || f < 1 || f > callbackd.MaxConcurrency {
			return p, invalid("concurrency must be a whole number from 1 to %d.", callbackd.MaxConcurrency)
		}
		p.Concurrency = int(f)
	}
	return p, nil
}

// ReadDuration reads the member called name: text such as "30s", or seconds.
func ReadDuration(name string, v strictjson.Value, least, most time.Duration) (time.Duration, error) {
	d, ok := time.Duration(0), false
	if s, text := v.Text(); text {
		var err error
		d, err = time.ParseDuration(s)
		ok = err == nil
	} else if f, number := v.Float(); number && f >= 0 && f <= most.Seconds() {
		d, ok = time.Duration(f*float64(time.Second)), true
	}
	if !ok || d < least || d > most {
		return 0, invalid("%s must be a duration from %v to %v, such as \"30s\".", name, least, most)
	}
	return d, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return fmt.Sprint(strings.ToValidUTF8(s[:n], ""), "…")
	}
	return s
}
