package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"callbackd/internal/strictjson"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// spec is openapi.yaml, against which every call of these tests is held: a
// request that was answered 2xx and every answer match their schemas, and the
// members of an answer come in the order in which the document lists them.
type spec struct {
	doc      *openapi3.T // as it is served
	requests *schemas    // with what the server reads besides: see lenient
	answers  *schemas    // without members that are not described: see closed
	root     *yaml.Node
	mux      *http.ServeMux // finds the document's path for a request
}

var document = load()

func load() *spec {
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		panic(err)
	}
	s := &spec{mux: http.NewServeMux()}
	if s.doc, err = openapi3.NewLoader().LoadFromData(raw); err != nil {
		panic(err)
	}
	s.requests, s.answers = newSchemas(raw, lenient), newSchemas(raw, closed)
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		panic(err)
	}
	s.root = root.Content[0]
	for _, p := range s.patterns() {
		if strings.HasSuffix(p, " /") {
			p += "{$}" // the root alone, not everything below it
		}
		s.mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
	}
	return s
}

// schemas is the document with a change of each of its objects. Each schema is
// compiled once, when it is first asked for.
type schemas struct {
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

// documentURL is where the compiler finds the document.
const documentURL = "https://callbackd.example/openapi.json"

func newSchemas(raw []byte, change func(any) any) *schemas {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(changed(raw, change)))
	if err != nil {
		panic(err)
	}
	s := &schemas{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	s.compiler.AssertFormat()
	if err := s.compiler.AddResource(documentURL, v); err != nil {
		panic(err)
	}
	return s
}

// check checks a JSON text against the schema that a JSON pointer leads to.
func (s *schemas) check(pointer string, text []byte) error {
	schema, err := s.compile(pointer)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func (s *schemas) compile(pointer string) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if schema := s.compiled[pointer]; schema != nil {
		return schema, nil
	}
	schema, err := s.compiler.Compile(documentURL + "#" + pointer)
	if err != nil {
		return nil, err
	}
	s.compiled[pointer] = schema
	return schema, nil
}

// changed is the document as JSON, after a change of each of its objects.
func changed(raw []byte, change func(any) any) []byte {
	var v any
	if err := yaml.Unmarshal(raw, &v); err != nil {
		panic(err)
	}
	text, err := json.Marshal(inside(v, change))
	if err != nil {
		panic(err)
	}
	return text
}

// inside applies change to every object, the inner ones first.
func inside(v any, change func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = inside(member, change)
		}
		return change(v)
	case []any:
		for i := range v {
			v[i] = inside(v[i], change)
		}
	}
	return v
}

// lenient widens a schema by the types of its x-also, and the members that it does not
// require by null: generators of clients cannot say "one of several types", so the
// document names one of them, and the others in x-also.
func lenient(v any) any {
	schema := v.(map[string]any)
	required, _ := schema["required"].([]any)
	members := described(schema)
	for name, member := range members {
		if !slices.Contains(required, any(name)) {
			members[name] = or(member, "null")
		}
	}
	if also, ok := schema["x-also"].([]any); ok {
		return or(schema, also...)
	}
	return schema
}

// or is a schema that a value of one of the types fits as well; "[]" is the
// empty array.
func or(schema any, types ...any) any {
	all := []any{schema}
	for _, t := range types {
		if t == "[]" {
			all = append(all, map[string]any{"type": "array", "maxItems": 0})
		} else {
			all = append(all, map[string]any{"type": t})
		}
	}
	return map[string]any{"anyOf": all}
}

// closed refuses members that an object's schema does not describe. The
// document leaves them open, so that a client made from it today takes the
// answers of a later version.
func closed(v any) any {
	schema := v.(map[string]any)
	members := described(schema)
	if _, stated := schema["additionalProperties"]; !stated && members != nil {
		schema["additionalProperties"] = false
	}
	for name, member := range members {
		// The validator judges schemas that refer to others by the rules of
		// OpenAPI 3.0, where "anything" does not include null.
		if m := member.(map[string]any); m["type"] == nil && m["$ref"] == nil {
			members[name] = or(m, "null")
		}
	}
	return schema
}

// described returns the members of an object's schema; nil for what is none.
func described(v map[string]any) map[string]any {
	types, _ := v["type"].([]any)
	if v["type"] != "object" && !slices.Contains(types, any("object")) {
		return nil
	}
	members, _ := v["properties"].(map[string]any)
	return members
}

// patterns is every operation as a pattern of the mux.
func (s *spec) patterns() (out []string) {
	for path, item := range s.doc.Paths.Map() {
		for method := range item.Operations() {
			out = append(out, method+" "+path)
		}
	}
	return out
}

// check holds one call against the document. A strict one must also be asked as
// the document has it.
func (s *spec) check(t *testing.T, req *http.Request, body string, strict bool, resp *http.Response, answer []byte) {
	t.Helper()
	at := fmt.Sprintf("%s %s (%d)", req.Method, req.URL.RequestURI(), resp.StatusCode)
	isJSON := resp.Header.Get("Content-Type") == "application/json"
	if !isJSON && resp.StatusCode != http.StatusOK {
		t.Errorf("%s is answered as %q", at, resp.Header.Get("Content-Type"))
	}
	req = withoutMoreSlashes(req)
	route := s.route(req)
	if route == nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is not in openapi.yaml", at)
		}
		s.ordered(t, at, s.at("components", "schemas", "Message"), answer)
		return
	}
	in := inputOf(route, req)
	operation := []string{"paths", route.Path, strings.ToLower(route.Method)}
	if strict && resp.StatusCode/100 == 2 {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s: the request was accepted, but openapi.yaml has: %v", at, err)
		}
		if err := s.requestBody(append(operation, "requestBody"), body); err != nil {
			t.Errorf("%s: the body was accepted, but openapi.yaml has: %v", at, err)
		}
	}
	if response := route.Operation.Responses.Status(resp.StatusCode); response != nil {
		described := slices.Collect(maps.Keys(response.Value.Headers))
		for name := range resp.Header {
			if !slices.ContainsFunc(append(described, generalHeaders...), func(d string) bool { return strings.EqualFold(d, name) }) {
				t.Errorf("%s: openapi.yaml does not have the header %s", at, name)
			}
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	if isJSON {
		schema := append(operation, "responses", fmt.Sprint(resp.StatusCode), "content", "application/json", "schema")
		if err := s.answers.check(s.pointer(schema...), answer); err != nil {
			t.Errorf("%s: the answer is not as in openapi.yaml: %v", at, err)
		}
		_, node := s.find(schema...)
		s.ordered(t, at, node, answer)
	}
}

// generalHeaders are about the message and mean the same in every answer. Idempotency-Replayed
// stands with the parameter Idempotency-Key: with a header in each answer, generators would
// wrap the types of all of them.
var generalHeaders = []string{"Idempotency-Replayed", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Vary", "X-Accel-Buffering", "X-Content-Type-Options"}

// withoutMoreSlashes is the request with the path that the document has: doubled
// slashes, and one at the end, make no difference.
func withoutMoreSlashes(req *http.Request) *http.Request {
	p := req.URL.EscapedPath()
	if !strings.Contains(p, "//") && !strings.HasSuffix(p, "/") {
		return req
	}
	req = req.Clone(req.Context())
	req.URL.Path = "/" + strings.Join(strings.FieldsFunc(req.URL.Path, func(c rune) bool { return c == '/' }), "/")
	return req
}

// route finds the operation that a request is for; nil when the document has none.
func (s *spec) route(req *http.Request) *routers.Route {
	if path.Clean(req.URL.Path) != req.URL.Path {
		return nil // the mux would clean it
	}
	_, pattern := s.mux.Handler(req)
	method, at, ok := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
	if !ok || method != req.Method {
		return nil
	}
	item := s.doc.Paths.Value(at)
	return &routers.Route{Spec: s.doc, Path: at, PathItem: item, Method: method, Operation: item.GetOperation(method)}
}

// inputOf is a request for the validator of everything but bodies. It would compile the
// schema of each body again.
func inputOf(route *routers.Route, req *http.Request) *openapi3filter.RequestValidationInput {
	in := &openapi3filter.RequestValidationInput{Request: req, Route: route, PathParams: map[string]string{}}
	in.Options = &openapi3filter.Options{IncludeResponseStatus: true, SkipSettingDefaults: true, ExcludeRequestBody: true, ExcludeResponseBody: true,
		AuthenticationFunc: func(_ context.Context, a *openapi3filter.AuthenticationInput) error {
			name := a.SecurityScheme.Name
			if a.SecurityScheme.Type == "http" {
				name = "Authorization"
			}
			if req.Header.Get(name) == "" {
				return a.NewError(nil)
			}
			return nil
		}}
	segments := strings.Split(req.URL.Path, "/")
	for i, name := range strings.Split(route.Path, "/") {
		if strings.HasPrefix(name, "{") && i < len(segments) {
			in.PathParams[strings.Trim(name, "{}")] = segments[i]
		}
	}
	return in
}

// requestBody checks a body against what the document has at a place.
func (s *spec) requestBody(at []string, body string) error {
	_, described := s.find(at...)
	if described == nil {
		return nil
	}
	if body == "" {
		if required := get(described, "required"); required != nil && required.Value == "true" {
			return errors.New("a body is required")
		}
		return nil
	}
	return s.requests.check(s.pointer(append(at, "content", "application/json", "schema")...), []byte(body))
}

// ordered checks the order of members, at every depth that the schema knows.
func (s *spec) ordered(t *testing.T, at string, schema *yaml.Node, raw []byte) {
	t.Helper()
	schema = s.deref(schema)
	value := strictjson.Value(bytes.TrimSpace(raw))
	switch value.Kind() {
	case '{':
		members, err := strictjson.Object(value)
		if err != nil {
			t.Errorf("%s: the answer %v", at, err)
			return
		}
		properties := s.deref(get(s.choose(schema, "object"), "properties"))
		last := -1
		for _, m := range members {
			i := index(properties, m.Name)
			if i < 0 {
				continue
			}
			if i < last {
				t.Errorf("%s: %s comes later than openapi.yaml has it", at, m.Name)
			}
			last = i
			s.ordered(t, at+" "+m.Name, properties.Content[i+1], m.Value)
		}
	case '[':
		items, err := strictjson.Array(value)
		if err != nil {
			t.Errorf("%s: the answer %v", at, err)
		}
		for _, item := range items {
			s.ordered(t, at, get(s.choose(schema, "array"), "items"), item)
		}
	}
}

// choose takes the branch of a oneOf that has the type.
func (s *spec) choose(schema *yaml.Node, typ string) *yaml.Node {
	branches := get(schema, "oneOf")
	if branches == nil {
		return schema
	}
	for _, b := range branches.Content {
		b = s.deref(b)
		if n := get(b, "type"); n != nil && n.Value == typ {
			return b
		}
	}
	return nil
}

func (s *spec) at(path ...string) *yaml.Node { return get(s.root, path...) }

// find walks down the document, through references. It returns the JSON pointer of
// what it finds too; the node is nil when there is nothing.
func (s *spec) find(path ...string) (pointer string, n *yaml.Node) {
	n = s.root
	for _, p := range path {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
		n = get(n, p)
		if ref := get(n, "$ref"); ref != nil {
			pointer, n = strings.TrimPrefix(ref.Value, "#"), s.deref(n)
		}
	}
	return pointer, n
}

// pointer is the JSON pointer of a place in the document.
func (s *spec) pointer(path ...string) string {
	pointer, _ := s.find(path...)
	return pointer
}

func (s *spec) deref(n *yaml.Node) *yaml.Node {
	if ref := get(n, "$ref"); ref != nil {
		return s.deref(s.at(strings.Split(strings.TrimPrefix(ref.Value, "#/"), "/")...))
	}
	return n
}

// get walks down mappings; nil when there is nothing.
func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, p := range path {
		i := index(n, p)
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

// index is the place of a key in a mapping; -1 when there is none.
func index(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func decode[T any](r reply) (out T) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), &out); err != nil {
		r.t.Fatalf("%v in %s", err, r.body)
	}
	return out
}
