package eventtypes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/strictjson"
	"callbackd/wire"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of the files of own event types.
const (
	maxOwnFiles = 500
	maxOwnFile  = 512 << 10 // bytes
	maxText     = 500       // bytes of a description
)

// draft is the one dialect of schemas.
const draft = "https://json-schema.org/draft/2020-12/schema"

// GroupOwn is the group of a platform's own types in the catalogue.
const GroupOwn = "own"

// ReadDir reads a platform's own types of events from the files of a directory whose names
// end with .json, one type in each, by name. Each is an object with name, description, the
// schema of the data and a sample of the data. Errors name the file, and the place in it.
func ReadDir(dir string) ([]wire.EventKind, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []wire.EventKind
	files := map[string]string{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(e.Name(), ".json") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(out) == maxOwnFiles {
			return nil, fmt.Errorf("%s has more than %d files; join some of your types", dir, maxOwnFiles)
		}
		k, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if other, twice := files[k.Type]; twice {
			return nil, fmt.Errorf("%s: %s is also in %s; remove one of them", path, k.Type, other)
		}
		files[k.Type] = path
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b wire.EventKind) int { return strings.Compare(a.Type, b.Type) })
	return out, nil
}

func readFile(path string) (k wire.EventKind, err error) {
	info, err := os.Stat(path) // follows links, as in the volumes of Kubernetes
	if err != nil {
		return k, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxOwnFile {
		return k, fmt.Errorf("it must be a file of at most %d KiB", maxOwnFile>>10)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	return ParseOwn(raw)
}

// ParseOwn reads one type of a platform's own.
func ParseOwn(raw []byte) (k wire.EventKind, err error) {
	members, err := strictjson.AppendObject(nil, raw)
	if err != nil {
		return k, fmt.Errorf("the file %w", err)
	}
	values := map[string]strictjson.Value{}
	for _, m := range members {
		if !slices.Contains([]string{"name", "description", "schema", "sample"}, m.Name) {
			return k, fmt.Errorf("%q is unknown; a type has name, description, schema and sample", callbackd.Clip(m.Name, 60))
		}
		values[m.Name] = m.Value
	}
	name, _ := values["name"].Text()
	if err := callbackd.EventType(name).CheckOwn(); err != nil {
		return k, fmt.Errorf("name: %w", err)
	}
	text, ok := values["description"].Text()
	if !ok || strings.TrimSpace(text) == "" || len(text) > maxText {
		return k, fmt.Errorf("description must be a text of 1 to %d bytes that says when the event is published", maxText)
	}
	sample, schema := values["sample"], values["schema"]
	if sample.Kind() != '{' || len(sample) > callbackd.MaxEventData {
		return k, fmt.Errorf("sample must be an object: the data of an event, of at most %d KiB", callbackd.MaxEventData>>10)
	}
	if schema.Kind() != '{' {
		return k, errors.New("schema must be an object: the JSON Schema of the data. {} allows everything")
	}
	k = wire.EventKind{Type: name, Group: GroupOwn, Description: text}
	if k.Schema, err = bodySchema(name, schema); err != nil {
		return k, fmt.Errorf("schema: %w", err)
	}
	if k.Sample, err = bodySample(name, sample); err != nil {
		return k, fmt.Errorf("sample: %w", err)
	}
	checks, err := newChecker(&k)
	if err != nil {
		return k, fmt.Errorf("schema: %w", schemaError(err))
	}
	if faults := checks.check(sample); faults != nil {
		return k, fmt.Errorf("sample: it does not fit the schema. %s", strings.Join(faults, " "))
	}
	return k, nil
}

// schemaError says in sentences why a schema is no schema.
func schemaError(err error) error {
	var refused *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	if errors.As(err, &refused) && errors.As(refused.Err, &invalid) {
		return errors.New(strings.Join(sentences(invalid), " "))
	}
	return err
}

// bodySchema makes the schema of the body that a receiver gets from that of the data: the
// body has the members event and session_key besides.
func bodySchema(name string, schema []byte) (json.RawMessage, error) {
	var root map[string]json.RawMessage
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, err
	}
	if text, ok := strictjson.Value(root["$schema"]).Text(); len(root["$schema"]) > 0 && (!ok || strings.TrimSuffix(text, "#") != draft) {
		return nil, fmt.Errorf("$schema must be %q, or be left out", draft)
	}
	root["$schema"] = quoted(draft)
	properties := map[string]json.RawMessage{}
	if raw := root["properties"]; raw != nil {
		if err := json.Unmarshal(raw, &properties); err != nil || properties == nil {
			return nil, errors.New("/properties: it must be an object")
		}
	}
	for member, raw := range map[string]json.RawMessage{
		"event":       json.RawMessage(`{"const":` + string(quoted(name)) + `}`),
		"session_key": json.RawMessage(`{"type":"string","description":"The session of the event."}`),
	} {
		if properties[member] != nil {
			return nil, fmt.Errorf("/properties/%s: leave it out: every body has this member, and it is not part of the data", member)
		}
		properties[member] = raw
	}
	required := []string{}
	if raw := root["required"]; raw != nil {
		if err := json.Unmarshal(raw, &required); err != nil {
			return nil, errors.New("/required: it must be an array of names")
		}
	}
	if root["type"] == nil {
		root["type"] = quoted("object")
	}
	var err error
	if root["properties"], err = json.Marshal(properties); err != nil {
		return nil, err
	}
	if root["required"], err = json.Marshal(append([]string{"event", "session_key"}, required...)); err != nil {
		return nil, err
	}
	return json.Marshal(root)
}

// bodySample returns the body that a receiver gets with the data of a sample.
func bodySample(name string, data []byte) (json.RawMessage, error) {
	members, err := strictjson.AppendObject(nil, data)
	if err != nil {
		return nil, err
	}
	out := append([]byte(`{"event":`), quoted(name)...)
	out = append(append(out, `,"session_key":`...), quoted(session.SampleKey)...)
	for _, m := range members {
		if m.Name == "event" || m.Name == "session_key" {
			return nil, fmt.Errorf("%s must be left out: every body has this member, and it is not part of the data", m.Name)
		}
		out = append(append(append(append(out, ','), quoted(m.Name)...), ':'), m.Value...)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, append(out, '}')); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// dataOf returns the data of a body.
func dataOf(body []byte) []byte {
	members, err := strictjson.AppendObject(nil, body)
	if err != nil {
		return []byte("{}")
	}
	out := []byte{'{'}
	for _, m := range members {
		if m.Name == "event" || m.Name == "session_key" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted(m.Name)...), ':'), m.Value...)
	}
	return append(out, '}')
}

func quoted(text string) []byte { return strictjson.AppendString(nil, text) }
