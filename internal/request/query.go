package request

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"callbackd"
	"callbackd/internal/strictjson"
)

// Query reads the query of a request, which may have the known parameters, each
// once. It refuses any other: a filter with a typing error would answer with
// everything, and a selector with one would change something else.
func Query(raw string, known []string) (Object, error) {
	if raw == "" {
		return Object{lenient: true}, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Object{}, callbackd.Invalid("The query is malformed. Percent-encode its values.")
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return Object{}, UnknownParameter(name, known)
		}
		if len(all) > 1 {
			return Object{}, callbackd.Invalid("%s is given twice.", clipName(name))
		}
	}
	o := Values(values)
	o.refuse = UnknownParameter
	return o, nil
}

// UnknownParameter returns the error for a parameter that a query may not have.
func UnknownParameter(name string, known []string) error {
	if len(known) == 0 {
		return callbackd.Invalid("Unknown parameter %q. This call takes none.", clipName(name))
	}
	return callbackd.Invalid("Unknown parameter %q. This call takes %s.", clipName(name), List(known, "and"))
}

// Split returns the object with the text called name as an array of its words,
// which commas or spaces separate. A form has one field for a list.
func (o Object) Split(name string) Object {
	v, ok := o.Get(name)
	if !ok {
		return o
	}
	text, ok := v.JSON.Text()
	if !ok {
		return o
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	array := []byte{'['}
	for i, word := range words {
		if i > 0 {
			array = append(array, ',')
		}
		array = strictjson.AppendString(array, word)
	}
	return o.Append(Object{members: []member{{name: name, label: v.Name, value: append(array, ']')}}})
}

// Values returns the fields of a form or the parameters of a query as an
// object. Of several values with one name the first counts.
func Values(values url.Values) Object {
	o := Object{lenient: true}
	for name, all := range values {
		if len(all) == 0 {
			continue
		}
		o.members = append(o.members, member{name: name, label: name, value: strictjson.AppendString(nil, all[0])})
	}
	return o
}
