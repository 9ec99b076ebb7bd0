package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"callbackd/internal/openapi"
)

// document is what the generators need of the API's document.
type document struct {
	schemas    []openapi.Member
	received   []string // schemas of the bodies that receivers get
	operations []operation
}

// operation is one operation of the API.
type operation struct {
	id, method, path, summary string
	auth                      string // apiKey, operator, accessToken or none
	inPath, query             []parameter
	idempotency               bool
	body                      openapi.Value // the schema; absent when there is no body
	bodyRequired              bool
	answers                   []openapi.Value // schemas of JSON
	kind                      string          // json, text or stream
}

type parameter struct {
	name   string
	schema openapi.Value
	about  string
}

// identifier is a name that both languages take as it is.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const methods = "get put post delete patch"

// read reads a document. It fails for what the generators do not know.
func read(raw []byte) (*document, error) {
	root, err := openapi.Parse(raw)
	if err != nil {
		return nil, err
	}
	doc := &document{schemas: root.Get("components", "schemas").Members()}
	for _, item := range root.Get("webhooks").Members() {
		name := reference(item.Value.Get("post", "requestBody", "content", "application/json", "schema"))
		if name != "" && !slices.Contains(doc.received, name) {
			doc.received = append(doc.received, name)
		}
	}
	for _, item := range root.Get("paths").Members() {
		for _, m := range item.Value.Members() {
			if !slices.Contains(strings.Fields(methods), m.Name) {
				continue
			}
			op, err := readOperation(root, item, m)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", strings.ToUpper(m.Name), item.Name, err)
			}
			doc.operations = append(doc.operations, op)
		}
	}
	return doc, nil
}

func readOperation(root openapi.Value, item, m openapi.Member) (operation, error) {
	v := m.Value
	op := operation{id: v.Get("operationId").Text(), method: strings.ToUpper(m.Name), path: item.Name, summary: oneLine(v.Get("summary").Text()), auth: "apiKey"}
	if !identifier.MatchString(op.id) {
		return op, fmt.Errorf("the operationId %q is no identifier", op.id)
	}
	if security := v.Get("security"); security.Exists() {
		op.auth = "none"
		for _, s := range security.List() {
			op.auth = s.Members()[0].Name
		}
	}
	if !slices.Contains([]string{"apiKey", "operator", "accessToken", "none"}, op.auth) {
		return op, fmt.Errorf("the security scheme %s is not known", op.auth)
	}
	for _, p := range append(item.Value.Get("parameters").List(), v.Get("parameters").List()...) {
		if err := op.addParameter(p.Follow(root)); err != nil {
			return op, err
		}
	}
	if body := v.Get("requestBody").Follow(root); body.Exists() {
		if op.body = body.Get("content", "application/json", "schema"); !op.body.Exists() {
			return op, fmt.Errorf("the body is not JSON")
		}
		op.bodyRequired = body.Get("required").Text() == "true"
	}
	return op, op.readAnswers(root, v.Get("responses"))
}

func (op *operation) addParameter(p openapi.Value) error {
	one := parameter{p.Get("name").Text(), p.Get("schema"), oneLine(p.Get("description").Text())}
	switch in := p.Get("in").Text(); {
	case in == "header":
		// Of the other headers, Last-Event-ID says the same as the query's after.
		op.idempotency = op.idempotency || one.name == "Idempotency-Key"
		return nil
	case !identifier.MatchString(one.name) || one.name == "body" || one.name == "options":
		return fmt.Errorf("the parameter %q needs another name in a client", one.name)
	case in == "path":
		op.inPath = append(op.inPath, one)
	case in == "query" && p.Get("required").Text() != "true":
		op.query = append(op.query, one)
	default:
		return fmt.Errorf("a parameter %q that is required in %s is not known", one.name, in)
	}
	return nil
}

func (op *operation) readAnswers(root, responses openapi.Value) error {
	for _, r := range responses.Members() {
		if !strings.HasPrefix(r.Name, "2") {
			continue
		}
		for _, content := range r.Value.Follow(root).Get("content").Members() {
			kind := map[string]string{"application/json": "json", "text/plain": "text", "application/yaml": "text", "text/event-stream": "stream"}[content.Name]
			if kind == "" || op.kind != "" && op.kind != kind {
				return fmt.Errorf("an answer of the type %s is not known", content.Name)
			}
			op.kind = kind
			op.answers = append(op.answers, content.Value.Get("schema"))
		}
	}
	if op.kind == "" {
		return fmt.Errorf("there is no answer with a status of 2xx")
	}
	return nil
}

// reference returns the name of the schema that v refers to; empty when it is none.
func reference(v openapi.Value) string {
	return strings.TrimPrefix(v.Get("$ref").Text(), "#/components/schemas/")
}

// types returns the types of a schema without null, and whether it may be null.
func types(v openapi.Value) (out []string, null bool) {
	list := v.Get("type").List()
	if list == nil && v.Get("type").Exists() {
		list = []openapi.Value{v.Get("type")}
	}
	for _, t := range list {
		if t.Text() == "null" {
			null = true
		} else {
			out = append(out, t.Text())
		}
	}
	return out, null
}

// oneLine returns text with its lines joined.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// about returns what a schema says of itself, for a comment.
func about(v openapi.Value) string { return oneLine(v.Get("description").Text()) }
