package console

import (
	"net/url"

	"callbackd"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
)

// scope tells whose objects a page shows: those of the key that is signed in,
// or for the operator those of the key in ?key= or of all keys.
type scope struct {
	Keys     []callbackd.Key // the operator's choice; nil for a key holder
	APIKey   string          // the chosen key; empty for all
	KeyID    callbackd.KeyID // store.AllKeys for all
	Required bool            // the page needs one key
	Errors   formErrors      // of the page's form
}

// scope reads ?key=.
func (c *Console) scope(req *userRequest) (scope, error) {
	if !req.isOperator() {
		return scope{KeyID: req.key.ID, Errors: formErrors{}}, nil
	}
	keys, err := c.Store.ListKeys(req.Context())
	if err != nil {
		return scope{}, err
	}
	s := scope{Keys: keys, APIKey: req.FormValue("key"), Errors: formErrors{}}
	if s.APIKey == "" {
		return s, nil
	}
	for _, k := range keys {
		if k.APIKey == s.APIKey {
			s.KeyID = k.ID
			return s, nil
		}
	}
	return s, errPageNotFound
}

// key returns the key of the scope, or nil when it is all keys.
func (s scope) key(req *userRequest) *callbackd.Key {
	if !req.isOperator() {
		return req.key
	}
	if s.KeyID == store.AllKeys {
		return nil
	}
	return s.keyByID(s.KeyID)
}

func (s scope) keyByID(id callbackd.KeyID) *callbackd.Key {
	for i := range s.Keys {
		if s.Keys[i].ID == id {
			return &s.Keys[i]
		}
	}
	return nil
}

// owner names the key of an object in a list over all keys. It is empty in the
// list of one key.
func (s scope) owner(id callbackd.KeyID) string {
	if s.KeyID != store.AllKeys {
		return ""
	}
	k := s.keyByID(id)
	if k == nil {
		return ""
	}
	return s.KeyLabel(*k)
}

// KeyLabel names a key by its account and name. When another key has the same
// of both, the beginning of the API key is part of the label.
func (s scope) KeyLabel(k callbackd.Key) string {
	label := safetext.Clip(k.Account, 30)
	if k.Name != "" {
		label += " / " + safetext.Clip(k.Name, 30)
	}
	for _, other := range s.Keys {
		if other.ID != k.ID && other.Account == k.Account && other.Name == k.Name {
			return label + " (" + safetext.Clip(k.APIKey, 8) + ")"
		}
	}
	return label
}

// query returns the scope as parameters of an address.
func (s scope) query() url.Values {
	q := url.Values{}
	if s.APIKey != "" {
		q.Set("key", s.APIKey)
	}
	return q
}

// sessionHref returns the address of a session's page. Several API keys may use
// the same session key, so the operator's address names the API key.
func (s scope) sessionHref(key callbackd.KeyID, session string) string {
	q := url.Values{}
	if k := s.keyByID(key); k != nil {
		q.Set("key", k.APIKey)
	}
	return withValues(link("sessions", session), q)
}
