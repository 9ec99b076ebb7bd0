package settings

import (
	"fmt"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"
)

// spots says where secrets are in a file: a tree of the names of members, where "[]" is
// each element of an array and "*" any member. nil is a secret.
type spots map[string]spots

var secretSpots = spots{"keys": {"[]": {
	"secret": nil,
	"callbacks": {"[]": {
		"secret":  nil,
		"headers": {"*": nil},
		"policy": {"auth": {
			"oauth2": {"client_secret": nil}, "basic": {"password": nil}, "bearer": {"token": nil}, "tls": {"key": nil},
		}},
	}},
}}}

// rewriteSecrets returns a file with what replace makes of each secret. What is no object or
// array where one must be stays as it is.
func rewriteSecrets(text []byte, replace func(place string, v strictjson.Value) (strictjson.Value, error)) ([]byte, error) {
	return rewrite(nil, text, "", secretSpots, replace)
}

func rewrite(dst []byte, v strictjson.Value, place string, in spots, replace func(string, strictjson.Value) (strictjson.Value, error)) ([]byte, error) {
	if in == nil {
		next, err := replace(place, v)
		return append(dst, next...), err
	}
	if each, isArray := in["[]"]; isArray {
		return rewriteArray(dst, v, place, each, replace)
	}
	members, err := strictjson.Object(v)
	if err != nil {
		return append(dst, v...), nil // who reads it says what is wrong
	}
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strictjson.AppendString(dst, m.Name), ':')
		inner, known := in[m.Name]
		if any, ok := in["*"]; ok && !known {
			inner, known = any, true
		}
		if !known || m.Value.IsNull() {
			dst = append(dst, m.Value...)
			continue
		}
		if dst, err = rewrite(dst, m.Value, member(place, m.Name), inner, replace); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func rewriteArray(dst []byte, v strictjson.Value, place string, in spots, replace func(string, strictjson.Value) (strictjson.Value, error)) ([]byte, error) {
	items, err := strictjson.Array(v)
	if err != nil {
		return append(dst, v...), nil
	}
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = rewrite(dst, item, fmt.Sprintf("%s[%d]", place, i), in, replace); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func member(place, name string) string {
	if place == "" {
		return name
	}
	return place + "." + name
}

// reference is what stands in a file in place of a secret. One member is set.
type reference struct {
	Keep             bool
	Env, File, Value string
}

// readReference reads a reference. isText is true for a text, which only the value of a
// header may be.
func readReference(place string, v strictjson.Value) (r reference, isText bool, err error) {
	wrong := callbackd.Invalid(`In %s: a secret must be {"env": "NAME"}, {"file": "PATH"}, or {"keep": true} for the one that is stored.`, place)
	members, err := strictjson.Object(v)
	if err != nil {
		if v.Kind() == '{' || v.Kind() == '[' {
			return r, false, wrong
		}
		return r, true, nil
	}
	err = request.Members(members).Strict("A reference").Read(
		request.Flag("keep", &r.Keep), request.Text("env", &r.Env, callbackd.MaxURL), request.Text("file", &r.File, callbackd.MaxURL), request.Text("value", &r.Value, MaxFile),
	)
	if err != nil {
		return r, false, at(place, err)
	}
	if len(members) != 1 || r == (reference{}) {
		return r, false, wrong
	}
	return r, false, nil
}

// isHeader reports whether a place is the value of a header.
func isHeader(place string) bool {
	var key, cb int
	var name string
	n, _ := fmt.Sscanf(place, "keys[%d].callbacks[%d].headers.%s", &key, &cb, &name)
	return n == 3
}

// secretText returns the text that a secret is, or the mask when it is to be kept.
func secretText(place string, v strictjson.Value) (strictjson.Value, error) {
	r, isText, err := readReference(place, v)
	switch {
	case err != nil:
		return nil, err
	case isText && isHeader(place):
		return v, nil
	case isText:
		return nil, callbackd.Invalid(`In %s: a secret must not stand in the file. Write {"env": "NAME"}, {"file": "PATH"}, or {"keep": true} for the one that is stored.`, place)
	case r.Keep:
		return strictjson.AppendString(nil, callbackd.Mask), nil
	case r.Env != "" || r.File != "":
		return nil, callbackd.Invalid(`In %s: the server reads no variables and files. callbackd apply reads them and sends {"value": "…"}.`, place)
	}
	return strictjson.AppendString(nil, r.Value), nil
}
