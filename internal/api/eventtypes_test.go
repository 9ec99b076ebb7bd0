package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/callbacks"
	"callbackd/internal/openapi"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// kinds returns the catalogue of events, by type.
func (s *server) kinds() map[string]wire.EventKind {
	s.t.Helper()
	var list wire.EventKindList
	if err := json.Unmarshal([]byte(s.call("GET", "/v1/event-types", "").ok(200).body), &list); err != nil {
		s.t.Fatal(err)
	}
	out := map[string]wire.EventKind{}
	for _, k := range list.Data {
		out[k.Type] = k
	}
	if len(out) != len(callbackd.EventTypes) {
		s.t.Errorf("the catalogue has %d types, want %d", len(out), len(callbackd.EventTypes))
	}
	return out
}

// standalone compiles a schema that nothing else belongs to.
func standalone(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each type has a schema that its sample fits, and that a body without one of the members
// does not.
func TestTheCatalogueOfEvents(t *testing.T) {
	s := start(t)
	for name, k := range s.kinds() {
		schema := standalone(t, k.Schema)
		sample, err := jsonschema.UnmarshalJSON(bytes.NewReader(k.Sample))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(sample); err != nil {
			t.Errorf("the sample of %s does not fit its schema: %v", name, err)
		}
		for _, member := range []string{"event", "session_key"} {
			less, _ := jsonschema.UnmarshalJSON(bytes.NewReader(k.Sample))
			delete(less.(map[string]any), member)
			if schema.Validate(less) == nil {
				t.Errorf("the schema of %s accepts a body without %s", name, member)
			}
		}
		other, _ := jsonschema.UnmarshalJSON(bytes.NewReader(k.Sample))
		other.(map[string]any)["event"] = string(callbackd.EventTypes[(slices.Index(callbackd.EventTypes, callbackd.EventType(name))+1)%len(callbackd.EventTypes)])
		if schema.Validate(other) == nil {
			t.Errorf("the schema of %s accepts a body of another event", name)
		}
		if k.Description == "" || (k.Group == "notice") != callbackd.EventType(name).IsNotice() {
			t.Errorf("%s is described as %q, of group %q", name, k.Description, k.Group)
		}
		var one wire.EventKind
		if err := json.Unmarshal([]byte(s.call("GET", "/v1/event-types/"+name, "").ok(200).body), &one); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(k, one); diff != "" {
			t.Errorf("alone, %s is another: %s", name, diff)
		}
	}
	if got := s.call("GET", "/v1/event-types/SESSION:NOTHING", "").ok(404).body; !strings.Contains(got, "There is no event SESSION:NOTHING.") {
		t.Errorf("an unknown type gets %s", got)
	}
}

// What the document says of the requests to receivers is what they get: the body fits the
// schema and is the example, and every header is described.
func TestReceiversGetWhatTheDocumentShows(t *testing.T) {
	root, err := openapi.Parse(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	kinds, recv := s.kinds(), listen(t, nil)
	for _, typ := range callbackd.SessionEvents {
		s := s.as(s.newKey("acme", false)) // a key has few test-sends at once
		s.register(string(typ), recv.url, "")
		s.call("POST", "/v1/callbacks/"+string(typ)+"/test", "",
			set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), set("tracestate", "vendor=1")).ok(200)
		got := recv.next()
		request := root.Get("webhooks", string(typ), "post")
		described := http.Header{}
		for _, p := range request.Get("parameters").List() {
			described.Set(p.Follow(root).Get("name").Text(), "")
		}
		for name := range got.header {
			_, ok := described[name]
			if ours := strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Callback-") || strings.HasPrefix(name, "Trace"); ours && !ok {
				t.Errorf("%s: the document does not describe the header %s", typ, name)
			}
		}
		for name := range described {
			if got.header.Get(name) == "" {
				t.Errorf("%s: the header %s does not come", typ, name)
			}
		}
		body, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := standalone(t, kinds[string(typ)].Schema).Validate(body); err != nil {
			t.Errorf("%s: what a receiver got does not fit the schema: %v", typ, err)
		}
		delete(body.(map[string]any), "test")
		var sample any
		if sample, err = jsonschema.UnmarshalJSON(bytes.NewReader(kinds[string(typ)].Sample)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sample, body); diff != "" {
			t.Errorf("%s: a receiver gets another sample: %s", typ, diff)
		}
	}
}

// The document shows the sample of each event, byte for byte but for spaces.
func TestTheDocumentShowsTheSamples(t *testing.T) {
	root, err := openapi.Parse(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(root.Get("webhooks").Members()); n != len(callbackd.EventTypes) {
		t.Errorf("the document has %d requests to receivers, want %d", n, len(callbackd.EventTypes))
	}
	for _, typ := range callbackd.EventTypes {
		example, err := root.Get("webhooks", string(typ), "post", "requestBody", "content", "application/json", "example").JSON()
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if want := callbacks.SampleBody(typ); !bytes.Equal(example, want) {
			t.Errorf("%s: the document shows\n%s\nand the sample is\n%s", typ, example, want)
		}
	}
}
