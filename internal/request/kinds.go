package request

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/signature"
	"callbackd/internal/strictjson"
)

// must returns the error for a value that is not what the field must be.
func (v Value) must(format string, args ...any) error {
	return callbackd.Invalid("%s must be %s%s.", v.Name, fmt.Sprintf(format, args...), v.quote())
}

// quote returns a short value as the end of a sentence: `, not "x"`. Objects
// and arrays are not quoted.
func (v Value) quote() string {
	const most = 40
	if v.private {
		return ""
	}
	switch v.JSON.Kind() {
	case '{', '[', 0:
		return ""
	case '"':
		text, _ := v.JSON.Text()
		return fmt.Sprintf(", not %q", callbackd.Clip(text, most))
	}
	return ", not " + callbackd.Clip(string(v.JSON), most)
}

// text returns the text of a string. Leniently read, a number is its own text.
func (v Value) text() (string, bool) {
	s, ok := v.JSON.Text()
	if !v.Lenient {
		return s, ok
	}
	if !ok && v.JSON.Kind() == '0' {
		s, ok = string(v.JSON), true
	}
	return strings.TrimSpace(s), ok
}

// number returns the digits of a number. Leniently read, a text may hold them.
func (v Value) number() (string, bool) {
	if v.JSON.Kind() == '0' {
		return string(v.JSON), true
	}
	s, ok := v.text()
	return s, ok && v.Lenient
}

// Text reads a text of at most that many bytes.
func Text[T ~string](name string, to *T, most int) Field {
	return Field{Name: name, Read: func(v Value) error {
		s, ok := v.text()
		if !ok {
			return v.must("a string")
		}
		if len(s) > most {
			return callbackd.Invalid("%s is longer than %s bytes.", v.Name, humanize.Number(most))
		}
		*to = T(s)
		return nil
	}}
}

// Choice reads one of the words. Leniently read, the case of letters makes no
// difference and an empty text is no choice.
func Choice[T ~string](name string, to *T, words []T) Field {
	return Field{Name: name, Read: func(v Value) error {
		s, ok := v.text()
		if !ok {
			return v.must("a string")
		}
		if v.Lenient && s == "" {
			return nil
		}
		for _, w := range words {
			if string(w) == s || v.Lenient && strings.EqualFold(string(w), s) {
				*to = w
				return nil
			}
		}
		return callbackd.Invalid("%s %q is not supported. Use %s.", v.Name, callbackd.Clip(s, 100), List(words, "or"))
	}}
}

// EventType reads the type of an event: one of callbackd's, or the name of a platform's own.
// Whether the platform has it is another question.
func EventType(name string, to *callbackd.EventType) Field {
	return eventType(name, to, callbackd.EventTypes)
}

// PublishedType reads the type of an event that a platform publishes.
func PublishedType(name string, to *callbackd.EventType) Field {
	return eventType(name, to, callbackd.SessionEvents)
}

func eventType(name string, to *callbackd.EventType, ours []callbackd.EventType) Field {
	f := Choice(name, to, ours)
	choose := f.Read
	f.Read = func(v Value) error {
		if text, ok := v.text(); ok && callbackd.EventType(text).IsOwn() {
			*to = callbackd.EventType(text)
			return nil
		}
		return choose(v)
	}
	return f
}

// List writes words as a part of a sentence: "a, b or c".
func List[T ~string](words []T, conjunction string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" " + conjunction + " ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// Whole reads a whole number within limits.
func Whole[T ~int | ~int64](name string, to *T, least, most T) Field {
	return WholeAs(name, to, least, most, fmt.Sprintf("a whole number from %s to %s", humanize.Number(least), humanize.Number(most)))
}

// Seconds reads a whole number of seconds, from 0 to most.
func Seconds(name string, to *time.Duration, most time.Duration) Field {
	n := int64(-1)
	limit := int64(most / time.Second)
	f := WholeAs(name, &n, 0, limit, fmt.Sprintf("a whole number of seconds from 0 to %d", limit))
	return f.Check(func(string) error {
		if n >= 0 { // an empty text sets nothing
			*to = time.Duration(n) * time.Second
		}
		return nil
	})
}

// CallbackID reads the ID of a callback.
func CallbackID(name string, to *callbackd.CallbackID) Field {
	return WholeAs(name, to, 1, math.MaxInt64, "the ID of a callback, which GET /v1/callbacks/:event/policy shows")
}

// WholeAs is [Whole] with other words for what the number must be.
func WholeAs[T ~int | ~int64](name string, to *T, least, most T, what string) Field {
	return Field{Name: name, Read: func(v Value) error {
		if v.Lenient && v.empty() {
			return nil
		}
		digits, ok := v.number()
		n, whole := wholeNumber(digits)
		if !ok || !whole || n < int64(least) || n > int64(most) {
			return v.must("%s", what)
		}
		*to = T(n)
		return nil
	}}
}

// wholeNumber reads a whole number, also one that is written as 5.0 or 5e1.
func wholeNumber(digits string) (int64, bool) {
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n, true
	}
	f, ok := float(digits)
	return int64(f), ok && f == math.Trunc(f) && math.Abs(f) <= 1<<53
}

// float reads a number as JSON writes one; Go's own reader takes more.
func float(digits string) (float64, bool) {
	if _, err := strictjson.Array([]byte("[" + digits + "]")); err != nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(digits, 64)
	return f, err == nil
}

// leastRate is the lowest rate that a caller can ask for.
const leastRate = 0.001

// Rate reads how many things may happen in a second: from 0.001 to most, or 0
// for no limit. what names the things, such as "deliveries".
func Rate(name string, to *float64, most float64, what string) Field {
	return Field{Name: name, Read: func(v Value) error {
		if v.Lenient && v.empty() {
			return nil
		}
		digits, ok := v.number()
		rate, isNumber := float(digits)
		if !ok || !isNumber || rate < 0 || rate > most || rate > 0 && rate < leastRate {
			return v.must("a number of %s a second from %g to %s, or 0 for no limit", what, leastRate, humanize.Number(int64(most)))
		}
		*to = rate
		return nil
	}}
}

// Flag reads true or false. Leniently read, it may be text, and 1 or 0.
func Flag(name string, to *bool) Field {
	return Field{Name: name, Read: func(v Value) error {
		word := string(v.JSON)
		if v.Lenient {
			if text, ok := v.text(); ok {
				word = strings.ToLower(text)
			}
		}
		switch {
		case word == "true", v.Lenient && word == "1":
			*to = true
		case word == "false", v.Lenient && word == "0":
			*to = false
		case v.Lenient && word == "":
		default:
			return v.must("true or false")
		}
		return nil
	}}
}

// Duration reads a duration within limits: a text such as "30s" or "1d12h", or
// a number of seconds.
func Duration(name string, to *time.Duration, least, most time.Duration) Field {
	return Field{Name: name, Read: func(v Value) error {
		if v.Lenient && v.empty() {
			return nil
		}
		d, ok := v.duration(most)
		if !ok || d < least || d > most {
			return v.must("a duration from %s to %s, such as %q", callbackd.FormatDuration(least), callbackd.FormatDuration(most),
				callbackd.FormatDuration(min(max(30*time.Second, least), most)))
		}
		*to = d
		return nil
	}}
}

func (v Value) duration(most time.Duration) (time.Duration, bool) {
	if digits, ok := v.number(); ok {
		if seconds, ok := float(digits); ok {
			return time.Duration(seconds * float64(time.Second)), seconds >= 0 && seconds <= most.Seconds()
		}
	}
	text, ok := v.text()
	if !ok {
		return 0, false
	}
	d, err := callbackd.ParseDuration(text)
	return d, err == nil
}

// browserTimes are what a browser's fields for a time and a date send, in UTC.
var browserTimes = []string{"2006-01-02T15:04", "2006-01-02"}

// leastSeconds is the least number that [Time] reads as seconds after 1970, in 1973, besides 0.
// Somebody who writes 2027 or 20270102 does not mean so many seconds: a cancellation since that
// time would cancel everything.
const leastSeconds = 100_000_000

// tooFewSeconds reports whether a text is a number that cannot be meant as seconds after 1970.
func tooFewSeconds(text string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil && n != 0 && n < leastSeconds
}

// lostPlus reports whether a text is a time whose offset had a +, which means a space in a
// query.
func lostPlus(text string) bool {
	at := strings.LastIndexByte(text, ' ')
	if at < 0 {
		return false
	}
	_, err := signature.ParseTimestamp(text[:at] + "+" + text[at+1:])
	return err == nil
}

// Time reads a time since 1970, in any form that [signature.ParseTimestamp]
// reads or that a browser sends.
func Time(name string, to *time.Time) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		if !ok {
			return v.must("a string")
		}
		if v.Lenient && text == "" {
			return nil
		}
		at, err := signature.ParseTimestamp(text)
		for _, layout := range browserTimes {
			if err == nil {
				break
			}
			at, err = time.Parse(layout, text)
		}
		if err != nil && v.Lenient && lostPlus(text) {
			return callbackd.Invalid("%s has a space where the + of the offset was. In a query, write + as %%2B.", v.Name)
		}
		if err != nil || at.Before(time.Unix(0, 0)) || tooFewSeconds(text) {
			return v.must("a time such as 2026-01-02T15:04:05Z, or Unix seconds")
		}
		*to = at
		return nil
	}}
}

// Instant reads one moment, as RFC 3339 writes it: a date, a time and an offset from UTC.
// It takes nothing that somebody could understand in another way, such as a time without an
// offset, and keeps milliseconds.
func Instant(name string, to *time.Time) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		var at time.Time
		// Go reads a comma before the fraction too.
		if !ok || strings.Contains(text, ",") || at.UnmarshalText([]byte(text)) != nil || at.Before(time.Unix(0, 0)) {
			return v.must("a time with an offset from UTC, as RFC 3339 writes it, such as 2026-01-02T15:04:05Z or 2026-01-02T17:04:05.250+02:00")
		}
		*to = at.UTC().Truncate(time.Millisecond)
		return nil
	}}
}

// Status reads the status of an answer, such as 404, or a class of them, such
// as 5xx, which is stored as its first digit.
func Status(name string, to *int) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		if v.Lenient && ok && text == "" {
			return nil
		}
		digits, class := strings.CutSuffix(strings.ToLower(text), "xx")
		n, err := strconv.Atoi(digits)
		least, most := 100, 599
		if class {
			least, most = 1, 5
		}
		if !ok || err != nil || n < least || n > most {
			return v.must("a status such as 404, or a class such as 5xx")
		}
		*to = n
		return nil
	}}
}

// ErrCursor refuses a cursor that no list gave.
var ErrCursor = callbackd.Invalid("Invalid cursor. Omit it to start from the first page.")

// Cursor reads the place in a list that an earlier page ended with.
func Cursor[T any](name string, to *T, parse func(string) (T, bool)) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, ok := v.text()
		if v.Lenient && ok && text == "" {
			return nil
		}
		at, valid := parse(text)
		if !ok || !valid {
			return ErrCursor
		}
		*to = at
		return nil
	}}
}

// Array reads an array of that many elements, each as element describes it.
func Array[T any](name string, to *[]T, least, most int, what string, element func(name string, to *T) Field) Field {
	return Field{Name: name, Read: func(v Value) error {
		items, err := strictjson.Array(v.JSON)
		if err != nil || len(items) < least || len(items) > most {
			return v.must("%s", what)
		}
		list := make([]T, len(items))
		for i, item := range items {
			f := element(name, &list[i])
			if err := f.Read(Value{Name: v.Name, JSON: item, Lenient: v.Lenient}); err != nil {
				return err
			}
		}
		*to = list
		return nil
	}}
}

// Raw reads any value of at most that many bytes and keeps it byte for byte.
func Raw[T ~[]byte](name string, to *T, most int) Field {
	return Field{Name: name, Read: func(v Value) error {
		if len(v.JSON) > most {
			return tooLarge(v.Name, most)
		}
		*to = bytes.Clone([]byte(v.JSON))
		return nil
	}}
}

// RawObject reads an object as [Value.Object] does and keeps its bytes.
func RawObject[T ~[]byte](name string, to *T, most int) Field {
	return Field{Name: name, Read: func(v Value) error {
		text, _, err := v.Object()
		if err != nil {
			return err
		}
		if len(text) > most {
			return tooLarge(v.Name, most)
		}
		*to = bytes.Clone([]byte(text))
		return nil
	}}
}

func tooLarge(name string, most int) error {
	return callbackd.Invalid("%s is larger than %s bytes.", name, humanize.Number(most))
}

// Object reads the value as an object the way PAVE's clients send one: as an
// object or a string that holds one. null and an empty array, which is PHP's
// empty object, have no members. It returns the bytes of the object as well.
func (v Value) Object() (strictjson.Value, Object, error) {
	text, members, err := strictjson.LenientObject(v.JSON)
	switch {
	case err == nil:
		o := Members(members)
		o.lenient = v.Lenient
		return text, o, nil
	case text.Kind() == '{':
		return nil, Object{}, callbackd.Invalid("%s %v.", v.Name, err)
	}
	return nil, Object{}, callbackd.Invalid("%s must be a JSON object, or a string that holds one.", v.Name)
}

// Nested reads the object called name, whose members messages call name.member.
// An absent one has no members.
func (o Object) Nested(name string) (Object, error) {
	v, ok := o.Get(name)
	if !ok {
		return Object{lenient: o.lenient}, nil
	}
	return v.Inner()
}

// Inner reads the value as an object whose members messages call v.Name.member.
func (v Value) Inner() (Object, error) {
	_, inner, err := v.Object()
	for i := range inner.members {
		inner.members[i].label = v.Name + "." + inner.members[i].name
	}
	return inner, err
}

// Adopt returns o with the members of outer that have one of the names: older clients
// send them next to the object. A member that stands in both places is refused.
func (o Object) Adopt(outer Object, names ...string) (Object, error) {
	members := slices.Clone(o.members)
	for _, m := range outer.members {
		if m.value.IsNull() || !slices.Contains(names, m.name) {
			continue
		}
		if inner, both := o.Get(m.name); both {
			return o, callbackd.Invalid("%s and %s are both given. Leave out %s.", inner.Name, m.label, m.label)
		}
		members = append(members, m)
	}
	o.members = members
	return o, nil
}

// Flatten returns the object with the members of its containers in their
// place: clients send both {"vehicle":{"vin":"…"}} and {"vin":"…"}. containers
// lists the names of containers by where they may stand; "" is the object
// itself. Of two members with one name the nested one counts. Members that
// are null are left out.
func (o Object) Flatten(containers map[string][]string) (Object, error) {
	flat := Object{lenient: o.lenient, refuse: o.refuse}
	err := flat.add(o, "", containers)
	return flat, err
}

func (o *Object) add(from Object, container string, containers map[string][]string) error {
	inside := containers[container]
	for _, m := range from.members {
		if !m.value.IsNull() && !slices.Contains(inside, m.name) {
			o.members = append(o.members, m)
		}
	}
	for _, m := range from.members {
		if m.value.IsNull() || !slices.Contains(inside, m.name) {
			continue
		}
		_, inner, err := Value{Name: m.label, JSON: m.value, Lenient: from.lenient}.Object()
		if err != nil {
			return err
		}
		if err := o.add(inner, m.name, containers); err != nil {
			return err
		}
	}
	return nil
}
