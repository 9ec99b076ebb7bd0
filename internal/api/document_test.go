package api_test

import (
	"fmt"
	"os"
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
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// The document is valid OpenAPI 3.1, and its examples are valid by its
// schemas.
func TestTheDocumentIsValid(t *testing.T) {
	if err := document.doc.Validate(t.Context(), openapi3.DisableExamplesValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	exact, err := openapi3.NewLoader().LoadFromData(changed(raw, closed))
	if err != nil {
		t.Fatal(err)
	}
	if err := exact.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Errorf("an example is not as its schema: %v", err)
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

// Generators of clients make one type of each component, of whatever kind, and of
// each operation.
func TestNamesInTheDocumentAreUnique(t *testing.T) {
	named := map[string]string{}
	once := func(what, name string) {
		t.Helper()
		if before, twice := named[strings.ToLower(name)]; twice || name == "" {
			t.Errorf("%s has the name %q, which %s has too", what, name, before)
		}
		named[strings.ToLower(name)] = what
	}
	for _, kind := range []string{"schemas", "responses", "parameters", "headers"} {
		components := document.at("components", kind)
		for i := 0; i < len(components.Content); i += 2 {
			once("components/"+kind, components.Content[i].Value)
		}
	}
	for _, p := range document.patterns() {
		method, path, _ := strings.Cut(p, " ")
		once(p, document.doc.Paths.Value(path).GetOperation(method).OperationID)
	}
}

// Of several types in one place, or of an array of nobody knows what, most
// generators make nothing.
func TestEverySchemaIsForGenerators(t *testing.T) {
	walk("", document.root, func(at string, n *yaml.Node) {
		for _, problem := range problemsForGenerators(n) {
			t.Errorf("%s is %s", at, problem)
		}
		// One event or an array of them is the one place with a choice.
		if choice := get(n, "oneOf") != nil || get(n, "anyOf") != nil; choice && !strings.HasPrefix(at, "/components/schemas/Publish") {
			t.Errorf("%s is a choice of schemas", at)
		}
	})
}

// walk calls f with each node of the document that is no example, and its path.
func walk(at string, n *yaml.Node, f func(at string, n *yaml.Node)) {
	f(at, n)
	for i, c := range n.Content {
		switch {
		case n.Kind != yaml.MappingNode:
			walk(at, c, f)
		case i%2 == 1 && n.Content[i-1].Value != "example" && n.Content[i-1].Value != "examples":
			walk(at+"/"+n.Content[i-1].Value, c, f)
		}
	}
}

// problemsForGenerators says what generators cannot do with a schema.
func problemsForGenerators(n *yaml.Node) (out []string) {
	types := typesOf(n)
	if len(types) > 2 || len(types) == 2 && types[1] != "null" {
		out = append(out, fmt.Sprintf("one of several types: %v", types))
	}
	if slices.Contains(types, "array") && get(n, "items") == nil {
		out = append(out, "an array without items")
	}
	free := slices.Contains(types, "object") && get(n, "properties") == nil && get(n, "allOf") == nil
	if free && get(n, "additionalProperties") == nil {
		out = append(out, "an object that, for some generators, has no members")
	}
	return out
}

// typesOf returns the types of a schema.
func typesOf(n *yaml.Node) (out []string) {
	typ := get(n, "type")
	switch {
	case typ == nil:
	case typ.Kind == yaml.SequenceNode:
		for _, c := range typ.Content {
			out = append(out, c.Value)
		}
	default:
		out = append(out, typ.Value)
	}
	return out
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

// The limits that the document states as numbers are those of the code.
func TestTheDocumentStatesTheLimits(t *testing.T) {
	for _, l := range []struct {
		at   string
		want int
	}{
		{"schemas/CallbackUpdate/properties/url/maxLength", callbackd.MaxURL},
		{"schemas/CallbackUpdate/properties/url/maxLength", egress.MaxURL},
		{"schemas/CallbackUpdate/properties/headers/maxProperties", callbackd.MaxHeaders},
		{"schemas/CallbackUpdate/properties/headers/x-maxBytes", callbackd.MaxHeaderBytes},
		{"schemas/CallbackUpdate/properties/payload/x-maxBytes", callbackd.MaxPayload},
		{"schemas/CallbackUpdate/properties/name/maxLength", callbackd.MaxName},
		{"schemas/NewPolicy/properties/retry/maxItems", callbackd.MaxRetries},
		{"schemas/NewPolicy/properties/rate/maximum", callbackd.MaxRate},
		{"schemas/NewPolicy/properties/concurrency/maximum", callbackd.MaxConcurrency},
		{"schemas/Headers/maxProperties", callbackd.MaxHeaders},
		{"schemas/Policy/properties/retry/maxItems", callbackd.MaxRetries},
		{"schemas/Policy/properties/concurrency/maximum", callbackd.MaxConcurrency},
		{"schemas/NewEvent/properties/session_key/maxLength", callbackd.MaxSessionKey},
		{"schemas/NewEvent/properties/data/x-maxBytes", callbackd.MaxEventData},
		{"schemas/NewEvents/maxItems", callbackd.MaxBatch},
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
		{"schemas/NewCancellation/properties/session_key/maxLength", callbackd.MaxSessionKey},
		{"schemas/NewCancellation/properties/rate/maximum", callbackd.MaxReplayRate},
		{"schemas/NewCancellation/properties/reason/maxLength", callbackd.MaxCancelReason},
		{"schemas/ReplayCount/properties/total/maximum", callbackd.MaxReplay},
	} {
		if n := document.lookup("components/" + l.at); n == nil || n.Value != fmt.Sprint(l.want) {
			t.Errorf("%s is %v, want %d", l.at, n, l.want)
		}
	}
}

// Every body has the limit of the code, and so has an idempotency key.
func TestTheDocumentStatesTheLimitsOfRequests(t *testing.T) {
	for _, path := range []string{"/v1/callbacks/post", "/v1/callbacks/{event}/put", "/v1/callbacks/{event}/secret/rotate/post", "/v1/events/post", "/v1/replays/post", "/v1/deliveries/cancel/post"} {
		i := strings.LastIndexByte(path, '/')
		if n := document.at("paths", path[:i], path[i+1:], "requestBody", "x-maxBytes"); n == nil || n.Value != fmt.Sprint(callbackd.MaxBody) {
			t.Errorf("%s states another body limit", path)
		}
	}
	idempotency := document.at("paths", "/v1/events", "post", "parameters").Content[0]
	if n := get(idempotency, "schema", "maxLength"); n.Value != fmt.Sprint(callbackd.MaxIdempotency) {
		t.Errorf("an idempotency key has %s", n.Value)
	}
}

// The limits and defaults that the document states in words are those of the code.
func TestTheDocumentStatesTheLimitsInWords(t *testing.T) {
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
		n := document.lookup(at)
		for _, w := range words {
			if n == nil || !strings.Contains(n.Value, w) {
				t.Errorf("%s does not say %s", at, w)
			}
		}
	}
	// The document states these in words of its own.
	equal(t, "the least timeout", callbackd.MinTimeout, time.Second)
	equal(t, "the longest timeout", callbackd.MaxTimeout, time.Minute)
	equal(t, "the default timeout", callbackd.DefaultTimeout, 15*time.Second)
	equal(t, "the default order wait", callbackd.DefaultOrderWait, 5*time.Minute)
	equal(t, "test-sends a second", api.TestRate, 1)
	equal(t, "test-sends at once", api.TestBurst, 5)
}

// lookup is get by a path with slashes; "//" stands before a path of the API.
func (s *spec) lookup(path string) *yaml.Node {
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
		"Links": wire.Links{}, "KeyedMessage": wire.Message{}, "Callback": wire.Callback{}, "CallbackList": wire.CallbackList{}, "CallbackOne": wire.CallbackOne{}, "Policy": wire.Policy{},
		"Secret": wire.Secret{}, "Accepted": wire.Accepted{}, "Event": wire.Event{}, "EventList": wire.EventList{}, "Delivery": wire.Delivery{},
		"DeliveryList": wire.DeliveryList{}, "Attempt": wire.Attempt{}, "Timings": wire.Timings{}, "Request": wire.Request{}, "Response": wire.Response{},
		"Session": wire.Session{}, "SessionOptions": wire.SessionOptions{}, "SessionSMS": wire.SessionSMS{}, "SessionContact": wire.SessionContact{},
		"SessionSource": wire.SessionSource{}, "Vehicle": wire.Vehicle{}, "Photo": wire.Photo{}, "Note": wire.Note{}, "SessionChange": wire.SessionChange{},
		"SessionList": wire.SessionList{}, "SessionEvent": wire.SessionEvent{}, "SessionDelivery": wire.SessionDelivery{}, "SessionStory": wire.SessionEventList{},
		"Resent": wire.Resent{}, "NotResent": wire.NotResent{},
		"NewReplay": wire.NewReplay{}, "NewCancellation": wire.NewCancellation{}, "Cancellation": wire.Cancellation{}, "ReplayCount": wire.ReplayCount{}, "Replay": wire.Replay{}, "ReplayList": wire.ReplayList{}, "Explanation": wire.Explanation{},
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

// Every other test relies on this check: what is not as the document has it is
// found, in what is asked and in what is answered.
func TestABodyThatIsNotAsTheDocumentIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		bodies *schemas
		schema string
		body   string
		fits   bool
	}{
		{"an answer", document.answers, "Message", `{"message":"x"}`, true},
		{"an answer with another type", document.answers, "Message", `{"message":7}`, false},
		{"an answer without a member", document.answers, "Message", `{}`, false},
		{"an answer with a further member", document.answers, "Message", `{"message":"x","more":1}`, false},
		{"an answer with a further member behind a reference", document.answers, "CallbackList", `{"api_key":"k","data":[{"more":1}]}`, false},
		{"an answer that is no JSON", document.answers, "Message", `{"message":"x"`, false},
		{"an answer with a time", document.answers, "Reason", `{"code":"paused","message":"x","since":"2026-01-02T15:04:05Z","until":null}`, true},
		{"an answer with a time that is none", document.answers, "Reason", `{"code":"paused","message":"x","since":"yesterday","until":null}`, false},
		{"a request", document.requests, "NewEvent", `{"event":"SESSION:COMPLETE","session_key":"S"}`, true},
		{"a request without a member", document.requests, "NewEvent", `{"event":"SESSION:COMPLETE"}`, false},
		{"a request with another type", document.requests, "NewEvent", `{"event":"SESSION:COMPLETE","session_key":7}`, false},
		{"a request with null", document.requests, "NewEvent", `{"event":"SESSION:COMPLETE","session_key":"S","data":null}`, true},
	} {
		err := c.bodies.check(document.pointer("components", "schemas", c.schema), []byte(c.body))
		if fits := err == nil; fits != c.fits {
			t.Errorf("%s, %s: fits is %v, want %v: %v", c.name, c.body, fits, c.fits, err)
		}
	}
}
