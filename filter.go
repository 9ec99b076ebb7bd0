package callbackd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a [Filter].
const (
	MaxFilter      = 8 << 10 // bytes
	MaxFilterDepth = 8       // filters within each other, by all, any and not
	MaxFilterTerms = 64      // operators in all of it
	MaxFilterPath  = 255     // bytes of a path
	MaxFilterIn    = 100     // values of one "in"
)

// maxFailedTerm bounds the text of the term that failed, in bytes.
const maxFailedTerm = 200

// Filter chooses the events that a callback gets, by their data and their session. It
// is a JSON object such as {"data.grade": {"lt": 3}}. All of its members must match: the
// operators at a path, and all, any and not, which have other filters.
type Filter struct {
	text        string
	root        condition
	usesSession bool
}

// String returns the filter as compact JSON; "" for no filter.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// UsesSession reports whether the filter has a path of the session.
func (f *Filter) UsesSession() bool { return f.usesSession }

// Match reports whether the filter matches. If not, failed says which of its terms did
// not, such as "data.grade lt 3". It has no values of the event.
func (f *Filter) Match(in *FilterInput) (failed string, ok bool) { return f.root.judge(in) }

// A condition is a part of a filter.
type condition interface {
	judge(in *FilterInput) (failed string, ok bool)
	String() string // in words, for people
}

type (
	allOf []condition
	anyOf []condition
	notOf struct{ inner condition }
)

func (all allOf) judge(in *FilterInput) (string, bool) {
	for _, c := range all {
		if failed, ok := c.judge(in); !ok {
			return failed, false
		}
	}
	return "", true
}

func (all allOf) String() string { return joined(all, " and ") }

func (a anyOf) judge(in *FilterInput) (string, bool) {
	for _, c := range a {
		if _, ok := c.judge(in); ok {
			return "", true
		}
	}
	return Clip("none of: "+joined(a, "; "), maxFailedTerm), false
}

func (a anyOf) String() string { return "(" + joined(a, " or ") + ")" }

func (n notOf) judge(in *FilterInput) (string, bool) {
	if _, ok := n.inner.judge(in); ok {
		return Clip(n.String(), maxFailedTerm), false
	}
	return "", true
}

func (n notOf) String() string { return "not (" + n.inner.String() + ")" }

func joined(conditions []condition, separator string) string {
	texts := make([]string, len(conditions))
	for i, c := range conditions {
		texts[i] = c.String()
	}
	return strings.Join(texts, separator)
}

// filterTerm is one operator at a path.
type filterTerm struct {
	path    []string
	op      string
	operand any    // string, json.Number, bool, nil, or []any of these for "in"
	text    string // in words
}

func (t *filterTerm) String() string { return t.text }

func (t *filterTerm) judge(in *FilterInput) (string, bool) {
	v, found := in.lookup(t.path)
	switch {
	case !found && (t.op == "ne" || t.op == "exists" && t.operand == false):
		return "", true
	case !found:
		return Clip(t.text, maxFailedTerm) + " (missing)", false
	case filterOperators[t.op].holds(v, t.operand):
		return "", true
	}
	return Clip(t.text, maxFailedTerm), false
}

// filterOperators has, for each operator, what its operand must be, and whether it holds
// for a value that is there.
var filterOperators = map[string]struct {
	takes string
	valid func(operand any) bool
	holds func(v, operand any) bool
}{
	"eq":     {"a text, a number, true, false or null", isScalar, sameScalar},
	"ne":     {"a text, a number, true, false or null", isScalar, func(v, operand any) bool { return !sameScalar(v, operand) }},
	"in":     {fmt.Sprintf("an array of 1 to %d texts, numbers, true, false or null", MaxFilterIn), isScalarList, isAmong},
	"exists": {"true or false", isBool, func(_, operand any) bool { return operand == true }},
	"prefix": {"a text that is not empty", isPrefix, hasPrefix},
	"lt":     {"a number", isNumber, func(v, operand any) bool { order, ok := compareValues(v, operand); return ok && order < 0 }},
	"gt":     {"a number", isNumber, func(v, operand any) bool { order, ok := compareValues(v, operand); return ok && order > 0 }},
}

const filterOperatorNames = "eq, ne, in, exists, prefix, lt and gt"

func isBool(operand any) bool   { _, ok := operand.(bool); return ok }
func isPrefix(operand any) bool { text, ok := operand.(string); return ok && text != "" }

// isNumber reports whether operand is a number that others can be compared with.
func isNumber(operand any) bool {
	n, ok := operand.(json.Number)
	if ok {
		_, ok = readMagnitude(string(n))
	}
	return ok
}

func isScalar(operand any) bool {
	switch operand.(type) {
	case nil, string, bool, json.Number:
		return true
	}
	return false
}

func isScalarList(operand any) bool {
	list, ok := operand.([]any)
	return ok && len(list) > 0 && len(list) <= MaxFilterIn && !slices.ContainsFunc(list, func(v any) bool { return !isScalar(v) })
}

// sameScalar compares numbers by value.
func sameScalar(v, operand any) bool {
	a, isNumber := v.(json.Number)
	b, isToo := operand.(json.Number)
	if isNumber && isToo {
		x, _ := CanonicalNumber(string(a))
		y, _ := CanonicalNumber(string(b))
		return x == y
	}
	return isScalar(v) && v == operand
}

func isAmong(v, operand any) bool {
	return slices.ContainsFunc(operand.([]any), func(one any) bool { return sameScalar(v, one) })
}

func hasPrefix(v, operand any) bool {
	text, ok := v.(string)
	return ok && strings.HasPrefix(text, operand.(string))
}

func compareValues(v, operand any) (order int, ok bool) {
	a, isNumber := v.(json.Number)
	if !isNumber {
		return 0, false
	}
	return compareNumbers(string(a), string(operand.(json.Number)))
}

// FilterInput is what filters look at: the data of an event, and its session. The data is
// decoded once, when a filter first asks for it.
type FilterInput struct {
	Data    []byte   // a JSON object
	Session *Session // nil when none is stored

	data, reference decodedOnce
}

// decodedOnce is a JSON text that is decoded when it is first needed.
type decodedOnce struct {
	v        any
	done, ok bool
}

func (d *decodedOnce) of(text []byte) (v any, ok bool) {
	if !d.done {
		d.v, d.ok = decodeJSON(text)
		d.done = true
	}
	return d.v, d.ok
}

// lookup returns the value at a path. A whole number is the index of an array.
func (in *FilterInput) lookup(path []string) (v any, found bool) {
	v, found = in.base(&path)
	for _, name := range path {
		if !found {
			return nil, false
		}
		switch of := v.(type) {
		case map[string]any:
			v, found = of[name]
		case []any:
			v, found = element(of, name)
		default:
			found = false
		}
	}
	return v, found
}

// element returns the element of an array whose index a path names.
func element(of []any, index string) (v any, found bool) {
	i, err := strconv.ParseUint(index, 10, 31)
	if err != nil || int(i) >= len(of) {
		return nil, false
	}
	return of[i], true
}

// base returns the value that a path begins at, and cuts the names that lead to it.
func (in *FilterInput) base(path *[]string) (any, bool) {
	names := *path
	if names[0] == "data" {
		*path = names[1:]
		return in.data.of(in.Data)
	}
	s := in.Session
	if s == nil {
		return nil, false
	}
	switch *path = names[2:]; names[1] {
	case "status":
		return string(s.Status), true
	case "options": // the only one is client_id
		*path = nil
		return s.ClientID, s.ClientID != ""
	}
	return in.reference.of(s.Reference)
}

func decodeJSON(text []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return v, len(text) > 0 && d.Decode(&v) == nil
}
