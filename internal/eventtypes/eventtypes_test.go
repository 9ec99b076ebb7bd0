package eventtypes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/eventtypes"
	"callbackd/wire"
)

const arrived = callbackd.EventType("VEHICLE:ARRIVED")

// catalogue returns a catalogue with one type that has this schema.
func catalogue(t *testing.T, mode eventtypes.Mode, schema string) *eventtypes.Catalogue {
	t.Helper()
	c, err := eventtypes.New([]wire.EventKind{{Type: string(arrived), Sample: json.RawMessage(`{"session_key":"S1"}`), Schema: json.RawMessage(schema)}}, mode)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDataIsCheckedAsTheBodyThatIsSent(t *testing.T) {
	c := catalogue(t, eventtypes.Refuse, `{"type":"object","properties":{"event":{"const":"VEHICLE:ARRIVED"},"session_key":{"type":"string","maxLength":4},
		"odometer":{"type":"integer","minimum":0},"vin":{"type":"string","pattern":"^[A-Z0-9]{3}$"},"at":{"format":"date-time"},"photos":{"items":{"enum":["front","rear"]}}},
		"required":["event","session_key","vin"],"additionalProperties":false}`)
	for _, test := range []struct {
		data string
		want []string
	}{
		{`{"vin":"ABC"}`, nil},
		{`{"vin":"ABC","odometer":12.0,"at":"2026-01-02T15:04:05Z","photos":["front"]}`, nil},
		{`{"vin":"ABC","event":"SESSION:COMPLETE"}`, nil}, // the event's own members win
		{`{}`, []string{"/: missing property 'vin'."}},
		{`{"vin":"abc"}`, []string{"/vin: 'abc' does not match pattern '^[A-Z0-9]{3}$'."}},
		{`{"vin":"ABC","odometer":"12"}`, []string{"/odometer: got string, want integer."}},
		{`{"vin":"ABC","at":"yesterday"}`, []string{"/at: 'yesterday' is not valid date-time"}},
		{`{"vin":"ABC","photos":["front","top"]}`, []string{"/photos/1: value must be one of 'front', 'rear'."}},
		{`{"vin":"ABC","a/b~":1}`, []string{"/: additional properties 'a/b~' not allowed."}},
		{`{"vin":1,"odometer":-1,"at":"x","photos":[1,2]}`, []string{"/at: ", "/odometer: ", "/photos/0: ", "And 2 more."}},
		{`{"vin":"ABC","odometer":1e999999999}`, []string{"/odometer: the number is too large or too small to be checked."}},
		{`{"vin":"ABC","odometer":[1,[1e-401]]}`, []string{"/odometer/1/0: the number is too large or too small to be checked."}},
	} {
		got := c.Check(arrived, []byte(test.data))
		if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
			t.Errorf("%s: got %q, want %q", test.data, got, test.want)
		}
	}
}

func TestWhatIsSaidIsBounded(t *testing.T) {
	c := catalogue(t, eventtypes.Warn, `{"properties":{"list":{"items":{"type":"string"}},"name":{"maxLength":1}},"additionalProperties":{"const":"`+strings.Repeat("x", 5000)+`"}}`)
	list := "[" + strings.Repeat("1,", 50_000) + "1]"
	if got := c.Check(arrived, []byte(`{"list":`+list+`}`)); len(got) != 4 || got[3] != "And many more." {
		t.Errorf("100,000 faults are %q", got)
	}
	name := strings.Repeat("n", 10_000) + "\n\x1b[31m\u202e"
	quoted, err := json.Marshal(map[string]int{name: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range c.Check(arrived, quoted) {
		if len(text) > 500 || strings.ContainsAny(text, "\n\x1b\u202e") {
			t.Errorf("a hostile name gives %q", text)
		}
	}
}

func TestWithoutChecksNothingIsCompiled(t *testing.T) {
	for _, mode := range []eventtypes.Mode{eventtypes.Off, ""} {
		c := catalogue(t, mode, `{"type":`)
		if got := c.Check(arrived, []byte(`{}`)); got != nil || c.Checks() || c.Refuses() {
			t.Errorf("%q checks: %q", mode, got)
		}
		data := []byte(`{"vin":1}`)
		if n := testing.AllocsPerRun(100, func() { c.Check(arrived, data) }); n != 0 {
			t.Errorf("%q allocates %v times", mode, n)
		}
	}
}

func TestAHostileSchemaIsRefused(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":`:                                "unexpected EOF",
		`{"type":"text"}`:                         "/type",
		`{"$ref":"https://example.com/a.json"}`:   "$defs",
		`{"$ref":"file:///etc/passwd"}`:           "$defs",
		`{"$schema":"https://example.com/other"}`: "$defs",
		`{"pattern":"(?=look)"}`:                  "pattern",
		`{"minimum":1e999999999}`:                 "/minimum",
		`{"$ref":"#/$defs/none"}`:                 "$defs/none",
	} {
		if _, err := eventtypes.New([]wire.EventKind{{Type: "A:B", Sample: json.RawMessage("{}"), Schema: json.RawMessage(schema)}}, eventtypes.Warn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", schema, err, want)
		}
	}
	endless := catalogue(t, eventtypes.Warn, `{"$ref":"#"}`)
	if got := endless.Check(arrived, []byte("{}")); len(got) != 1 {
		t.Errorf("a schema that refers to itself gives %q", got)
	}
}

// The samples of callbackd's own types fit their schemas as published data does.
func TestOwnSamplesFit(t *testing.T) {
	kinds, err := api.EventKinds()
	if err != nil {
		t.Fatal(err)
	}
	c, err := eventtypes.New(kinds, eventtypes.Refuse)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.Kinds() {
		if got := c.Check(callbackd.EventType(k.Type), k.Sample); got != nil {
			t.Errorf("%s: %q", k.Type, got)
		}
	}
	if got := c.Check(callbackd.StatusChange, []byte(`{"status":1}`)); len(got) == 0 {
		t.Error("a wrong status fits")
	}
	if _, ok := c.Kind("NO:SUCH"); ok {
		t.Error("there is a NO:SUCH")
	}
}

// FuzzCheck looks for data that makes a check fail in another way than by its answer.
func FuzzCheck(f *testing.F) {
	c, err := eventtypes.New([]wire.EventKind{{Type: string(arrived), Sample: json.RawMessage(`{"session_key":"S1"}`), Schema: json.RawMessage(`{"$ref":"#/$defs/n","$defs":{"n":{"anyOf":[{"type":"integer","multipleOf":0.1},{"type":"array","uniqueItems":true,"items":{"$ref":"#/$defs/n"}},{"type":"object","additionalProperties":{"$ref":"#/$defs/n"}}]}}}`)}}, eventtypes.Warn)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{}`, `{"a":[1,1.0,1e2,-0,"x"]}`, `{"a":{"b":[[],[]]}}`, `{"a":1e400}`, `[]`, `{`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		for _, text := range c.Check(arrived, []byte(data)) {
			if text == "" || len(text) > 2000 {
				t.Errorf("%q: %q", data, text)
			}
		}
	})
}
