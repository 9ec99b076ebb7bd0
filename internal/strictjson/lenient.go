package strictjson

import (
	"bytes"
	"errors"
	"slices"
)

// LenientObject reads v as an object in the ways in which PAVE's clients write one: as an
// object, or as a string that holds one. No value, null and an empty array (PHP's empty
// object), in a string or not, count as an object without members. The first result is
// the text of the object itself.
func LenientObject(v Value) (Value, []Member, error) {
	v = bytes.Trim(v, space)
	if v.Kind() == '"' {
		text, err := wholeText(v)
		if err != nil {
			return v, nil, err
		}
		v = bytes.Trim(text, space)
		if len(v) > 0 && !v.IsNull() && v.Kind() != '{' && v.Kind() != '[' {
			return v, nil, errors.New("must be a JSON object")
		}
	}
	if len(v) == 0 || v.IsNull() || v.EmptyArray() {
		return Value("{}"), nil, nil
	}
	members, err := Object(v)
	return v, members, err
}

// space is JSON's white space.
const space = " \t\r\n"

// wholeText returns the text of a value that begins as a string. It fails when the value
// is not one string.
func wholeText(v Value) (Value, error) {
	items, err := Array(slices.Concat(Value("["), v, Value("]")))
	if err != nil {
		return nil, err
	}
	if len(items) != 1 {
		return nil, errors.New("has something after the end of the JSON value")
	}
	text, _ := items[0].Text()
	return Value(text), nil
}

// EmptyArray reports whether v is an array without elements.
func (v Value) EmptyArray() bool {
	return v.Kind() == '[' && string(bytes.Trim(v[1:], space)) == "]"
}
