package callbacks

import (
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"

	"golang.org/x/net/http/httpguts"
)

// reserved lists the headers that callbackd or HTTP itself must set.
var reserved = []string{
	"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
	"proxy-connection", "proxy-authorization", "proxy-authenticate", "accept-encoding",
}

// headersField reads headers as an object, or as the text of header lines.
func headersField(name string, to *[]callbackd.Header) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		members, err := headerMembers(v)
		if err != nil {
			return err
		}
		*to, err = readHeaders(members)
		return err
	}}
}

// headerMembers returns the members of an object, or one for each line of a
// text such as "Authorization: Bearer x".
func headerMembers(v request.Value) ([]strictjson.Member, error) {
	text, isText := v.JSON.Text()
	if isText && strings.Contains(text, ":") && !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return headerLines(text)
	}
	object, members, err := strictjson.LenientObject(v.JSON)
	switch {
	case err == nil:
		return members, nil
	case object.Kind() == '{':
		return nil, callbackd.Invalid("headers %v.", err)
	}
	return nil, callbackd.Invalid("headers must be a JSON object, or a string that holds one or header lines, such as Authorization: Bearer x.")
}

func headerLines(text string) ([]strictjson.Member, error) {
	var members []strictjson.Member
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, callbackd.Invalid("headers has a line without a colon: %q. Write Name: value.", callbackd.Clip(line, 60))
		}
		quoted := strictjson.AppendString(nil, strings.TrimSpace(value))
		members = append(members, strictjson.Member{Name: strings.TrimSpace(name), Value: quoted})
	}
	return members, nil
}

func readHeaders(members []strictjson.Member) ([]callbackd.Header, error) {
	if len(members) > callbackd.MaxHeaders {
		return nil, callbackd.Invalid("headers has %d members. At most %d are allowed.", len(members), callbackd.MaxHeaders)
	}
	var headers []callbackd.Header
	size := 0
	for _, m := range members {
		h, err := readHeader(m)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(headers, func(other callbackd.Header) bool { return strings.EqualFold(other.Name, h.Name) }) {
			return nil, callbackd.Invalid("headers names %s twice.", h.Name)
		}
		size += len(h.Name) + len(h.Value)
		headers = append(headers, h)
	}
	if size > callbackd.MaxHeaderBytes {
		return nil, callbackd.Invalid("headers has more than %s bytes in names and values.", humanize.Number(callbackd.MaxHeaderBytes))
	}
	return headers, nil
}

func readHeader(m strictjson.Member) (callbackd.Header, error) {
	value, ok := headerText(m.Value)
	switch {
	case !ok:
		return callbackd.Header{}, callbackd.Invalid("headers has a value for %q that is not a string.", callbackd.Clip(m.Name, 100))
	case !httpguts.ValidHeaderFieldName(m.Name):
		return callbackd.Header{}, callbackd.Invalid("headers has a name %q that HTTP does not allow (RFC 9110, section 5.1).", callbackd.Clip(m.Name, 100))
	case isReserved(m.Name):
		return callbackd.Header{}, callbackd.Invalid("headers must not set %s: callbackd sets it itself.", m.Name)
	case !isFieldValue(value):
		return callbackd.Header{}, callbackd.Invalid("headers has a value for %s with characters that HTTP does not allow. Use visible ASCII, spaces and tabs.", m.Name)
	}
	return callbackd.Header{Name: m.Name, Value: callbackd.Secret(value)}, nil
}

// headerText returns the value of a header. Numbers, true and false are taken as text.
func headerText(v strictjson.Value) (string, bool) {
	switch v.Kind() {
	case '0', 't', 'f':
		return string(v), true
	}
	return v.Text()
}

func isReserved(name string) bool {
	lower := strings.ToLower(name)
	return slices.Contains(reserved, lower) || strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "callback-")
}

// isFieldValue reports whether HTTP allows the value of a header (RFC 9110, section 5.5).
// Obsolete bytes are not allowed, nor is white space at the ends, which a transport
// would cut off.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < ' ' || c >= 0x7f) {
			return false
		}
	}
	return strings.Trim(s, " \t") == s
}
