package callbackd

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Limits of a [Filter].
const (
	MaxFilter      = 8 << 10 // bytes
	MaxFilterDepth = 8       // filters within each other, by all, any and not
	MaxFilterTerms = 32      // operators in all of it
	MaxFilterPath  = 255     // bytes of a path
	MaxFilterNames = 16      // names of a path
	MaxFilterIn    = 100     // values of one "in"
	// MaxFilterSum limits the operators in all different filters of an API key's callbacks
	// for one event type: so many are judged at most when an event is accepted.
	MaxFilterSum = 400
)

// maxFailedTerm bounds the text of the term that failed. maxFilterNumber bounds the text
// of a number: a longer one in an event is equal to none, and neither less nor greater. Both
// are in bytes.
const (
	maxFailedTerm   = 120
	maxFilterNumber = 400
)

// Filter chooses the events that a callback gets, by their data and their session. It
// is a JSON object such as {"data.grade": {"lt": 3}}. All of its members must match: the
// operators at a path, and all, any and not, which have other filters.
type Filter struct {
	text        string
	root        condition
	terms       int // operators in all of it
	usesSession bool
}

// String returns the filter as compact JSON; "" for no filter.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// Equal reports whether two filters are written alike. Either may be nil.
func (f *Filter) Equal(g *Filter) bool { return f.String() == g.String() }

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
	anyOf struct {
		inner  []condition
		failed string
	}
	notOf struct {
		inner  condition
		failed string
	}
)

func newAnyOf(inner []condition) anyOf {
	return anyOf{inner, Clip("none of: "+joined(inner, "; "), maxFailedTerm)}
}

func newNotOf(inner condition) notOf {
	n := notOf{inner: inner}
	n.failed = Clip(n.String(), maxFailedTerm)
	return n
}

func (all allOf) judge(in *FilterInput) (string, bool) {
	for _, c := range all {
		if failed, ok := c.judge(in); !ok {
			return failed, false
		}
	}
	return "", true
}

func (a anyOf) judge(in *FilterInput) (string, bool) {
	for _, c := range a.inner {
		if _, ok := c.judge(in); ok {
			return "", true
		}
	}
	return a.failed, false
}

func (n notOf) judge(in *FilterInput) (string, bool) {
	if _, ok := n.inner.judge(in); ok {
		return n.failed, false
	}
	return "", true
}

func (all allOf) String() string { return joined(all, " and ") }
func (a anyOf) String() string   { return "(" + joined(a.inner, " or ") + ")" }
func (n notOf) String() string   { return "not (" + n.inner.String() + ")" }

func joined(conditions []condition, separator string) string {
	texts := make([]string, len(conditions))
	for i, c := range conditions {
		texts[i] = c.String()
	}
	return strings.Join(texts, separator)
}

// filterTerm is one operator at a path.
type filterTerm struct {
	path            []string
	op              string
	operand         any       // as it is decoded
	scalars         scalarSet // of the operand of eq, ne and in
	text            string    // in words
	failed, missing string    // what Match returns when the term fails, and when nothing is at the path
}

func (t *filterTerm) String() string { return t.text }

func (t *filterTerm) judge(in *FilterInput) (string, bool) {
	in.judged++
	v, found := in.lookup(t.path)
	switch {
	case !found && (t.op == "ne" || t.op == "exists" && t.operand == false):
		return "", true
	case !found:
		return t.missing, false
	case t.holds(v):
		return "", true
	}
	return t.failed, false
}

// holds reports whether the term holds for a value that is at its path.
func (t *filterTerm) holds(v any) bool {
	switch t.op {
	case "eq", "in":
		return t.scalars.has(v)
	case "ne":
		return !t.scalars.has(v)
	case "exists":
		return t.operand == true
	case "prefix":
		text, ok := v.(string)
		return ok && strings.HasPrefix(text, t.operand.(string))
	}
	n, ok := v.(json.Number)
	if !ok || len(n) > maxFilterNumber {
		return false
	}
	order, ok := compareNumbers(string(n), string(t.operand.(json.Number)))
	return ok && (order < 0 && t.op == "lt" || order > 0 && t.op == "gt")
}

// scalarSet is a set of texts, numbers by their value, true, false and null. To look into
// it costs the same for a large set, and for a large value.
type scalarSet struct {
	texts   map[string]bool
	longest int             // the length of the longest text
	numbers map[string]bool // by CanonicalNumber
	others  []any
}

func newScalarSet(values []any) scalarSet {
	s := scalarSet{texts: map[string]bool{}, numbers: map[string]bool{}}
	for _, v := range values {
		switch v := v.(type) {
		case string:
			s.texts[v], s.longest = true, max(s.longest, len(v))
		case json.Number:
			n, _ := CanonicalNumber(string(v))
			s.numbers[n] = true
		default:
			s.others = append(s.others, v)
		}
	}
	return s
}

func (s *scalarSet) has(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= s.longest && s.texts[v]
	case json.Number:
		if len(s.numbers) == 0 || len(v) > maxFilterNumber {
			return false
		}
		n, _ := CanonicalNumber(string(v))
		return s.numbers[n]
	case nil, bool:
		return slices.Contains(s.others, v)
	}
	return false
}

// FilterInput is what filters look at: the data of an event, and its session. The data is
// decoded once, when a filter first asks for it.
type FilterInput struct {
	Data    []byte   // a JSON object
	Session *Session // nil when none is stored

	data, reference decodedOnce
	judged          int // operators so far
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

// element returns the element of an array whose index a path names, without leading zeros, as
// [Fields] does.
func element(of []any, index string) (v any, found bool) {
	i, err := strconv.ParseUint(index, 10, 31)
	if err != nil || int(i) >= len(of) || len(index) > 1 && index[0] == '0' {
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
