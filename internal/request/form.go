package request

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/strictjson"
)

// Limits of a form.
const (
	maxFormFields = 1000
	maxFormDepth  = 10 // brackets in a name
)

// Body is a request's body as JSON.
type Body struct {
	JSON []byte
	// Form lists the names of the fields when the body was a form; nil when it
	// was JSON.
	Form []string
}

// formField is one name and value of a form.
type formField struct{ name, text string }

// ReadBody reads a body that is JSON or a form. Its content type tells a form,
// except for a body that begins as JSON does: curl calls every body a form
// unless it is told otherwise.
func ReadBody(contentType string, body []byte) (Body, error) {
	fields, isForm, err := readForm(contentType, body)
	if err != nil {
		return Body{}, err
	}
	if !isForm {
		return Body{JSON: body}, nil
	}
	out := Body{Form: make([]string, len(fields))}
	for i, f := range fields {
		out.Form[i] = f.name
	}
	out.JSON, err = formJSON(fields)
	return out, err
}

// Object reads the body as one object, as [Value.Object] does. text is the
// object itself, and nil when there is no body.
func (b Body) Object() (text strictjson.Value, o Object, err error) {
	if s := bytes.TrimSpace(b.JSON); len(s) == 0 || string(s) == "null" {
		return nil, Object{}, nil
	}
	text, members, err := strictjson.LenientObject(b.JSON)
	if err != nil {
		return nil, Object{}, callbackd.Invalid("The body %v.", err)
	}
	o = Members(members)
	o.lenient = b.Form != nil
	return text, o, nil
}

// IsForm reports whether a body is a form, by its content type and its beginning.
func IsForm(contentType string, body []byte) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "multipart/form-data" || kind == "application/x-www-form-urlencoded" && !looksLikeJSON(body)
}

func readForm(contentType string, body []byte) (fields []formField, isForm bool, err error) {
	kind, params, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-www-form-urlencoded":
		if looksLikeJSON(body) {
			return nil, false, nil
		}
		fields, err = readURLEncoded(string(body))
	case "multipart/form-data":
		fields, err = readMultipart(body, params["boundary"])
	default:
		return nil, false, nil
	}
	if err == nil && len(fields) > maxFormFields {
		err = callbackd.Invalid("The form has more than %s fields.", humanize.Number(maxFormFields))
	}
	return fields, true, err
}

func looksLikeJSON(body []byte) bool {
	text := bytes.TrimSpace(body)
	return len(text) == 0 || strings.IndexByte(`{["`, text[0]) >= 0 || string(text) == "null"
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
			return nil, callbackd.Invalid("The form is malformed. Percent-encode its names and values.")
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
			return nil, callbackd.Invalid("The form is malformed: %v.", strings.TrimPrefix(err.Error(), "multipart: "))
		}
		if part.FileName() != "" {
			return nil, callbackd.Invalid("The form has a file, %q. Send its text as a field.", callbackd.Clip(part.FileName(), 60))
		}
		text, err := io.ReadAll(part) // at most the body, which is in memory
		if err != nil {
			return nil, callbackd.Invalid("The form is malformed: the field %s ends in the middle.", callbackd.Clip(part.FormName(), 60))
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
			return nil, callbackd.Invalid("The form is not valid UTF-8.")
		}
		path, err := formPath(f.name)
		if err != nil {
			return nil, err
		}
		if !root.set(path, f.text) {
			return nil, callbackd.Invalid("The form has %s twice, or both as text and with brackets.", callbackd.Clip(f.name, 60))
		}
	}
	return root.append(nil, true), nil
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
			return nil, callbackd.Invalid("The form has a field %q whose brackets do not match.", callbackd.Clip(name, 60))
		}
		path = append(path, inner)
	}
	if len(path) > maxFormDepth {
		return nil, callbackd.Invalid("The form has a field that nests deeper than %d levels.", maxFormDepth)
	}
	return path, nil
}

// set puts a text at a path. It reports whether the place was free.
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

// append writes the node as JSON. Children that are named 0, 1, 2 and so on are
// an array, except those of the form itself.
func (n *formNode) append(dst []byte, isRoot bool) []byte {
	if n.text != nil {
		return strictjson.AppendString(dst, *n.text)
	}
	isArray := !isRoot && n.isArray()
	begin, end := byte('{'), byte('}')
	if isArray {
		begin, end = '[', ']'
	}
	dst = append(dst, begin)
	for i, name := range n.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !isArray {
			dst = append(strictjson.AppendString(dst, name), ':')
		}
		dst = n.children[name].append(dst, false)
	}
	return append(dst, end)
}

// isArray reports whether the names are 0, 1, 2 and so on.
func (n *formNode) isArray() bool {
	for i, name := range n.names {
		if name != strconv.Itoa(i) {
			return false
		}
	}
	return true
}
