package callbackd

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustFields(t testing.TB, text string) *Fields {
	t.Helper()
	f, err := ParseFields("policy.fields", []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestFieldsCutData(t *testing.T) {
	const data = ` {"grade" : 2.50, "vehicle":{"vin":"1FM","plates":["A", {"b":1,"c":2}]},"é\u0020":null,"photos":[]}`
	for text, want := range map[string]string{
		`{}`:                                                           data,
		`{"only":["grade"]}`:                                           `{"grade":2.50}`,
		`{"only":[]}`:                                                  `{}`,
		`{"only":["nobody","grade.x"]}`:                                `{}`,
		`{"only":["vehicle.vin","é "]}`:                                `{"vehicle":{"vin":"1FM"},"é\u0020":null}`,
		`{"only":["vehicle.nobody"]}`:                                  `{}`,
		`{"only":["vehicle.plates.1.c"]}`:                              `{"vehicle":{"plates":[{"c":2}]}}`,
		`{"only":["photos","photos.0"]}`:                               `{"photos":[]}`,
		`{"only":["vehicle.plates.*.c"]}`:                              `{"vehicle":{"plates":[{"c":2}]}}`,
		`{"only":["vehicle.plates.*"]}`:                                `{"vehicle":{"plates":["A",{"b":1,"c":2}]}}`,
		`{"only":["vehicle.plates.*.c","vehicle.plates.1.b"]}`:         `{"vehicle":{"plates":[{"b":1,"c":2}]}}`,
		`{"only":["vehicle.*","*.vin"]}`:                               `{}`,
		`{"except":["vehicle.plates.*.b","grade","vehicle.plates.0"]}`: `{"vehicle":{"vin":"1FM","plates":[{"c":2}]},"é\u0020":null,"photos":[]}`,
		`{"except":["vehicle","é "]}`:                                  `{"grade":2.50,"photos":[]}`,
		`{"except":["vehicle.plates.0"]}`:                              `{"grade":2.50,"vehicle":{"vin":"1FM","plates":[{"b":1,"c":2}]},"é\u0020":null,"photos":[]}`,
		`{"except":["grade.x","vehicle.vin","vehicle.plates"]}`:        `{"grade":2.50,"vehicle":{},"é\u0020":null,"photos":[]}`,
	} {
		if got := string(mustFields(t, text).Of([]byte(data))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestFieldsNameWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                            "policy.fields must have one member, only or except",
		`{"only":["a"],"except":["b"]}`: "policy.fields must have one member",
		`{"without":["a"]}`:             "policy.fields must have one member",
		`{"only":"a"}`:                  "policy.fields must have one member",
		`{"only":null}`:                 "policy.fields must have one member",
		`{"only":[1]}`:                  "policy.fields must have one member",
		`{"except":[]}`:                 "policy.fields.except has 0 paths. At most 100 are allowed, and except needs one.",
		`{"only":["a.*"` + strings.Repeat(`,"a.*"`, 10) + `]}`: "policy.fields.only has 11 paths with *. At most 10 are allowed.",
		`{"only":["a..b"]}`: `policy.fields.only has "a..b", which is not a path`,
		`{"only":[""]}`:     `policy.fields.only has "", which is not a path`,
		`{"only":["` + strings.Repeat("a", 256) + `"]}`:       "which is not a path",
		`{"only":["a"` + strings.Repeat(`,"a"`, 100) + `]}`:   "policy.fields.only has 101 paths.",
		`{"only":["` + strings.Repeat("a", MaxFields) + `"]}`: "policy.fields has 8205 bytes.",
	} {
		_, err := ParseFields("policy.fields", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: the error is %v; want %q in it", text, err, want)
		}
		if kind := KindOf(err); kind != KindInvalid {
			t.Errorf("%.60s: the error has the kind %d; want %d", text, kind, KindInvalid)
		}
	}
}

// cutReference does what Fields does, on decoded JSON. elements that go leave gaps that are
// closed.
func cutReference(v any, paths [][]string, except bool) (any, bool) {
	var rest [][]string
	for _, path := range paths {
		if len(path) == 0 {
			return v, !except
		}
		rest = append(rest, path)
	}
	if len(rest) == 0 {
		return v, except
	}
	within := func(names ...string) (out [][]string) {
		for _, path := range rest {
			if slices.Contains(names, path[0]) {
				out = append(out, path[1:])
			}
		}
		return out
	}
	switch of := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range of {
			if cut, ok := cutReference(inner, within(name), except); ok {
				out[name] = cut
			}
		}
		return out, except || len(out) > 0
	case []any:
		out := []any{}
		for i, inner := range of {
			if cut, ok := cutReference(inner, within(jsonNumber(i), "*"), except); ok {
				out = append(out, cut)
			}
		}
		return out, except || len(out) > 0
	}
	return v, except
}

func jsonNumber(i int) string { b, _ := json.Marshal(i); return string(b) }

func TestFieldsCutLikeTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 0)
		except := rapid.Bool().Draw(t, "except")
		paths := rapid.SliceOfN(rapid.SliceOfN(rapid.OneOf(drawName, rapid.Just("*")), 1, 3), 1, 4).Draw(t, "paths")
		var texts []string
		for _, path := range paths {
			texts = append(texts, strings.Join(path, "."))
		}
		kind := map[bool]string{false: "only", true: "except"}[except]
		text, _ := json.Marshal(map[string][]string{kind: texts})
		event, _ := decodeJSON([]byte(data))
		want, ok := cutReference(event, paths, except)
		if !ok {
			want = map[string]any{}
		}
		fields, err := ParseFields("fields", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		cut := fields.Of([]byte(data))
		got, ok := decodeJSON(cut)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s of %s: %s, want %v", text, data, cut, want)
		}
	})
}

// Any choice of any data is an object in JSON.
func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"only":["a.0","b"]}`), []byte(`{"a":[1,{"x":2}],"b":{}}`))
	f.Add([]byte(`{"only":["a.*.x","a.0.y","*"]}`), []byte(`{"a":[{"x":2,"y":1}],"*":1}`))
	f.Add([]byte(`{"except":["a.0.x"]}`), []byte(`{"a":[{"x":2}],"\u0061":1}`))
	f.Fuzz(func(t *testing.T, text, data []byte) {
		fields, err := ParseFields("policy.fields", text)
		if err != nil || fields == nil || !json.Valid(data) {
			return
		}
		again, err := ParseFields("policy.fields", []byte(fields.String()))
		if err != nil || !reflect.DeepEqual(fields, again) {
			t.Fatalf("%q became %q, %v", text, fields, err)
		}
		out := fields.Of(data)
		if !json.Valid(out) || out[0] != '{' {
			t.Fatalf("%q of %q is %q; want an object", text, data, out)
		}
		if most := max(len(data), 2); len(out) > most {
			t.Fatalf("%q of %q has %d bytes; want %d at most: %q", text, data, len(out), most, out)
		}
	})
}
