package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/egress"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/wire"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// spec is openapi.yaml, against which every call of these tests is held: a
// request that was answered 2xx and every answer match their schemas, and the
// members of an answer come in the order in which the document lists them.
type spec struct {
	doc  *openapi3.T
	root *yaml.Node
	mux  *http.ServeMux // finds the document's path for a request
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
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		panic(err)
	}
	s.root = root.Content[0]
	for _, p := range s.patterns() {
		s.mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
	}
	return s
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

func (s *spec) check(t *testing.T, req *http.Request, body string, strict bool, resp *http.Response, answer []byte) {
	t.Helper()
	at := fmt.Sprintf("%s %s (%d)", req.Method, req.URL.RequestURI(), resp.StatusCode)
	isJSON := resp.Header.Get("Content-Type") == "application/json"
	if !isJSON && resp.StatusCode != http.StatusOK {
		t.Errorf("%s is answered as %q", at, resp.Header.Get("Content-Type"))
	}
	in := &openapi3filter.RequestValidationInput{Request: req.Clone(t.Context()), PathParams: map[string]string{}}
	in.Request.Body = io.NopCloser(strings.NewReader(body))
	in.Request.Header.Set("Content-Type", "application/json")
	in.Options = &openapi3filter.Options{IncludeResponseStatus: true, SkipSettingDefaults: true, ExcludeResponseBody: !isJSON,
		AuthenticationFunc: func(_ context.Context, a *openapi3filter.AuthenticationInput) error {
			if req.Header.Get(a.SecurityScheme.Name) == "" {
				return a.NewError(nil)
			}
			return nil
		}}
	_, pattern := s.mux.Handler(req)
	if path.Clean(req.URL.Path) != req.URL.Path {
		pattern = "" // the mux would clean it
	}
	method, route, ok := strings.Cut(pattern, " ")
	if !ok || method != req.Method {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is not in openapi.yaml", at)
		}
		s.ordered(t, at, s.at("components", "schemas", "Message"), answer)
		return
	}
	item := s.doc.Paths.Value(route)
	in.Route = &routers.Route{Spec: s.doc, Path: route, PathItem: item, Method: method, Operation: item.GetOperation(method)}
	segments := strings.Split(req.URL.Path, "/")
	for i, name := range strings.Split(route, "/") {
		if strings.HasPrefix(name, "{") && i < len(segments) {
			in.PathParams[strings.Trim(name, "{}")] = segments[i]
		}
	}
	if strict && resp.StatusCode/100 == 2 {
		if body == "" {
			in.Request.Body, in.Request.ContentLength = http.NoBody, 0
		}
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s: the request was accepted, but openapi.yaml has: %v", at, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options}
	out.SetBodyBytes(answer)
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: %v", at, err)
	}
	if isJSON {
		r := s.deref(get(s.at("paths", route, strings.ToLower(method), "responses"), fmt.Sprint(resp.StatusCode)))
		s.ordered(t, at, get(r, "content", "application/json", "schema"), answer)
	}
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

// The document is valid OpenAPI 3.1, and its examples are valid by its
// schemas.
func TestTheDocumentIsValid(t *testing.T) {
	if err := document.doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	for _, p := range document.patterns() {
		method, path, _ := strings.Cut(p, " ")
		for status, r := range document.doc.Paths.Value(path).GetOperation(method).Responses.Map() {
			for typ, media := range r.Value.Content {
				if media.Example == nil && len(media.Examples) == 0 {
					t.Errorf("%s %s: %s has no example", p, status, typ)
				}
			}
		}
	}
}

// Every route is in the document and nothing else is, and the document knows
// which are open.
func TestTheDocumentHasEveryRoute(t *testing.T) {
	s := start(t)
	want, got := slices.Sorted(slices.Values(s.api.Patterns())), slices.Sorted(slices.Values(document.patterns()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("openapi.yaml differs from the routes (-routes +document):\n%s", diff)
	}
	for _, p := range got {
		method, path, _ := strings.Cut(p, " ")
		op := document.doc.Paths.Value(path).GetOperation(method)
		if open := op.Security != nil && len(*op.Security) == 0; open == (strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/")) {
			t.Errorf("%s: open is %v", p, open)
		}
		if strings.HasPrefix(path, "/v1/") && (op.Responses.Status(401) == nil || op.Responses.Status(503) == nil) {
			t.Errorf("%s lacks 401 or 503", p)
		}
	}
}

func TestTheDocumentIsServed(t *testing.T) {
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := start(t).call("GET", "/openapi.yaml", "").ok(200)
	if r.body != string(raw) || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d bytes as %s", len(r.body), r.header.Get("Content-Type"))
	}
}

// The limits and defaults that the document states are those of the code.
func TestTheDocumentStatesTheLimits(t *testing.T) {
	for _, l := range []struct {
		at   string
		want int
	}{
		{"schemas/CallbackUpdate/properties/url/maxLength", callbackd.MaxURL},
		{"schemas/CallbackUpdate/properties/url/maxLength", egress.MaxURL},
		{"schemas/CallbackUpdate/properties/headers/oneOf/0/maxProperties", callbackd.MaxHeaders},
		{"schemas/CallbackUpdate/properties/headers/oneOf/0/x-maxBytes", callbackd.MaxHeaderBytes},
		{"schemas/CallbackUpdate/properties/payload/oneOf/0/x-maxBytes", callbackd.MaxPayload},
		{"schemas/CallbackUpdate/properties/name/maxLength", callbackd.MaxName},
		{"schemas/NewPolicy/properties/retry/maxItems", callbackd.MaxRetries},
		{"schemas/NewPolicy/properties/rate/maximum", callbackd.MaxRate},
		{"schemas/NewPolicy/properties/concurrency/maximum", callbackd.MaxConcurrency},
		{"schemas/Headers/maxProperties", callbackd.MaxHeaders},
		{"schemas/Policy/properties/retry/maxItems", callbackd.MaxRetries},
		{"schemas/Policy/properties/concurrency/maximum", callbackd.MaxConcurrency},
		{"schemas/NewEvent/properties/session_key/maxLength", callbackd.MaxSessionKey},
		{"schemas/NewEvent/properties/data/x-maxBytes", callbackd.MaxEventData},
		{"schemas/NewEvent/properties/id/maxLength", callbackd.MaxIdempotency},
		{"schemas/EventList/properties/data/maxItems", store.MaxPage},
		{"schemas/DeliveryList/properties/data/maxItems", store.MaxPage},
		{"schemas/Response/properties/size/maximum", callbackd.MaxResponseRead},
		{"parameters/Name/schema/maxLength", callbackd.MaxName},
		{"schemas/NewOptions/properties/reference/x-maxBytes", callbackd.MaxReference},
		{"schemas/NewSession/properties/redirect_url/maxLength", callbackd.MaxURL},
		{"schemas/NewContact/properties/first_name/maxLength", callbackd.MaxSessionText},
		{"schemas/NewPhoto/properties/approved_message/maxLength", callbackd.MaxPhotoMessage},
		{"schemas/NewNote/properties/description/maxLength", callbackd.MaxNoteText},
		{"parameters/Limit/schema/maximum", store.MaxPage},
		{"parameters/Limit/schema/default", api.DefaultLimit},
		{"schemas/NewReplay/properties/session_key/maxLength", callbackd.MaxSessionKey},
		{"schemas/NewReplay/properties/rate/maximum", callbackd.MaxReplayRate},
		{"schemas/ReplayCount/properties/total/maximum", callbackd.MaxReplay},
	} {
		if n := document.walk("components/" + l.at); n == nil || n.Value != fmt.Sprint(l.want) {
			t.Errorf("%s is %v, want %d", l.at, n, l.want)
		}
	}
	for _, path := range []string{"/v1/callbacks/post", "/v1/callbacks/{event}/put", "/v1/callbacks/{event}/secret/rotate/post", "/v1/events/post", "/v1/replays/post"} {
		i := strings.LastIndexByte(path, '/')
		if n := document.at("paths", path[:i], path[i+1:], "requestBody", "x-maxBytes"); n == nil || n.Value != fmt.Sprint(callbackd.MaxBody) {
			t.Errorf("%s states another body limit", path)
		}
	}
	batch := document.at("paths", "/v1/events", "post", "requestBody", "content", "application/json", "schema", "oneOf").Content[1]
	if n := get(batch, "maxItems"); n.Value != fmt.Sprint(callbackd.MaxBatch) {
		t.Errorf("a batch has %s", n.Value)
	}
	idempotency := document.at("paths", "/v1/events", "post", "parameters").Content[0]
	if n := get(idempotency, "schema", "maxLength"); n.Value != fmt.Sprint(callbackd.MaxIdempotency) {
		t.Errorf("an idempotency key has %s", n.Value)
	}
	hours := func(d time.Duration) string { return fmt.Sprintf("%dh", int(d.Hours())) }
	for at, words := range map[string][]string{
		"info/description":                                                 {fmt.Sprint(callbackd.MaxBody), fmt.Sprint(strictjson.MaxDepth)},
		"paths//v1/callbacks/post/description":                             {fmt.Sprint(callbackd.MaxCallbacks)},
		"paths//v1/replays/post/description":                               {fmt.Sprint(callbackd.MaxReplay), fmt.Sprint(callbackd.MaxReplays)},
		"components/schemas/CallbackUpdate/properties/headers/description": {fmt.Sprint(callbackd.MaxHeaderBytes)},
		"components/schemas/CallbackUpdate/properties/payload/description": {fmt.Sprint(callbackd.MaxPayload)},
		"components/schemas/NewPolicy/properties/retry/description":        {hours(callbackd.MaxRetryDelay)},
		"components/schemas/NewPolicy/properties/order/description":        {hours(callbackd.MaxOrderWait), "5m"},
		"components/schemas/NewPolicy/properties/timeout/description":      {"1s to 1m", "15s"},
		"components/schemas/NewPolicy/properties/concurrency/description":  {fmt.Sprint(callbackd.DefaultConcurrency)},
		"components/schemas/Rotation/properties/keep/description":          {hours(api.MaxKeep), hours(api.DefaultKeep)},
		"components/schemas/NewEvent/properties/data/description":          {fmt.Sprint(callbackd.MaxEventData)},
		"components/schemas/Response/description":                          {fmt.Sprint(callbackd.MaxResponseKept)},
		"components/schemas/NewResults/description":                        {fmt.Sprint(callbackd.MaxResults)},
	} {
		n := document.walk(at)
		for _, w := range words {
			if n == nil || !strings.Contains(n.Value, w) {
				t.Errorf("%s does not say %s", at, w)
			}
		}
	}
	if callbackd.MinTimeout != time.Second || callbackd.MaxTimeout != time.Minute || callbackd.DefaultTimeout != 15*time.Second || callbackd.DefaultOrderWait != 5*time.Minute || api.TestRate != 1 || api.TestBurst != 5 {
		t.Error("a limit has changed that openapi.yaml states in words")
	}
}

// walk is get by a path with slashes; "//" stands before a path of the API.
func (s *spec) walk(path string) *yaml.Node {
	if rest, ok := strings.CutPrefix(path, "paths//"); ok {
		i := strings.LastIndex(rest, "/post/")
		return s.at("paths", "/"+rest[:i], "post", rest[i+len("/post/"):])
	}
	n := s.root
	for _, p := range strings.Split(path, "/") {
		if n != nil && n.Kind == yaml.SequenceNode && p == "0" {
			n = n.Content[0]
			continue
		}
		n = get(n, p)
	}
	return n
}

// The types of package wire are the schemas: the same members in the same
// order.
func TestTheWireIsTheDocument(t *testing.T) {
	for name, v := range map[string]any{
		"KeyedMessage": wire.Message{}, "Callback": wire.Callback{}, "CallbackList": wire.CallbackList{}, "CallbackOne": wire.CallbackOne{}, "Policy": wire.Policy{},
		"Secret": wire.Secret{}, "Accepted": wire.Accepted{}, "Event": wire.Event{}, "EventList": wire.EventList{}, "Delivery": wire.Delivery{},
		"DeliveryList": wire.DeliveryList{}, "Attempt": wire.Attempt{}, "Timings": wire.Timings{}, "Request": wire.Request{}, "Response": wire.Response{},
		"Session": wire.Session{}, "SessionOptions": wire.SessionOptions{}, "SessionSMS": wire.SessionSMS{}, "SessionContact": wire.SessionContact{},
		"SessionSource": wire.SessionSource{}, "Vehicle": wire.Vehicle{}, "Photo": wire.Photo{}, "Note": wire.Note{}, "SessionChange": wire.SessionChange{},
		"SessionList": wire.SessionList{}, "SessionEvent": wire.SessionEvent{}, "SessionDelivery": wire.SessionDelivery{}, "SessionStory": wire.SessionStory{},
		"Resent": wire.Resent{}, "NotResent": wire.NotResent{},
		"NewReplay": wire.NewReplay{}, "ReplayCount": wire.ReplayCount{}, "Replay": wire.Replay{}, "ReplayList": wire.ReplayList{}, "Explanation": wire.Explanation{},
		"Reason": wire.Reason{}, "EventExplanation": wire.EventExplanation{}, "Log": wire.Log{}, "LogList": wire.LogList{},
	} {
		var want, got []string
		properties := document.at("components", "schemas", name, "properties")
		for i := 0; i < len(properties.Content); i += 2 {
			want = append(want, properties.Content[i].Value)
		}
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			tag, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			got = append(got, tag)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-document +wire):\n%s", name, diff)
		}
	}
}
