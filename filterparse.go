package callbackd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ParseFilter reads a filter from JSON. name is what messages call it. It returns nil for
// an object without members, which chooses all events.
func ParseFilter(name string, text []byte) (*Filter, error) {
	if len(text) > MaxFilter {
		return nil, Invalid("%s has %d bytes. At most %d are allowed.", name, len(text), MaxFilter)
	}
	if !utf8.Valid(text) {
		return nil, Invalid("%s must be UTF-8.", name)
	}
	p := &filterParser{}
	members, err := membersOf(name, text)
	if err != nil || len(members) == 0 {
		return nil, err
	}
	root, err := p.filter(name, text, 1)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, Invalid("%s is not JSON: %v.", name, err)
	}
	return &Filter{text: compact.String(), root: root, terms: p.terms, usesSession: p.usesSession}, nil
}

// filterParser counts what has limits.
type filterParser struct {
	terms       int
	usesSession bool
}

// jsonMember is one member of an object.
type jsonMember struct {
	name  string
	value json.RawMessage
}

// membersOf reads the members of an object in their order.
func membersOf(name string, text []byte) (members []jsonMember, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	notObject := Invalid("%s must be a JSON object, such as {\"data.status\": {\"eq\": \"error\"}}.", name)
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !json.Valid(text) {
		return nil, notObject
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, notObject
		}
		var m jsonMember
		m.name, _ = t.(string)
		if err := d.Decode(&m.value); err != nil {
			return nil, notObject
		}
		members = append(members, m)
	}
	return members, nil
}

// filter reads a filter at a depth, the outermost of which is 1.
func (p *filterParser) filter(name string, text []byte, depth int) (condition, error) {
	if depth > MaxFilterDepth {
		return nil, Invalid("%s is nested too deep: at most %d filters may be within each other.", Clip(name, 120), MaxFilterDepth)
	}
	members, err := membersOf(name, text)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, Invalid("%s must not be empty. It has a path such as data.status, or all, any or not.", name)
	}
	var all allOf
	for _, m := range members {
		c, err := p.member(name+"."+Clip(m.name, 60), m, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, c...)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// member reads one member of a filter.
func (p *filterParser) member(name string, m jsonMember, depth int) (allOf, error) {
	switch m.name {
	case "all", "any":
		list, err := p.list(name, m.value, depth)
		if err == nil && m.name == "any" {
			list = []condition{newAnyOf(list)}
		}
		return list, err
	case "not":
		inner, err := p.filter(name, m.value, depth+1)
		if err != nil {
			return nil, err
		}
		return allOf{newNotOf(inner)}, nil
	}
	path, err := filterPath(name, m.name)
	if err != nil {
		return nil, err
	}
	p.usesSession = p.usesSession || path[0] == "session"
	operators, err := membersOf(name, m.value)
	if err != nil || len(operators) == 0 {
		return nil, Invalid("%s must be an object with operators (%s), such as {\"eq\": \"error\"}.", name, filterOperatorNames)
	}
	var all allOf
	for _, op := range operators {
		t, err := p.term(name+"."+Clip(op.name, 60), m.name, path, op)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (p *filterParser) list(name string, text []byte, depth int) (list []condition, err error) {
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil || len(items) == 0 {
		return nil, Invalid("%s must be an array with at least one filter.", name)
	}
	for i, item := range items {
		c, err := p.filter(fmt.Sprintf("%s.%d", name, i), item, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// term reads one operator at a path, which was written as at.
func (p *filterParser) term(name, at string, path []string, op jsonMember) (*filterTerm, error) {
	operator, known := filterOperators[op.name]
	if !known {
		return nil, Invalid("%s is not an operator. There are %s.", name, filterOperatorNames)
	}
	if p.terms++; p.terms > MaxFilterTerms {
		return nil, Invalid("%s is one operator too many. A filter has at most %d.", name, MaxFilterTerms)
	}
	operand, ok := decodeJSON(op.value)
	if !ok || !operator.valid(operand) {
		return nil, Invalid("%s must be %s.", name, operator.takes)
	}
	var written bytes.Buffer
	if err := json.Compact(&written, op.value); err != nil {
		return nil, Invalid("%s is not JSON: %v.", name, err)
	}
	t := &filterTerm{path: path, op: op.name, operand: operand, text: at + " " + op.name + " " + written.String()}
	switch op.name {
	case "eq", "ne":
		t.scalars = newScalarSet([]any{operand})
	case "in":
		t.scalars = newScalarSet(operand.([]any))
	}
	t.failed = Clip(t.text, maxFailedTerm)
	t.missing = t.failed + " (missing)"
	return t, nil
}

// filterOperators has what the operand of each operator must be.
var filterOperators = map[string]struct {
	takes string
	valid func(operand any) bool
}{
	"eq":     {"a text, a number, true, false or null", isScalar},
	"ne":     {"a text, a number, true, false or null", isScalar},
	"in":     {fmt.Sprintf("an array of 1 to %d texts, numbers, true, false or null", MaxFilterIn), isScalarList},
	"exists": {"true or false", isBool},
	"prefix": {"a text that is not empty", isPrefix},
	"lt":     {"a number", isComparable},
	"gt":     {"a number", isComparable},
}

const filterOperatorNames = "eq, ne, in, exists, prefix, lt and gt"

func isBool(operand any) bool   { _, ok := operand.(bool); return ok }
func isPrefix(operand any) bool { text, ok := operand.(string); return ok && text != "" }

func isComparable(operand any) bool {
	n, ok := operand.(json.Number)
	if ok {
		_, ok = readMagnitude(string(n))
	}
	return ok && len(n) <= maxFilterNumber
}

func isScalar(operand any) bool {
	switch v := operand.(type) {
	case nil, string, bool:
		return true
	case json.Number:
		return len(v) <= maxFilterNumber
	}
	return false
}

func isScalarList(operand any) bool {
	list, ok := operand.([]any)
	return ok && len(list) > 0 && len(list) <= MaxFilterIn && !slices.ContainsFunc(list, func(v any) bool { return !isScalar(v) })
}

// filterPath reads a path: its names, which are separated by dots.
func filterPath(name, text string) ([]string, error) {
	if len(text) > MaxFilterPath {
		return nil, Invalid("%s is too long: a path has at most %d bytes.", name, MaxFilterPath)
	}
	path := strings.Split(text, ".")
	if len(path) > MaxFilterNames {
		return nil, Invalid("%s is too long: a path has at most %d names.", name, MaxFilterNames)
	}
	switch {
	case slices.Contains(path, ""):
	case path[0] == "data" && len(path) > 1,
		path[0] == "session" && len(path) > 1 && path[1] == "reference",
		text == "session.status", text == "session.options.client_id":
		return path, nil
	}
	return nil, Invalid("%s is not a path. Paths are data.… (member names and numbers of array elements, separated by dots), session.status, session.reference.… and session.options.client_id; all, any and not have other filters.", name)
}
