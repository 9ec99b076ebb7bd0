package callbacks

import (
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/strictjson"
)

// reserved are headers that callbackd or HTTP itself must own.
var reserved = []string{"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
	"proxy-connection", "proxy-authorization", "proxy-authenticate", "accept-encoding"}

// headerMembers reads headers as an object, or as the text of header lines:
// "Authorization: Bearer x", one a line.
func headerMembers(v strictjson.Value) ([]strictjson.Member, error) {
	text, ok := v.Text()
	if !ok || !strings.Contains(text, ":") || strings.HasPrefix(strings.TrimSpace(text), "{") {
		object, members, err := strictjson.LenientObject(v)
		if err != nil && object.Kind() != '{' {
			return nil, invalid("headers must be a JSON object, or a string that holds one or header lines, such as Authorization: Bearer x.")
		}
		if err != nil {
			return nil, invalid("headers must be a JSON object, or a string that holds one: it %v.", err)
		}
		return members, nil
	}
	var members []strictjson.Member
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, invalid("headers has a line without a colon: %q; write Name: value.", clip(line, 60))
		}
		quoted := strictjson.AppendString(nil, strings.TrimSpace(value))
		members = append(members, strictjson.Member{Name: strings.TrimSpace(name), Value: quoted})
	}
	return members, nil
}

func readHeaders(v strictjson.Value) ([]callbackd.Header, error) {
	members, err := headerMembers(v)
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
