package strictjson

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Same reports whether two JSON values are equal. The order of members, white space,
// escapes and the spelling of numbers make no difference. number returns one spelling
// for all spellings of a number.
func Same(a, b Value, number func(string) (string, bool)) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	if errX != nil || errY != nil {
		return bytes.Equal(a, b)
	}
	return same(x, y, number)
}

func decode(v Value) (out any, err error) {
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.UseNumber()
	err = dec.Decode(&out)
	return out, err
}

func same(a, b any, number func(string) (string, bool)) bool {
	equal := func(a, b any) bool { return same(a, b, number) }
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, _ := number(a.String())
		y, _ := number(b.String())
		return x == y
	}
	return a == b
}
