// Package request reads what callers send: the parameters of a query, the
// members of a JSON object, the fields of a form. The caller describes each
// field with its name, kind and limits, and the package reads it or refuses it
// with a sentence. API, console and command line share those sentences.
//
//	var q store.EventQuery
//	err := params.Read(
//		request.EventType("event", &q.Type),
//		request.Time("since", &q.Since),
//		request.Whole("limit", &q.Limit, 1, store.MaxPage),
//	)
//
// A field that is absent or null leaves its destination as it is: the value
// there is the default.
package request

import (
	"iter"
	"slices"

	"callbackd"
	"callbackd/internal/strictjson"
)

// Field describes one member of an object, or one parameter of a query.
type Field struct {
	Name string
	// Read stores a value that is neither absent nor null. It returns an error
	// of kind [callbackd.KindInvalid] for a value that the field cannot have.
	Read func(Value) error

	missing error // for a field that must be given
}

// Required returns the field as one that must be given. An empty text counts
// as absent.
func (f Field) Required() Field { return f.RequiredElse(Missing(f.Name)) }

// RequiredElse is [Field.Required] with the error for a field that is absent.
func (f Field) RequiredElse(missing error) Field {
	f.missing = missing
	return f
}

// IsRequired reports whether the field must be given.
func (f Field) IsRequired() bool { return f.missing != nil }

// Optional returns the field as one for which an empty text counts as absent.
func (f Field) Optional() Field {
	read := f.Read
	f.Read = func(v Value) error {
		if v.empty() {
			return nil
		}
		return read(v)
	}
	return f
}

// Private returns the field as one whose value is in no message, because it may be about a
// person: messages are kept in the log of calls.
func (f Field) Private() Field {
	read := f.Read
	f.Read = func(v Value) error {
		v.private = true
		return read(v)
	}
	return f
}

// Check returns the field with a further rule, which runs after a value was read
// and is told what messages call the field.
func (f Field) Check(rule func(name string) error) Field {
	read := f.Read
	f.Read = func(v Value) error {
		if err := read(v); err != nil {
			return err
		}
		return rule(v.Name)
	}
	return f
}

// Set reads one text as the field's value, for flags of a command line.
func (f Field) Set(text string) error {
	return f.Read(textValue(f.Name, text))
}

// Names returns the names of fields.
func Names(fields []Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// Value is what a caller sent for one field.
type Value struct {
	Name string // as messages call it
	JSON strictjson.Value
	// Lenient lets text stand for numbers and flags and a number for its text,
	// ignores space around text, and reads words in any case. Queries and forms
	// have nothing but text; PAVE's clients mix the types in sessions.
	Lenient bool
	private bool // the value is in no message
}

func textValue(name, text string) Value {
	return Value{Name: name, JSON: strictjson.AppendString(nil, text), Lenient: true}
}

// empty reports whether v is a text without content.
func (v Value) empty() bool {
	if !v.Lenient {
		return string(v.JSON) == `""`
	}
	text, ok := v.text()
	return ok && text == ""
}

// member is one member of an object.
type member struct {
	name  string
	label string // what messages call it
	value strictjson.Value
}

// Object holds the members that a caller sent. The zero value has none.
type Object struct {
	members []member
	lenient bool
	// refuse returns the error for a member that no field describes; nil
	// ignores such members.
	refuse func(name string, known []string) error
}

// Members returns the object with those members.
func Members(members []strictjson.Member) Object {
	o := Object{members: make([]member, 0, len(members))}
	for _, m := range members {
		o.members = append(o.members, member{name: m.Name, label: m.Name, value: m.Value})
	}
	return o
}

// Lenient returns the object with values that are read leniently, see [Value].
func (o Object) Lenient() Object {
	o.lenient = true
	return o
}

// Strict returns the object as one that refuses members which no field
// describes. what names such an object in messages, such as "A replay".
func (o Object) Strict(what string) Object {
	o.refuse = func(name string, known []string) error { return UnknownMember(what, name, known) }
	return o
}

// Append returns the object with the members of another one behind its own.
func (o Object) Append(other Object) Object {
	o.members = slices.Concat(o.members, other.members)
	return o
}

// Without returns the object without the members called name.
func (o Object) Without(name string) Object {
	o.members = slices.DeleteFunc(slices.Clone(o.members), func(m member) bool { return m.name == name })
	return o
}

// Len returns the number of members that are not null.
func (o Object) Len() int {
	n := 0
	for _, m := range o.members {
		if !m.value.IsNull() {
			n++
		}
	}
	return n
}

// Get returns the value of the member called name. When several have the
// name, the last one counts. ok is false when the member is absent or null.
func (o Object) Get(name string) (v Value, ok bool) {
	for _, m := range slices.Backward(o.members) {
		if m.name == name && !m.value.IsNull() {
			return Value{Name: m.label, JSON: m.value, Lenient: o.lenient}, true
		}
	}
	return v, false
}

// Has reports whether the member called name is there and not null.
func (o Object) Has(name string) bool {
	_, ok := o.Get(name)
	return ok
}

// Given reports whether the member called name is there and is neither null nor
// an empty text.
func (o Object) Given(name string) bool {
	v, ok := o.Get(name)
	return ok && !v.empty()
}

// Read reads the fields and returns the first error. Members that no field
// describes come first, then missing ones, then the others in the order of the
// fields.
func (o Object) Read(fields ...Field) error {
	for p := range o.problems(fields) {
		return p.Err
	}
	return nil
}

// Problem is what is wrong with one field.
type Problem struct {
	Field string
	Err   error
}

// ReadAll reads the fields and returns everything that is wrong, for a form
// that shows each error at its field.
func (o Object) ReadAll(fields ...Field) []Problem { return slices.Collect(o.problems(fields)) }

func (o Object) problems(fields []Field) iter.Seq[Problem] {
	return func(yield func(Problem) bool) {
		if name, err := o.unknown(fields); err != nil && !yield(Problem{name, err}) {
			return
		}
		for _, f := range fields {
			if f.missing != nil && !o.Given(f.Name) && !yield(Problem{f.Name, f.missing}) {
				return
			}
		}
		for _, f := range fields {
			v, ok := o.Get(f.Name)
			if !ok || f.missing != nil && v.empty() {
				continue
			}
			if err := f.Read(v); err != nil && !yield(Problem{f.Name, err}) {
				return
			}
		}
	}
}

// unknown returns the error for the first member that no field describes.
func (o Object) unknown(fields []Field) (string, error) {
	if o.refuse == nil {
		return "", nil
	}
	for _, m := range o.members {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == m.name }) {
			return m.name, o.refuse(m.name, Names(fields))
		}
	}
	return "", nil
}

// Missing returns the error for a required field that was not given.
func Missing(name string) error { return callbackd.Invalid("%s is missing.", name) }

// UnknownMember returns the error for a member that no field describes. what
// names the object, such as "A replay"; known are its members.
func UnknownMember(what, name string, known []string) error {
	return callbackd.Invalid("Unknown member %q. %s has %s.", clipName(name), what, List(known, "and"))
}

// clipName bounds a name that a message quotes.
func clipName(name string) string { return callbackd.Clip(name, 60) }
