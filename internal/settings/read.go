// Package settings reads and writes files with API keys and their callbacks, and plans the
// changes that make the stored settings like a file. It neither opens files nor knows a
// store: a plan is a function of a file and of the settings that there are.
//
// A secret in a file is a reference: {"keep": true} stands for what is stored,
// {"env": "NAME"} and {"file": "PATH"} for what the command that applies the file finds
// there, and {"value": "…"} is what such a command sends in their place.
package settings

import (
	"fmt"
	"strings"
	"unicode"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/safetext"
	"callbackd/internal/strictjson"
)

// Version is the version of the format.
const Version = 1

// MaxFile is how many bytes a file may have, as it is and as JSON. With what a call has
// around it, it fits into the body of a call.
const MaxFile = 1_000_000

// Lengths of the secret of an API key that a file gives, in bytes.
const (
	minKeySecret = 20
	maxKeySecret = 256
)

// File has the settings that a person wants.
type File struct{ keys []fileKey }

// fileKey is an API key of a file. A secret that is the mask is to be kept.
type fileKey struct {
	place     string
	key       callbackd.Key // APIKey and Secret may be empty
	callbacks []fileCallback
	// named is set when the file has the callbacks of the key, even if there are none.
	named bool
}

// fileCallback is a callback of a file. Secrets that are the mask are to be kept.
type fileCallback struct {
	place    string
	callback callbackd.Callback
	paused   *bool // nil: as it is
}

// Read reads a file as JSON. References to variables and files must have been resolved. The
// message of an error begins with the place of what is wrong, such as "In keys[0].callbacks[2]: ".
func Read(text []byte) (*File, error) {
	if len(text) > MaxFile {
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The settings have %d bytes. At most %d are allowed. Split them by account.", len(text), MaxFile)
	}
	plain, err := rewriteSecrets(text, secretText)
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(plain)
	if err != nil {
		return nil, callbackd.Invalid("The settings: the text %v.", err)
	}
	version, f := 0, &File{}
	var keys []strictjson.Value
	err = request.Members(members).Strict("A file of settings").Read(
		request.Whole("version", &version, Version, Version).Required(),
		values("keys", &keys).Required(),
	)
	if err != nil {
		return nil, callbackd.Invalid("The settings: %s", callbackd.Sentence(err))
	}
	for i, raw := range keys {
		k, err := readKey(fmt.Sprintf("keys[%d]", i), raw)
		if err != nil {
			return nil, err
		}
		for j := range f.keys {
			if err := k.apartFrom(&f.keys[j]); err != nil {
				return nil, err
			}
		}
		f.keys = append(f.keys, *k)
	}
	return f, nil
}

// apartFrom returns an error when another key of the file may be the same one.
func (k *fileKey) apartFrom(other *fileKey) error {
	switch {
	case k.key.APIKey != "" && other.key.APIKey != "":
		if k.key.APIKey == other.key.APIKey {
			return callbackd.Invalid("In %s: this is the same API key as %s.", k.place, other.place)
		}
	case k.key.Account == other.key.Account && k.key.Name == other.key.Name:
		return callbackd.Invalid("In %s: account and name are those of %s. Give both an api_key, or different names.", k.place, other.place)
	}
	return nil
}

// at puts a place before the message of an error.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	return callbackd.Errorf(callbackd.KindOf(err), "In %s: %s", place, callbackd.Sentence(err))
}

// values reads an array whose elements are read later.
func values(name string, to *[]strictjson.Value) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) (err error) {
		if *to, err = strictjson.Array(v.JSON); err != nil {
			return callbackd.Invalid("%s must be an array.", v.Name)
		}
		return nil
	}}
}

func readKey(place string, raw strictjson.Value) (*fileKey, error) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return nil, callbackd.Invalid("In %s: an API key %v.", place, err)
	}
	k := &fileKey{place: place, key: callbackd.Key{Live: true, TimeFrame: callbackd.DefaultTimeFrame}}
	var cbs []strictjson.Value
	body := request.Members(members)
	fields := []request.Field{
		request.Text("account", &k.key.Account, callbackd.MaxName).Required(),
		request.Flag("live", &k.key.Live),
		keyTextField("api_key", &k.key.APIKey).Optional(),
		keySecretField("secret", &k.key.Secret),
		values("callbacks", &cbs),
	}
	fields = append(append(fields, apikey.Fields(&k.key)...), callbacks.KeyPolicyField(&k.key.CallbackPolicy))
	if err := body.Strict("An API key").Read(fields...); err != nil {
		return nil, at(place, err)
	}
	if _, err := apikey.New(k.key.Account, k.key.Name, true, k.key.CreatedAt); err != nil {
		return nil, at(place, err)
	}
	k.named = body.Has("callbacks")
	for i, raw := range cbs {
		cb, err := readCallback(fmt.Sprintf("%s.callbacks[%d]", place, i), raw)
		if err != nil {
			return nil, err
		}
		k.callbacks = append(k.callbacks, *cb)
	}
	return k, nil
}

// keyTextField reads the text of an API key.
func keyTextField(name string, to *string) request.Field {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return request.Text(name, to, 100).Check(func(name string) error {
		if len(*to) < 8 || strings.Trim(*to, allowed) != "" {
			return callbackd.Invalid("%s must be 8 to 100 letters, digits, dots, hyphens or underscores. Leave it out to have one made.", name)
		}
		return nil
	})
}

func keySecretField(name string, to *callbackd.Secret) request.Field {
	return request.Text(name, to, maxKeySecret).Check(func(name string) error {
		text := to.Reveal()
		if text != callbackd.Mask && (len(text) < minKeySecret || !safetext.IsVisible(text) || strings.ContainsFunc(text, unicode.IsSpace)) {
			return callbackd.Invalid("%s must be %d to %d bytes of printable text without spaces. Leave it out to have one made.", name, minKeySecret, maxKeySecret)
		}
		return nil
	})
}

// callbackMembers are the members of a callback in a file.
var callbackMembers = []string{"event", "name", "url", "method", "headers", "payload", "policy", "secret", "paused"}

func readCallback(place string, raw strictjson.Value) (*fileCallback, error) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return nil, callbackd.Invalid("In %s: a callback %v.", place, err)
	}
	body := request.Members(members)
	var known []request.Field
	for _, name := range callbackMembers {
		known = append(known, request.Field{Name: name, Read: func(request.Value) error { return nil }})
	}
	if err := body.Strict("A callback").Read(known...); err != nil {
		return nil, at(place, err)
	}
	for _, name := range []string{"event", "url"} {
		if !body.Given(name) {
			return nil, at(place, request.Missing(name))
		}
	}
	out, paused := &fileCallback{place: place}, false
	// The policy of the key is for callbacks that are registered: a file has all of a policy.
	if out.callback, err = callbacks.Read(body, true, nil); err != nil {
		return nil, at(place, err)
	}
	if err := body.Read(request.Flag("paused", &paused)); err != nil {
		return nil, at(place, err)
	}
	if body.Has("paused") {
		out.paused = &paused
	}
	return out, nil
}
