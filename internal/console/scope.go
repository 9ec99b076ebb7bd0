package console

import (
	"callbackd"
)

// scope is whose objects a list shows: those of the key that is signed in,
// or, for the operator, of the key in ?key= or of all.
type scope struct {
	Keys   []callbackd.Key // the operator's choice; nil for a key holder
	Chosen string          // the API key's text
	No     callbackd.KeyID // 0: all
	// MustChoose tells that the page cannot show all keys at once.
	MustChoose bool
	Wrong      wrong // what is wrong in the page's form
}

// scope reads ?key=.
func (c *Console) scope(v *visit) (scope, error) {
	if !v.operator() {
		return scope{No: v.key.ID}, nil
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
			s.No = k.ID
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
		if s.Keys[i].ID == s.No {
			return &s.Keys[i]
		}
	}
	return nil
}

// maxKeys bounds how many keys a list over all of them looks at.
const maxKeys = 50

// all is the number of the keys a list shows: of all there are, the newest
// maxKeys in force.
func (s scope) all() []callbackd.KeyID {
	if s.No != 0 {
		return []callbackd.KeyID{s.No}
	}
	var out []callbackd.KeyID
	for i := len(s.Keys) - 1; i >= 0 && len(out) < maxKeys; i-- {
		if !s.Keys[i].Revoked() {
			out = append(out, s.Keys[i].ID)
		}
	}
	return out
}

// Capped tells that a list does not show all keys.
func (s scope) Capped() bool { return s.No == 0 && len(s.Keys) > maxKeys }

// every is the number of every key in the scope, revoked ones included.
func (s scope) every() []callbackd.KeyID {
	if s.No != 0 {
		return []callbackd.KeyID{s.No}
	}
	out := make([]callbackd.KeyID, len(s.Keys))
	for i := range s.Keys {
		out[i] = s.Keys[i].ID
	}
	return out
}

// owner names the key with that number, for lists over several.
func (s scope) owner(no callbackd.KeyID) string {
	if s.No != 0 {
		return ""
	}
	for _, k := range s.Keys {
		if k.ID == no {
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
		if other.ID != k.ID && other.Account == k.Account && other.Name == k.Name {
			return label + " (" + clip(k.APIKey, 8) + ")"
		}
	}
	return label
}
