package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
)

// documents lists every document for people.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range append(files, "../../README.md", "openapi.yaml") {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(raw)
	}
	return out
}

// The routes, headers and metrics that documents describe exist.
func TestDocumentsNameWhatExists(t *testing.T) {
	s := start(t)
	sent := s.sentHeader()
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200) // a callback in trouble has series of its own
	metrics := s.call("GET", "/metrics", "").ok(200).body
	for _, c := range []struct {
		what   string
		names  *regexp.Regexp
		exists func(name string) bool
		least  int // how many the documents name
	}{
		{"route", regexp.MustCompile(`\b(GET|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9_./{}:]*[A-Za-z0-9_}])`), s.served, 15},
		{"header", regexp.MustCompile(`\b(webhook|callback)-(id|timestamp|signature|attempt|sequence|test)\b`), func(name string) bool { return sent.Get(name) != "" }, 8},
		{"metric", regexp.MustCompile(`\bcallbackd_[a-z_]+(total|seconds|in_flight)\b`), func(name string) bool { return strings.Contains(metrics, "# TYPE "+name+" ") }, 1},
	} {
		found := 0
		for file, text := range documents(t) {
			for _, name := range c.names.FindAllString(text, -1) {
				found++
				if !c.exists(name) {
					t.Errorf("%s names the %s %s, which does not exist", file, c.what, name)
				}
			}
		}
		if found < c.least {
			t.Errorf("the documents name %d times a %s, want %d or more", found, c.what, c.least)
		}
	}
}

// The page for integrators has every route and every header, and the operator's page the
// routes of the management API.
func TestTheIntegratorsPageNamesEverything(t *testing.T) {
	s := start(t)
	page, admin := documents(t)["../../docs/api.md"], documents(t)["../../docs/admin.md"]
	for _, p := range s.api.Patterns() {
		switch {
		case strings.Contains(p, " /v1/admin/"):
			if !strings.Contains(admin, p) {
				t.Errorf("docs/admin.md lacks %s", p)
			}
		case strings.Contains(p, " /v1/") && !strings.Contains(page, p):
			t.Errorf("docs/api.md lacks %s", p)
		}
	}
	for name := range s.sentHeader() {
		name = strings.ToLower(name)
		ours := strings.HasPrefix(name, "webhook-") || strings.HasPrefix(name, "callback-")
		if ours && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/api.md lacks the header %s", name)
		}
	}
}

// sentHeader is the header of a test-send.
func (s *server) sentHeader() http.Header {
	s.t.Helper()
	recv := listen(s.t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "").ok(200)
	return recv.next().header
}

// served reports whether a documented route, as in "GET /v1/events", is one of ours.
func (s *server) served(route string) bool {
	method, path, _ := strings.Cut(route, " ")
	mux := http.NewServeMux()
	for _, p := range s.api.Patterns() {
		mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
	}
	path = strings.NewReplacer("{event}", "e", "{id}", "i", "/:event", "/e", "/:id", "/i", "{key}", "k", "/:key", "/k").Replace(path)
	req, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		return false
	}
	_, pattern := mux.Handler(req)
	return pattern != ""
}

// The table of limits in docs/api.md has the constants of the code.
func TestDocumentedLimits(t *testing.T) {
	page := documents(t)["../../docs/api.md"]
	for _, row := range []struct {
		name   string
		limits []int
	}{
		{"a request body", []int{callbackd.MaxBody}}, {"the data of an event", []int{callbackd.MaxEventData}}, {"events in one request", []int{callbackd.MaxBatch}},
		{"a session key", []int{callbackd.MaxSessionKey}}, {"an idempotency key", []int{callbackd.MaxIdempotency}}, {"a callback's URL", []int{callbackd.MaxURL}},
		{"a callback's headers", []int{callbackd.MaxHeaders, callbackd.MaxHeaderBytes}}, {"a callback's payload", []int{callbackd.MaxPayload}},
		{"callbacks of a key for one event", []int{callbackd.MaxCallbacks}}, {"a session's reference", []int{callbackd.MaxReference}},
		{"a session's results", []int{callbackd.MaxResults}}, {"a session's notes", []int{callbackd.MaxNotes}}, {"a page of a list", []int{store.MaxPage}}, {"deliveries of one replay", []int{callbackd.MaxReplay}},
		{"replays of a key that have not ended", []int{callbackd.MaxReplays}}, {"calls of a key that wait for events", []int{api.MaxWaiting}}, {"nesting of JSON", []int{strictjson.MaxDepth}},
	} {
		_, rest, ok := strings.Cut(page, "| "+row.name+" | ")
		cell, _, _ := strings.Cut(rest, " |")
		var got []string
		for _, n := range row.limits {
			got = append(got, itoa(n))
		}
		if words := regexp.MustCompile(`\d+`).FindAllString(cell, -1); !ok || !slices.Equal(words, got) {
			t.Errorf("%s: %q, want %v", row.name, cell, got)
		}
	}
}

// The example of a signature is right, and the Python code below it accepts this signature
// and no other.
func TestDocumentedSignature(t *testing.T) {
	page := documents(t)["../../docs/api.md"]
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + ` +(.+)$`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("there is no %s", name)
		}
		return m[1]
	}
	key, err := signature.ParseSecret(value("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got := signature.Sign(value("id"), 1767366245, []byte(value("body")), signature.NewKey(key)); got != value("signature") || value("timestamp") != "1767366245" {
		t.Errorf("the signature is %s", got)
	}
	_, code, ok := strings.Cut(page, "```python\n")
	code, _, _ = strings.Cut(code, "```")
	if !ok {
		t.Fatal("there is no Python")
	}
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	code += `
time.time = lambda: 1767366245 + 299
headers = {"webhook-id": ` + quote(value("id")) + `, "webhook-timestamp": "1767366245", "webhook-signature": "v1,x v1a,y " + ` + quote(value("signature")) + `}
secret, body = ` + quote(value("secret")) + `, ` + quote(value("body")) + `.encode()
assert verify(secret, headers, body)
assert not verify(secret, headers, body + b" ")
assert not verify(secret, headers | {"webhook-id": "evt_x"}, body)
assert not verify(secret, headers | {"webhook-signature": "v1,"}, body)
time.time = lambda: 1767366245 + 301
assert not verify(secret, headers, body)
`
	if out, err := exec.CommandContext(t.Context(), "python3", "-c", code).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
