package console

import (
	"callbackd"
)

// scope is whose objects a list shows: those of the key that is signed in,
// or, for the operator, of the key in ?key= or of all.
type scope struct {
	Keys   []callbackd.Key // the operator's choice; nil for a key holder
	Chosen string          // the API key's text
	No     callbackd.KeyNo // 0: all
	// MustChoose tells that the page cannot show all keys at once.
	MustChoose bool
	Wrong      wrong // what is wrong in the page's form
}

// scope reads ?key=.
func (c *Console) scope(v *visit) (scope, error) {
	if !v.operator() {
		return scope{No: v.key.No}, nil
	}
	keys, err := c.Store.ListKeys(v.Context())
	if err != nil {
		return scope{}, err
	}
	s := scope{Keys: keys, Chosen: v.FormValue("key")}
	if s.Chosen == "" {
		return s, nil
	}
	for _, k := range keys {
		if k.APIKey == s.Chosen {
			s.No = k.No
			return s, nil
		}
	}
	return s, errNoPage
}

// key is the chosen key; nil when none is.
func (s scope) key(v *visit) *callbackd.Key {
	if !v.operator() {
		return v.key
	}
	for i := range s.Keys {
		if s.Keys[i].No == s.No {
			return &s.Keys[i]
		}
	}
	return nil
}

// maxKeys bounds how many keys a list over all of them looks at.
const maxKeys = 50

// all is the number of the keys a list shows: of all there are, the newest
// maxKeys in force.
func (s scope) all() []callbackd.KeyNo {
	if s.No != 0 {
		return []callbackd.KeyNo{s.No}
	}
	var out []callbackd.KeyNo
	for i := len(s.Keys) - 1; i >= 0 && len(out) < maxKeys; i-- {
		if !s.Keys[i].Revoked() {
			out = append(out, s.Keys[i].No)
		}
	}
	return out
}

// Capped tells that a list does not show all keys.
func (s scope) Capped() bool { return s.No == 0 && len(s.Keys) > maxKeys }

// every is the number of every key in the scope, revoked ones included.
func (s scope) every() []callbackd.KeyNo {
	if s.No != 0 {
		return []callbackd.KeyNo{s.No}
	}
	out := make([]callbackd.KeyNo, len(s.Keys))
	for i := range s.Keys {
		out[i] = s.Keys[i].No
	}
	return out
}

// owner names the key with that number, for lists over several.
func (s scope) owner(no callbackd.KeyNo) string {
	if s.No != 0 {
		return ""
	}
	for _, k := range s.Keys {
		if k.No == no {
			return s.KeyLabel(k)
		}
	}
	return ""
}

// KeyLabel names a key by its account and name, and by how it begins too when
// another has the same of both.
func (s scope) KeyLabel(k callbackd.Key) string {
	label := clip(k.Account, 30)
	if k.Name != "" {
		label += " / " + clip(k.Name, 30)
	}
	for _, other := range s.Keys {
		if other.No != k.No && other.Account == k.Account && other.Name == k.Name {
			return label + " (" + clip(k.APIKey, 8) + ")"
		}
	}
	return label
}
