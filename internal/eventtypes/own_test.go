package eventtypes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/eventtypes"
	"callbackd/wire"
)

const arrivedFile = `{
  "name": "VEHICLE:ARRIVED",
  "description": "A vehicle came to a yard.",
  "schema": {"properties": {"vin": {"$ref": "#/$defs/vin"}, "yard": {"type": "string"}}, "required": ["vin"], "additionalProperties": false, "$defs": {"vin": {"type": "string", "minLength": 17}}},
  "sample": {"vin": "1HGCM82633A004352", "yard": "North"}
}`

// write writes files of a directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOwnTypesAreReadFromFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"z.json":    arrivedFile,
		"a.json":    `{"name":"YARD:CLOSED","description":"A yard closed.","schema":{},"sample":{}}`,
		"README.md": "not a type", ".hidden.json": "{",
	})
	kinds, err := eventtypes.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(kinds) != 2 || kinds[0].Type != "VEHICLE:ARRIVED" || kinds[1].Type != "YARD:CLOSED" || kinds[0].Group != "own" {
		t.Fatalf("read %+v", kinds)
	}
	if got, want := string(kinds[0].Sample), `{"event":"VEHICLE:ARRIVED","session_key":"TST-0000000000","vin":"1HGCM82633A004352","yard":"North"}`; got != want {
		t.Errorf("the sample is %s, want %s", got, want)
	}
	if got, want := string(kinds[1].Sample), `{"event":"YARD:CLOSED","session_key":"TST-0000000000"}`; got != want {
		t.Errorf("the empty sample is %s, want %s", got, want)
	}
	c, err := eventtypes.New(kinds, eventtypes.Refuse)
	if err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		`{"vin":"1HGCM82633A004352"}`: "", `{"vin":"short"}`: "/vin: minLength: got 5, want 17.", `{"yard":"N"}`: "/: missing property 'vin'.", `{"vin":"1HGCM82633A004352","x":1}`: "/: additional properties 'x' not allowed.",
	} {
		if got := strings.Join(c.Check(arrived, []byte(data)), " "); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
	if got, want := string(c.OwnSample(arrived)), `{"vin":"1HGCM82633A004352","yard":"North"}`; got != want {
		t.Errorf("the sample data is %s, want %s", got, want)
	}
	if got := string(c.OwnSample("YARD:CLOSED")); got != "{}" {
		t.Errorf("the empty sample data is %s", got)
	}
	if c.OwnSample(callbackd.Complete) != nil || !c.Has(arrived) || c.Has("YARD:OPENED") {
		t.Error("the catalogue has other types than its files")
	}
}

// A wrong file fails the start with its name, the place and what to do.
func TestAWrongFileOfATypeIsNamed(t *testing.T) {
	const rest = `,"description":"d","schema":{},"sample":{}}`
	for text, want := range map[string]string{
		``:                                  "the file",
		`[]`:                                "the file",
		`{"name":"A:B","name":"A:C"` + rest: "the file",
		`{"name":"A:B","colour":1` + rest:   `"colour" is unknown; a type has name, description, schema and sample`,
		`{"name":"SESSION:ARCHIVED"` + rest: `name: "SESSION:ARCHIVED" cannot be the name of an event type`,
		`{"name":7` + rest:                  "name: ",
		`{"name":"A:B"}`:                    "description must be a text",
		`{"name":"A:B","description":" ","schema":{},"sample":{}}`:                                                          "description must be a text",
		`{"name":"A:B","description":"d","schema":{}}`:                                                                      "sample must be an object",
		`{"name":"A:B","description":"d","sample":{}}`:                                                                      "schema must be an object",
		`{"name":"A:B","description":"d","schema":true,"sample":{}}`:                                                        "schema must be an object",
		`{"name":"A:B","description":"d","schema":{"properties":{"vin":{"type":"text"}}},"sample":{}}`:                      "schema: /properties/vin/type: ",
		`{"name":"A:B","description":"d","schema":{"properties":{"event":{}}},"sample":{}}`:                                 "schema: /properties/event: leave it out",
		`{"name":"A:B","description":"d","schema":{"properties":[]},"sample":{}}`:                                           "schema: /properties",
		`{"name":"A:B","description":"d","schema":{"required":7},"sample":{}}`:                                              "schema: /required",
		`{"name":"A:B","description":"d","schema":{"$schema":"http://json-schema.org/draft-07/schema#"},"sample":{}}`:       "schema: $schema must be",
		`{"name":"A:B","description":"d","schema":{"$ref":"https://example.com/vin.json"},"sample":{}}`:                     "under $defs",
		`{"name":"A:B","description":"d","schema":{"required":["vin"]},"sample":{"yard":1}}`:                                "sample: it does not fit the schema. /: missing property 'vin'.",
		`{"name":"A:B","description":"d","schema":{},"sample":{"session_key":"S"}}`:                                         "sample: session_key must be left out",
		`{"name":"A:B","description":"d","schema":{},"sample":{"a":"` + strings.Repeat("x", callbackd.MaxEventData) + `"}}`: "sample must be an object: the data of an event, of at most 256 KiB",
		`{"name":"A:B","description":"` + strings.Repeat("x", 600<<10) + `"}`:                                               "at most 512 KiB",
	} {
		_, err := eventtypes.ReadDir(write(t, map[string]string{"wrong.json": text}))
		if err == nil || !strings.Contains(err.Error(), "wrong.json: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	if _, err := eventtypes.ReadDir(write(t, map[string]string{"a.json": arrivedFile, "b.json": arrivedFile})); err == nil || !strings.Contains(err.Error(), "b.json: VEHICLE:ARRIVED is also in ") {
		t.Errorf("a type in two files: %v", err)
	}
	if _, err := eventtypes.ReadDir(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that does not exist has types")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := eventtypes.ReadDir(dir); err == nil || !strings.Contains(err.Error(), "x.json: it must be a file") {
		t.Errorf("a directory in place of a file: %v", err)
	}
}

// FuzzParseOwn looks for a file that is taken and whose sample or schema is no use.
func FuzzParseOwn(f *testing.F) {
	f.Add(arrivedFile)
	f.Add(`{"name":"A:B","description":"d","schema":{"$ref":"#"},"sample":{}}`)
	f.Add(`{"name":"A:B","description":"d","schema":{"properties":null,"required":null,"$schema":null},"sample":{"a":1e5}}`)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := eventtypes.ParseOwn([]byte(text))
		if err != nil {
			return
		}
		c, err := eventtypes.New([]wire.EventKind{k}, eventtypes.Refuse)
		if err != nil {
			t.Fatal(err)
		}
		if typ := callbackd.EventType(k.Type); !typ.IsOwn() || c.Check(typ, c.OwnSample(typ)) != nil {
			t.Errorf("%q is taken, and its own sample does not fit: %q", text, c.Check(typ, c.OwnSample(typ)))
		}
	})
}
