package request

import (
	"slices"

	"callbackd"
	"callbackd/internal/strictjson"
)

// Object reads the value as an object the way PAVE's clients send one: as an
// object or a string that holds one. null and an empty array, which is PHP's
// empty object, have no members. It returns the bytes of the object as well.
func (v Value) Object() (strictjson.Value, Object, error) {
	text, members, err := strictjson.LenientObject(v.JSON)
	switch {
	case err == nil:
		o := Members(members)
		o.lenient = v.Lenient
		return text, o, nil
	case text.Kind() == '{':
		return nil, Object{}, callbackd.Invalid("%s %v.", v.Name, err)
	}
	return nil, Object{}, callbackd.Invalid("%s must be a JSON object, or a string that holds one.", v.Name)
}

// Nested reads the object called name, whose members messages call name.member.
// An absent one has no members.
func (o Object) Nested(name string) (Object, error) {
	v, ok := o.Get(name)
	if !ok {
		return Object{lenient: o.lenient}, nil
	}
	return v.Inner()
}

// Inner reads the value as an object whose members messages call v.Name.member.
func (v Value) Inner() (Object, error) {
	_, inner, err := v.Object()
	for i := range inner.members {
		inner.members[i].label = v.Name + "." + inner.members[i].name
	}
	return inner, err
}

// Adopt returns o with the members of outer that have one of the names: older clients
// send them next to the object. A member that stands in both places is refused.
func (o Object) Adopt(outer Object, names ...string) (Object, error) {
	members := slices.Clone(o.members)
	for _, m := range outer.members {
		if m.value.IsNull() || !slices.Contains(names, m.name) {
			continue
		}
		if inner, both := o.Get(m.name); both {
			return o, callbackd.Invalid("%s and %s are both given. Leave out %s.", inner.Name, m.label, m.label)
		}
		members = append(members, m)
	}
	o.members = members
	return o, nil
}

// Flatten returns the object with the members of its containers in their
// place: clients send both {"vehicle":{"vin":"…"}} and {"vin":"…"}. containers
// lists the names of containers by where they may stand; "" is the object
// itself. Of two members with one name the nested one counts. Members that
// are null are left out.
func (o Object) Flatten(containers map[string][]string) (Object, error) {
	flat := Object{lenient: o.lenient, refuse: o.refuse}
	err := flat.add(o, "", containers)
	return flat, err
}

func (o *Object) add(from Object, container string, containers map[string][]string) error {
	inside := containers[container]
	for _, m := range from.members {
		if !m.value.IsNull() && !slices.Contains(inside, m.name) {
			o.members = append(o.members, m)
		}
	}
	for _, m := range from.members {
		if m.value.IsNull() || !slices.Contains(inside, m.name) {
			continue
		}
		_, inner, err := Value{Name: m.label, JSON: m.value, Lenient: from.lenient}.Object()
		if err != nil {
			return err
		}
		if err := o.add(inner, m.name, containers); err != nil {
			return err
		}
	}
	return nil
}
