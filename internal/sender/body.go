package sender

import (
	"bytes"
	"net/url"
	"strings"

	"callbackd"
	"callbackd/internal/strictjson"
)

// Body returns the JSON that a receiver gets: the event's type and session, the chosen
// fields of the event's data in its order, then the callback's extra attributes. The
// event's members win over the extra attributes, and event and session_key win over both.
// Values are copied byte for byte. The body depends on the event, the fields and the
// payload only, so every attempt sends the same bytes.
func Body(ev *callbackd.Event, fields *callbackd.Fields, payload []byte) ([]byte, error) {
	ev = chosen(ev, fields)
	return appendBody(make([]byte, 0, len(ev.Data)+len(payload)+128), ev, payload)
}

// messageBody returns the body of a notice in a format for people, with the callback's extra
// attributes that it does not have.
func messageBody(ev *callbackd.Event, format callbackd.Format, payload []byte) ([]byte, error) {
	message, err := format.Message(ev)
	if err != nil {
		return nil, err
	}
	members, err := appendMembers(nil, message, payload)
	if err != nil {
		return nil, err
	}
	return appendObject(nil, members), nil
}

// chosen returns an event with what a callback gets of its data.
func chosen(ev *callbackd.Event, fields *callbackd.Fields) *callbackd.Event {
	if fields == nil {
		return ev
	}
	cut := *ev
	cut.Data = fields.Of(ev.Data)
	return &cut
}

// appendBody appends the body to out.
func appendBody(out []byte, ev *callbackd.Event, payload []byte) ([]byte, error) {
	if inner, ok := verbatim(ev, payload); ok {
		out = append(out, `{"event":`...)
		out = strictjson.AppendString(out, string(ev.Type))
		out = append(out, `,"session_key":`...)
		out = strictjson.AppendString(out, ev.Session)
		if len(inner) > 0 {
			out = append(append(out, ','), inner...)
		}
		return append(out, '}'), nil
	}
	members, err := bodyMembers(ev, payload)
	if err != nil {
		return nil, err
	}
	return appendObject(out, members), nil
}

func appendObject(out []byte, members []strictjson.Member) []byte {
	for i, m := range members {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		out = append(out, sep)
		out = strictjson.AppendString(out, m.Name)
		out = append(out, ':')
		out = append(out, m.Value...)
	}
	return append(out, '}')
}

// verbatim returns the members of the event's data unchanged, when no other member
// can have the same name. That holds for most data, which was validated when it was
// accepted. To parse it again for every attempt would cost more than signing.
func verbatim(ev *callbackd.Event, payload []byte) ([]byte, bool) {
	if ev.Test || len(payload) > len("{}") || len(ev.Data) < len("{}") {
		return nil, false
	}
	for _, clash := range []string{`\`, `"event"`, `"session_key"`} { // an escape may spell a name
		if bytes.Contains(ev.Data, []byte(clash)) {
			return nil, false
		}
	}
	data := bytes.TrimSpace(ev.Data)
	return bytes.TrimSpace(data[1 : len(data)-1]), true
}

func bodyMembers(ev *callbackd.Event, payload []byte) ([]strictjson.Member, error) {
	members := make([]strictjson.Member, 0, 16)
	members = append(members,
		strictjson.Member{Name: "event", Value: strictjson.AppendString(nil, string(ev.Type))},
		strictjson.Member{Name: "session_key", Value: strictjson.AppendString(nil, ev.Session)})
	if ev.Test {
		members = append(members, strictjson.Member{Name: "test", Value: strictjson.Value("true")})
	}
	return appendMembers(members, ev.Data, payload)
}

// appendMembers appends the members of objects that are not there yet.
func appendMembers(members []strictjson.Member, objects ...[]byte) ([]strictjson.Member, error) {
	for _, source := range objects {
		if len(source) <= len("{}") {
			continue
		}
		more, err := strictjson.Object(source)
		if err != nil {
			return nil, err
		}
		taken := len(members)
		for _, m := range more {
			if !has(members[:taken], m.Name) {
				members = append(members, m)
			}
		}
	}
	return members, nil
}

func has(members []strictjson.Member, name string) bool {
	for i := range members {
		if members[i].Name == name {
			return true
		}
	}
	return false
}

// addQuery adds the members to the query of a request without a body: texts as they
// are, and everything else as JSON.
func addQuery(target *url.URL, ev *callbackd.Event, payload []byte) error {
	members, err := bodyMembers(ev, payload)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(target.RawQuery)
	for _, m := range members {
		text, ok := m.Value.Text()
		if !ok {
			text = string(m.Value)
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(m.Name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(text))
	}
	target.RawQuery = b.String()
	return nil
}
