package settings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/settings"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func toJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// texts draws texts that a careless writer of YAML or JSON would change.
var texts = rapid.OneOf(rapid.SampledFrom([]string{"true", "null", "1e3", "0x1F", "- a", "a: b", "#x", "'", `"\`, " x ", "a\nb", "é 鍵 🔑", "~", "2026-01-02", "<<", "=", "*a", "&a", "!x", "%", "@", "`"}), rapid.StringMatching(`[ -~]{0,12}`))

// drawSettings draws API keys with callbacks of any kind.
func drawSettings(t *rapid.T) string {
	durations := rapid.SampledFrom([]string{"1s", "1m", "59.999s", "1500ms"})
	keys := []any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "keys") {
		key := map[string]any{"api_key": fmt.Sprint("key-number-", i), "account": "acme", "name": fmt.Sprint("n", i), "live": rapid.Bool().Draw(t, "live")}
		if rapid.Bool().Draw(t, "limited") {
			key["limits"] = map[string]any{"publish_rate": rapid.SampledFrom([]float64{0, 0.5, 12.25}).Draw(t, "rate"), "callbacks": 100}
			key["callback_policy"] = map[string]any{"timeout": durations.Draw(t, "key timeout"), "concurrency": 3}
			key["retention"], key["retention_events"] = "7d", map[string]any{"SESSION:COMPLETE": "1h"}
			key["expires_at"] = "2030-01-01T00:00:00.5Z"
		}
		var cbs []any
		for j, event := range rapid.SliceOfNDistinct(rapid.SampledFrom(callbackd.EventTypes), 0, 3, rapid.ID[callbackd.EventType]).Draw(t, "events") {
			policy := map[string]any{}
			format := rapid.Just(callbackd.FormatJSON)
			if event.IsNotice() {
				format = rapid.SampledFrom(callbackd.Formats)
			}
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"timeout", "order", "rate", "concurrency", "keep_alive", "store_response", "expect", "format", "retry", "ttl", "order_group", "filter", "fields", "signing"}), rapid.ID[string]).Draw(t, "policy") {
				if name == "expect" && event.IsNotice() { // of notices only SILENCE has it
					continue
				}
				policy[name] = map[string]any{
					"timeout": durations.Draw(t, "timeout"), "order": rapid.SampledFrom([]string{"0s", "7s"}).Draw(t, "order"), "rate": 0.25, "concurrency": 7, "keep_alive": rapid.Bool().Draw(t, "alive"),
					"store_response": rapid.Bool().Draw(t, "store"), "expect": "2h", "format": format.Draw(t, "format"),
					"retry": []string{"0s", "1.5s"}, "ttl": "1d", "order_group": "auto", "filter": map[string]any{"data.a": map[string]any{"eq": texts.Draw(t, "operand")}}, "fields": map[string]any{"except": []string{"a.b"}}, "signing": []string{"standard", "github"},
				}[name]
			}
			if f, ok := policy["format"].(callbackd.Format); ok && f.ForPeople() {
				delete(policy, "fields") // which are of the data, and this sends a text
			}
			if rapid.Bool().Draw(t, "auth") {
				policy["auth"] = map[string]any{"oauth2": map[string]any{"token_url": "https://t.example/", "client_id": "c", "client_secret": map[string]any{"value": "s"}}}
			}
			cbs = append(cbs, map[string]any{"event": event, "name": fmt.Sprint("c", j), "url": "https://a.example/" + fmt.Sprint(j), "headers": map[string]any{"X-A": map[string]any{"value": "v"}, "X-B": "w"},
				"payload": map[string]any{texts.Draw(t, "member"): texts.Draw(t, "payload"), "n": []any{1.5, nil, true, map[string]any{}}}, "policy": policy, "paused": rapid.Bool().Draw(t, "paused")})
		}
		key["callbacks"] = cbs
		keys = append(keys, key)
	}
	raw, err := json.Marshal(map[string]any{"version": 1, "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// What is exported and applied changes nothing, in YAML and in JSON, and what was applied is
// not applied again.
func TestAnExportChangesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := drawSettings(r)
		f, err := settings.Read([]byte(text))
		if err != nil {
			r.Fatal(err)
		}
		p, err := f.Plan(nil, options(false))
		if err != nil {
			r.Fatal(err)
		}
		all := apply(t, nil, p)
		if again := lines(plan(t, text, all, true)); again != nil {
			r.Fatalf("the same file changes again: %q\n%s", again, text)
		}
		exported, err := settings.Export(all)
		if err != nil {
			r.Fatal(err)
		}
		raw := toJSON(t, exported)
		written, err := settings.YAML([]byte(raw))
		if err != nil {
			r.Fatal(err)
		}
		for _, file := range []string{raw, string(written)} {
			doc, err := settings.Parse([]byte(file))
			if err == nil {
				err = doc.Resolve(nothing, nothing)
			}
			if err != nil {
				r.Fatalf("%v in\n%s", err, file)
			}
			if diff := cmp.Diff(normal(raw), normal(string(doc.JSON))); diff != "" {
				r.Fatalf("the file reads back with differences (-want +got):\n%s\n%s", diff, file)
			}
			if again := lines(plan(t, string(doc.JSON), all, true)); again != nil {
				r.Fatalf("the export changes %q\n%s", again, file)
			}
		}
	})
}

// A policy is exported whole, also when it has got a new member.
func TestEveryMemberOfAPolicyIsExported(t *testing.T) {
	filter, err := callbackd.ParseFilter("filter", []byte(`{"data.a":{"eq":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := callbackd.ParseFields("fields", []byte(`{"only":["a"]}`))
	if err != nil {
		t.Fatal(err)
	}
	policy := callbackd.Policy{
		Timeout: time.Second, Retry: []time.Duration{0}, OrderWait: time.Second, Rate: 1, Concurrency: 1, NoKeepAlive: true, NoResponse: true,
		Signing: []callbackd.SigningScheme{"github"}, Expect: time.Hour, OrderGroup: "a", TTL: time.Hour, Filter: filter, Fields: fields,
		Format: callbackd.FormatSlack, Auth: &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "t"}},
	}
	v := reflect.ValueOf(policy)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("this test sets no %s", v.Type().Field(i).Name)
		}
	}
	exported, err := settings.Export([]callbackd.KeySettings{{Callbacks: []*callbackd.Callback{{Event: callbackd.NoticeFailing, Policy: policy}}}})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(exported.Keys[0].Callbacks[0].Policy, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != v.NumField() {
		t.Errorf("of %d members %d are exported: %v", v.NumField(), len(members), members)
	}
}

func normal(text string) (v any) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err.Error()
	}
	return v
}

func nothing(name string) (string, error) { return "", errors.New("there is no " + name) }

func TestReferencesAreResolved(t *testing.T) {
	doc, err := settings.Parse([]byte(`version: 1
keys:
  - account: acme
    name: x
    secret: {env: KEY_SECRET}
    callbacks:
      - event: SESSION:COMPLETE
        url: https://a.example/
        headers: {X-Token: {file: /run/token}, X-Env: prod}
        payload: {secret: {env: HOME}, headers: {env: x}}
`))
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) (string, error) { return "the-secret-of-" + name, nil }
	if err := doc.Resolve(find, find); err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"keys":[{"account":"acme","name":"x","secret":{"value":"the-secret-of-KEY_SECRET"},"callbacks":[{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X-Token":{"value":"the-secret-of-/run/token"},"X-Env":"prod"},"payload":{"secret":{"env":"HOME"},"headers":{"env":"x"}}}]}]}`
	if string(doc.JSON) != want {
		t.Errorf("%s, want\n%s", doc.JSON, want)
	}
	p := plan(t, string(doc.JSON), nil, false)
	if made := p.NewKeys(); len(made) != 1 || made[0].Secret != "the-secret-of-KEY_SECRET" {
		t.Errorf("the key is %+v", made)
	}
	if err := doc.Resolve(nothing, nothing); err == nil || !strings.Contains(err.Error(), "must not stand in the file") {
		t.Errorf("a secret in a file is taken: %v", err)
	}
}

// A hostile or mistaken file is refused with the line of the mistake, and quickly.
func TestMistakesHaveALine(t *testing.T) {
	bomb := "version: 1\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 'b'; i < 'm'; i++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for text, want := range map[string]string{
		"":                                  "is empty",
		"- a\n":                             "must have the members version and keys",
		"version: 1\nversion: 1\n":          `line 2: "version" stands twice, first in line 1`,
		"version: 1\nkeys: []\n---\nx":      "more than one YAML document",
		"version: 1\nkeys: [\n":             "not valid YAML",
		"version: 0x1\n":                    `line 1: "0x1" is not a number`,
		"version: 1\nkeys: !!binary aGk=\n": "line 2: the type !!binary is not read",
		"version: 1\n<<: {keys: []}\n":      "line 2: a name must be a text",
		"? [a]\n: b\n":                      "line 1: a name must be a text",
		"version: .inf\n":                   "is not a number",
		bomb:                                "aliases are written out",
		"a: &a {b: *a}\n":                   "nests deeper",
		"a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200): "nests deeper",
		"{\n \"version\": 1,\n \"version\": 1}":                     "line 3: ",
		"{\n \"version\": 1,,\n}":                                   "line 2: ",
		strings.Repeat("#", settings.MaxFile+1):                     "At most 1000000 are allowed",
		"{\"version\": 1} x":                                        "line 1: ",
	} {
		begin := time.Now()
		_, err := settings.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %q", text, err, want)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%.60q takes %s", text, took)
		}
	}
}

func TestMessagesAreFoundInTheFile(t *testing.T) {
	yaml := `version: 1
keys:
  - account: acme
    name: x
    limits:
      publish_rate: -1
    callbacks:
      - event: SESSION:COMPLETE
        url: https://a.example/
        policy:
          timeout: 5h
          timeouts: 5s
`
	for _, text := range []string{yaml, string(mustJSON(yaml))} {
		doc, err := settings.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for message, member := range map[string]string{
			"In keys[0]: limits.publish_rate must be":                                 "publish_rate",
			"In keys[0].callbacks[0]: policy.timeout must be":                         "timeout",
			`In keys[0].callbacks[0]: Unknown member "timeouts". policy has timeout.`: "timeouts",
			`In keys[0].callbacks[0]: Unknown member "url". A callback`:               "url",
			"In keys[0].callbacks[0]: The URL's host is missing.":                     "event",
			"In keys[0].callbacks[0].headers.X: a secret must be":                     "event",
			"The settings: version must be":                                           "version",
		} {
			line := doc.Line(message)
			lines := strings.Split(text, "\n")
			if line < 1 || line > len(lines) || !strings.Contains(lines[line-1], member) && strings.TrimSpace(lines[line-1]) != "{" {
				t.Errorf("%q is found in line %d of\n%s", message, line, text)
			}
		}
	}
}

// mustJSON returns a YAML text as JSON with a member a line.
func mustJSON(text string) []byte {
	doc, err := settings.Parse([]byte(text))
	if err != nil {
		panic(err)
	}
	var v any
	if err := json.Unmarshal(doc.JSON, &v); err != nil {
		panic(err)
	}
	out, _ := json.MarshalIndent(v, "", " ") // of what json.Unmarshal made
	return out
}
