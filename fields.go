package callbackd

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of [Fields].
const (
	MaxFields         = 8 << 10 // bytes
	MaxFieldPaths     = 100
	MaxFieldWildcards = 10 // paths with a wildcard; each is followed beside the others
)

// anyElement is the name in a path that stands for every element of an array. In an object
// it is a name like others.
const anyElement = "*"

// Fields chooses what a callback gets of an event's data: {"only": [paths]} or
// {"except": [paths]}. A path has names of members and numbers of array elements,
// separated by dots, such as vehicle.vin. In place of a number, * stands for all elements:
// photos.*.url.
type Fields struct {
	text   string
	except bool
	paths  fieldNode
}

// fieldNode is a name of the paths, with the names that follow it.
type fieldNode struct {
	ends bool // a path ends here
	next map[string]*fieldNode
}

// String returns the choice as compact JSON; "" for all fields.
func (f *Fields) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// Equal reports whether two choices are written alike. Either may be nil.
func (f *Fields) Equal(g *Fields) bool { return f.String() == g.String() }

// Of returns an object with the chosen members of data, in their order and byte for byte.
// f may be nil, which chooses all.
func (f *Fields) Of(data []byte) []byte {
	if f == nil {
		return data
	}
	out, _, ok := f.within(make([]byte, 0, len(data)), data, []*fieldNode{&f.paths})
	if !ok || out[0] != '{' {
		return []byte("{}")
	}
	return out
}

// within appends what is chosen of an object or an array to dst, and returns how many
// members or elements that are. ok is false when value is neither.
// at are the names that paths have reached.
func (f *Fields) within(dst, value []byte, at []*fieldNode) (out []byte, n int, ok bool) {
	d := json.NewDecoder(bytes.NewReader(value))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return dst, 0, false
	}
	dst = append(dst, byte(open.(json.Delim)))
	var room [MaxFieldWildcards + 1]*fieldNode
	for i := 0; d.More(); i++ {
		name, label := strconv.Itoa(i), []byte(nil)
		if open == json.Delim('{') {
			if name, label, err = memberName(d, value); err != nil {
				return dst, 0, false
			}
		}
		var inner json.RawMessage
		if err := d.Decode(&inner); err != nil {
			return dst, 0, false
		}
		before := len(dst)
		if n > 0 {
			dst = append(dst, ',')
		}
		dst, ok = f.member(append(dst, label...), inner, after(room[:0], at, name, open == json.Delim('[')))
		if !ok {
			dst = dst[:before]
			continue
		}
		n++
	}
	return append(dst, byte(open.(json.Delim))+2), n, true // } and ] come two after { and [
}

// after appends to dst the names that follow those of at for a member, or for an element of
// an array.
func after(dst, at []*fieldNode, name string, isElement bool) []*fieldNode {
	for _, node := range at {
		if next := node.next[name]; next != nil {
			dst = append(dst, next)
		}
		if next := node.next[anyElement]; next != nil && isElement {
			dst = append(dst, next)
		}
	}
	return dst
}

// memberName reads the name of the next member. label is the name as it is written, with
// the colon.
func memberName(d *json.Decoder, object []byte) (name string, label []byte, err error) {
	before := d.InputOffset()
	t, err := d.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = t.(string)
	written := bytes.TrimLeft(object[before:d.InputOffset()], ", \t\r\n")
	return name, append(slices.Clone(written), ':'), nil
}

// member appends what is chosen of a value. ok is false when nothing is.
func (f *Fields) member(dst, value []byte, at []*fieldNode) (out []byte, ok bool) {
	switch {
	case len(at) == 0: // no path leads here
		return append(dst, value...), f.except
	case slices.ContainsFunc(at, func(node *fieldNode) bool { return node.ends }):
		return append(dst, value...), !f.except
	}
	out, n, ok := f.within(dst, value, at)
	if !ok { // a path leads on from a value that has nothing within it
		return append(dst, value...), f.except
	}
	return out, f.except || n > 0
}

// ParseFields reads a choice of fields from JSON. name is what messages call it. It returns
// nil for an object without members, which chooses all.
func ParseFields(name string, text []byte) (*Fields, error) {
	if len(text) > MaxFields {
		return nil, Invalid("%s has %d bytes. At most %d are allowed.", name, len(text), MaxFields)
	}
	wrong := Invalid("%s must have one member, only or except, with an array of paths, such as {\"except\": [\"vehicle.vin\"]}.", name)
	members, err := membersOf(name, text)
	switch {
	case err != nil || !utf8.Valid(text) || len(members) > 1:
		return nil, wrong
	case len(members) == 0:
		return nil, nil
	}
	m := members[0]
	var paths []string
	if m.name != "only" && m.name != "except" || json.Unmarshal(m.value, &paths) != nil || paths == nil {
		return nil, wrong
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, wrong
	}
	f := &Fields{text: compact.String(), except: m.name == "except"}
	return f, f.addPaths(name+"."+m.name, paths)
}

// addPaths adds the paths of a member that messages call name.
func (f *Fields) addPaths(name string, paths []string) error {
	if len(paths) > MaxFieldPaths || f.except && len(paths) == 0 {
		return Invalid("%s has %d paths. At most %d are allowed, and except needs one.", name, len(paths), MaxFieldPaths)
	}
	wildcards := 0
	for _, path := range paths {
		names := strings.Split(path, ".")
		if slices.Contains(names, anyElement) {
			wildcards++
		}
		if len(path) > MaxFilterPath || slices.Contains(names, "") {
			return Invalid("%s has %q, which is not a path: it must be names of members of data, separated by dots, of at most %d bytes, such as vehicle.vin.", name, Clip(path, 60), MaxFilterPath)
		}
		f.paths.add(names)
	}
	if wildcards > MaxFieldWildcards {
		return Invalid("%s has %d paths with *. At most %d are allowed.", name, wildcards, MaxFieldWildcards)
	}
	return nil
}

// add adds a path.
func (n *fieldNode) add(names []string) {
	for _, name := range names {
		next := n.next[name]
		if next == nil {
			if n.next == nil {
				n.next = map[string]*fieldNode{}
			}
			next = &fieldNode{}
			n.next[name] = next
		}
		n = next
	}
	n.ends = true
}
