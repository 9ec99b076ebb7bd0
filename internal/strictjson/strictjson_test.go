package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"callbackd/internal/strictjson"

	"pgregory.net/rapid"
)

var refused = map[string]string{
	"empty":                 ``,
	"space":                 `  `,
	"not an object":         `[1]`,
	"a string":              `"x"`,
	"cut":                   `{"a":1`,
	"cut in a string":       `{"a":"`,
	"trailing":              `{"a":1} x`,
	"two values":            `{"a":1}{"b":2}`,
	"trailing comma":        `{"a":1,}`,
	"single quotes":         `{'a':1}`,
	"comment":               `{"a":1/**/}`,
	"duplicate":             `{"a":1,"a":2}`,
	"duplicate by escape":   `{"a":1,"\u0061":2}`,
	"duplicate within":      `{"x":[{"a":1,"a":2}]}`,
	"NaN":                   `{"a":NaN}`,
	"Infinity":              `{"a":-Infinity}`,
	"hexadecimal":           `{"a":0x10}`,
	"leading zero":          `{"a":01}`,
	"leading plus":          `{"a":+1}`,
	"bare point":            `{"a":1.}`,
	"invalid UTF-8":         "{\"a\":\"\xff\"}",
	"invalid UTF-8 name":    "{\"\xc3\x28\":1}",
	"overlong":              "{\"a\":\"\xc0\xaf\"}",
	"surrogate as UTF-8":    "{\"a\":\"\xed\xa0\x80\"}",
	"lone high surrogate":   `{"a":"\ud800"}`,
	"lone low surrogate":    `{"a":"\udc00"}`,
	"surrogates reversed":   `{"a":"\udc00\ud800"}`,
	"raw control":           "{\"a\":\"\x01\"}",
	"raw newline in string": "{\"a\":\"\n\"}",
	"bad escape":            `{"a":"\x41"}`,
	"byte order mark":       "\ufeff{}",
	"10,000 deep":           `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
	"100,000 deep and cut":  `{"a":` + strings.Repeat("[", 100_000),
	"deep objects":          strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
	"one level over":        `{"a":` + strings.Repeat("[", strictjson.MaxDepth) + strings.Repeat("]", strictjson.MaxDepth) + `}`,
	"unquoted name":         `{a:1}`,
	"missing colon":         `{"a" 1}`,
	"mismatched":            `{"a":[1}`,
	"nul":                   "{\"a\":1\x00}",
}

func TestObjectRefuses(t *testing.T) {
	for name, in := range refused {
		if m, err := strictjson.Object([]byte(in)); err == nil {
			t.Errorf("%s: read as %v", name, m)
		}
	}
}

// The texts continue a sentence that begins with what was read.
func TestRefusalsReadAsSentences(t *testing.T) {
	for in, want := range map[string]string{
		"":        "is empty; it must be a JSON object",
		" \r\n\t": "is empty; it must be a JSON object",
		"[]":      "must be a JSON object",
		`{"a":1`:  "is not valid JSON: ends in the middle",
		`{} x`:    "has something after the end of the JSON value",
	} {
		if _, err := strictjson.Object([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestObjectKeepsEveryByteOfValues(t *testing.T) {
	in := ` {"n": 12345678901234567890.10e+400 ,"s":"\u00e9\/\ud83d\ude00","o": { "b" : [ 1.0 , -0 ] }, "":null,"deep":` +
		strings.Repeat("[", strictjson.MaxDepth-1) + strings.Repeat("]", strictjson.MaxDepth-1) + "}\n"
	m, err := strictjson.Object([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ name, value string }{{"n", "12345678901234567890.10e+400"}, {"s", `"\u00e9\/\ud83d\ude00"`}, {"o", `{ "b" : [ 1.0 , -0 ] }`}, {"", "null"}}
	for i, w := range want {
		if m[i].Name != w.name || string(m[i].Value) != w.value {
			t.Errorf("member %d is %q: %s, want %q: %s", i, m[i].Name, m[i].Value, w.name, w.value)
		}
	}
	if s, ok := m[1].Value.Text(); !ok || s != "é/😀" {
		t.Errorf("text is %q, %v", s, ok)
	}
}

func TestArray(t *testing.T) {
	got, err := strictjson.Array([]byte(`[ {"a":1}, 2 ,"x"]`))
	if err != nil || len(got) != 3 {
		t.Fatalf("got %s, %v; want 3 values", got, err)
	}
	for i, want := range []string{`{"a":1}`, "2", `"x"`} {
		if string(got[i]) != want {
			t.Errorf("value %d is %s, want %s", i, got[i], want)
		}
	}
	for _, in := range []string{`{}`, `[1,]`, `[1] 2`, `[{"a":1,"a":1}]`, `[`} {
		if got, err := strictjson.Array([]byte(in)); err == nil {
			t.Errorf("%s read as %s", in, got)
		}
	}
}

func TestAppendStringReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		var got string
		if err := json.Unmarshal(strictjson.AppendString(nil, s), &got); err != nil || got != s {
			t.Fatalf("%q reads back as %q, %v", s, got, err)
		}
	})
	if got := string(strictjson.AppendString(nil, "a\xffb\x00\x1f\"\\\n")); got != `"a`+"\ufffd"+`b\u0000\u001f\"\\\n"` {
		t.Errorf("got %s", got)
	}
}

func FuzzObject(f *testing.F) {
	for _, in := range refused {
		if len(in) < 1000 {
			f.Add([]byte(in))
		}
	}
	f.Add([]byte(`{"a":{"b":[1,2,{"c":null}]},"d":"e"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		keep := bytes.Clone(in)
		m, err := strictjson.Object(in)
		if !bytes.Equal(in, keep) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		var std map[string]json.RawMessage
		if err := json.Unmarshal(in, &std); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if len(std) != len(m) {
			t.Fatalf("%d members, encoding/json has %d", len(m), len(std))
		}
		for _, v := range m {
			if !bytes.Equal(std[v.Name], v.Value) {
				t.Fatalf("member %q is %s, encoding/json has %s", v.Name, v.Value, std[v.Name])
			}
		}
	})
}

func BenchmarkObject(b *testing.B) {
	in := []byte(`{"event":"SESSION:STATUS_CHANGE","session_key":"ABC-0123456789","data":{"status":"PROCESS","previous_status":"STARTED","pad":"` + strings.Repeat("x", 900) + `"}}`)
	b.SetBytes(int64(len(in)))
	var m []strictjson.Member
	for b.Loop() {
		var err error
		if m, err = strictjson.AppendObject(m[:0], in); err != nil {
			b.Fatal(err)
		}
	}
}
