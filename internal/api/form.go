package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"callbackd/internal/strictjson"
)

// Limits of a form.
const (
	maxFormFields = 1000
	maxFormDepth  = 10 // brackets in a name
)

// formField is one name and value of a form.
type formField struct{ name, text string }

// readForm reads a body that its content type calls a form. ok is false for
// anything else, JSON above all: curl calls every body a form unless it is
// told otherwise.
func readForm(contentType string, body []byte) (fields []formField, ok bool, err error) {
	kind, params, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-www-form-urlencoded":
		if text := bytes.TrimSpace(body); len(text) == 0 || strings.IndexByte(`{["`, text[0]) >= 0 || string(text) == "null" {
			return nil, false, nil
		}
		fields, err = readURLEncoded(string(body))
	case "multipart/form-data":
		fields, err = readMultipart(body, params["boundary"])
	default:
		return nil, false, nil
	}
	if err == nil && len(fields) > maxFormFields {
		err = invalid("The form has more than %d fields.", maxFormFields)
	}
	return fields, true, err
}

// readURLEncoded keeps the order of the fields, which url.ParseQuery does not.
func readURLEncoded(body string) (fields []formField, err error) {
	for pair := range strings.SplitSeq(strings.TrimSpace(body), "&") {
		if pair == "" {
			continue
		}
		name, text, _ := strings.Cut(pair, "=")
		var f formField
		if f.name, err = url.QueryUnescape(name); err == nil {
			f.text, err = url.QueryUnescape(text)
		}
		if err != nil {
			return nil, invalid("The form is malformed; percent-encode its names and values.")
		}
		if fields = append(fields, f); len(fields) > maxFormFields {
			break
		}
	}
	return fields, nil
}

func readMultipart(body []byte, boundary string) (fields []formField, err error) {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for len(fields) <= maxFormFields {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, invalid("The form is malformed: %v.", strings.TrimPrefix(err.Error(), "multipart: "))
		}
		if part.FileName() != "" {
			return nil, invalid("The form has a file, %q; send its text as a field.", clip(part.FileName(), 60))
		}
		text, err := io.ReadAll(part) // at most the body, which is in memory
		if err != nil {
			return nil, invalid("The form is malformed: the field %s ends in the middle.", clip(part.FormName(), 60))
		}
		fields = append(fields, formField{part.FormName(), string(text)})
	}
	return fields, nil
}

// formNode is a value of a form: a text, or what fields with brackets in
// their names make up.
type formNode struct {
	text     *string
	names    []string // in the order in which they came
	children map[string]*formNode
}

// formJSON is the JSON object that means the same as a form. Names nest as
// PHP writes them: headers[Authorization]=x, retry[]=0s, policy[rate]=5.
func formJSON(fields []formField) ([]byte, error) {
	root := &formNode{}
	for _, f := range fields {
		if !utf8.ValidString(f.name) || !utf8.ValidString(f.text) {
			return nil, invalid("The form is not valid UTF-8.")
		}
		path, err := formPath(f.name)
		if err != nil {
			return nil, err
		}
		if !root.set(path, f.text) {
			return nil, invalid("The form has %s twice, or both as text and with brackets.", clip(f.name, 60))
		}
	}
	return root.append(nil, nil), nil
}

// formPath splits a[b][] into a, b and an empty name.
func formPath(name string) ([]string, error) {
	first, rest, nested := strings.Cut(name, "[")
	if !nested || first == "" {
		return []string{name}, nil
	}
	path := []string{first}
	for part := range strings.SplitSeq(rest, "[") {
		inner, ok := strings.CutSuffix(part, "]")
		if !ok || strings.Contains(inner, "]") {
			return nil, invalid("The form has a field %q whose brackets do not match.", clip(name, 60))
		}
		path = append(path, inner)
	}
	if len(path) > maxFormDepth {
		return nil, invalid("The form has a field that nests deeper than %d levels.", maxFormDepth)
	}
	return path, nil
}

// set puts a text at a path; false when something else is there.
func (n *formNode) set(path []string, text string) bool {
	if len(path) == 0 {
		if n.text != nil || n.names != nil {
			return false
		}
		n.text = &text
		return true
	}
	if n.text != nil {
		return false
	}
	name := path[0]
	if name == "" {
		name = strconv.Itoa(len(n.names))
	}
	if n.children == nil {
		n.children = map[string]*formNode{}
	}
	child := n.children[name]
	if child == nil {
		child = &formNode{}
		n.children[name] = child
		n.names = append(n.names, name)
	}
	return child.set(path[1:], text)
}

// append writes the node that stands at a path as JSON.
func (n *formNode) append(dst []byte, path []string) []byte {
	if n.text != nil {
		return appendFormText(dst, path, *n.text)
	}
	list := len(path) > 0 && n.isList()
	begin, end := byte('{'), byte('}')
	if list {
		begin, end = '[', ']'
	}
	dst = append(dst, begin)
	for i, name := range n.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !list {
			dst = append(strictjson.AppendString(dst, name), ':')
		}
		dst = n.children[name].append(dst, append(slices.Clip(path), name))
	}
	return append(dst, end)
}

// isList tells whether the names are 0, 1, 2 and so on.
func (n *formNode) isList() bool {
	for i, name := range n.names {
		if name != strconv.Itoa(i) {
			return false
		}
	}
	return true
}

// A form has texts only. These members take numbers or true and false, beside
// url or in policy.
var (
	formNumbers = []string{"timeout", "retry", "order", "rate", "concurrency", "keep"}
	formFlags   = map[string]string{"1": "true", "0": "false", "true": "true", "false": "false"}
)

func appendFormText(dst []byte, path []string, text string) []byte {
	if len(path) > 1 && path[0] == "policy" {
		path = path[1:]
	}
	if slices.Contains(formNumbers, path[0]) {
		if _, err := strconv.ParseFloat(text, 64); err == nil && isJSON(text) {
			return append(dst, text...)
		}
	}
	if path[0] == "keep_alive" || path[0] == "dry_run" {
		if flag, ok := formFlags[text]; ok {
			return append(dst, flag...)
		}
	}
	return strictjson.AppendString(dst, text)
}

// isJSON tells whether text is a value as JSON spells it; Go reads more
// numbers than that.
func isJSON(text string) bool {
	_, err := strictjson.Array([]byte("[" + text + "]"))
	return err == nil
}
