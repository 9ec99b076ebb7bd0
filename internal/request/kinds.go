package request

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
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
