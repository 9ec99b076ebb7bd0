// Package strictjson reads JSON that is passed on to others. It refuses everything that
// two readers could understand differently: duplicate member names, invalid UTF-8, lone
// surrogates and very deep nesting. RFC 8259 leaves these open, RFC 7493 forbids them.
// Values are returned byte for byte as they were sent.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep objects and arrays may nest. The outermost one counts.
const MaxDepth = 100

// Value is one JSON value, byte for byte as it was sent.
type Value []byte

// Member is one member of an object. Its value aliases the input.
type Member struct {
	Name  string
	Value Value
}

type decoder struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
}

var pool = sync.Pool{New: func() any { d := &decoder{}; d.dec = jsontext.NewDecoder(&d.buf); return d }}

// Object reads b as one object and returns its members in their order. It validates all
// of b.
func Object(b []byte) ([]Member, error) { return AppendObject(nil, b) }

// AppendObject does what [Object] does, and appends the members to dst, so that callers
// can reuse it.
func AppendObject(dst []Member, b []byte) ([]Member, error) {
	err := each(b, '{', func(name string, v Value) { dst = append(dst, Member{name, v}) })
	return dst, err
}

// Array reads b as one array. It validates all of b.
func Array(b []byte) ([]Value, error) {
	var out []Value
	err := each(b, '[', func(_ string, v Value) { out = append(out, v) })
	return out, err
}

func each(b []byte, open jsontext.Kind, f func(string, Value)) error {
	if err := checkDepth(b); err != nil {
		return err
	}
	d := pool.Get().(*decoder)
	defer func() {
		d.buf = bytes.Buffer{} // it aliases b
		pool.Put(d)
	}()
	d.buf = *bytes.NewBuffer(b)
	d.dec.Reset(&d.buf)
	if kind := d.dec.PeekKind(); kind != open {
		wanted := map[jsontext.Kind]string{'{': "object", '[': "array"}[open]
		if rest(b) == nil {
			return fmt.Errorf("is empty; it must be a JSON %s", wanted)
		}
		if _, err := d.dec.ReadValue(); err != nil {
			return explain(err)
		}
		return fmt.Errorf("must be a JSON %s", wanted)
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return explain(err)
	}
	for {
		switch d.dec.PeekKind() {
		case '}', ']':
			if _, err := d.dec.ReadToken(); err != nil {
				return explain(err)
			}
			return rest(b[d.dec.InputOffset():])
		}
		name := ""
		if open == '{' {
			tok, err := d.dec.ReadToken()
			if err != nil {
				return explain(err)
			}
			name = tok.String()
		}
		v, err := d.dec.ReadValue()
		if err != nil {
			return explain(err)
		}
		end := d.dec.InputOffset()
		f(name, b[end-int64(len(v)):end])
	}
}

func rest(b []byte) error {
	if len(bytes.TrimLeft(b, " \t\r\n")) > 0 {
		return errors.New("has something after the end of the JSON value")
	}
	return nil
}

// checkDepth limits the nesting before anything is parsed, so that no limit of the
// parser is reached.
func checkDepth(b []byte) error {
	if bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) <= MaxDepth {
		return nil // as in nearly all texts, and several times faster
	}
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("nests deeper than %d levels", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// explain returns the message of the parser without its name.
func explain(err error) error {
	text := strings.TrimPrefix(err.Error(), "jsontext: ")
	if strings.Contains(text, "EOF") {
		text = "ends in the middle"
	}
	// The zero bytes and the byte order mark are those of UTF-16.
	for _, sign := range []string{"invalid UTF-8", `'\x00'`, `'\xff'`, `'\xfe'`} {
		if strings.Contains(text, sign) {
			text += "; send it in UTF-8"
			break
		}
	}
	return fmt.Errorf("is not valid JSON: %s", text)
}

// Kind returns the first byte of v, which tells its kind: '{', '[', '"', 't', 'f' or
// 'n'. It returns '0' for every number, and 0 for an empty v.
func (v Value) Kind() byte {
	if len(v) == 0 {
		return 0
	}
	if c := v[0]; c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return v[0]
}

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return string(v) == "null" }

// Text returns the text of a JSON string. ok is false for any other value.
func (v Value) Text() (s string, ok bool) {
	if v.Kind() != '"' {
		return "", false
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	return s, json.Unmarshal(v, &s) == nil
}

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// Float returns a number as a float64. ok is false for any other value, and for numbers
// outside the range of a float64.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}
