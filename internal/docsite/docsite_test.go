package docsite_test

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"callbackd/docs"
	"callbackd/internal/docsite"
)

func site(t *testing.T, base string) *docsite.Site {
	t.Helper()
	openapi, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return docsite.New(docsite.Options{Files: docs.Files, OpenAPI: openapi, Style: "a { color: red }", Base: base, Log: slog.New(slog.DiscardHandler)})
}

func get(t *testing.T, s *docsite.Site, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// every asks for each page and image that the first page leads to, and returns the pages.
func every(t *testing.T, s *docsite.Site, base string) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for todo := []string{docsite.Root}; len(todo) > 0; todo = todo[1:] {
		if _, ok := pages[todo[0]]; ok {
			continue
		}
		w := get(t, s, todo[0])
		if w.Code != 200 {
			t.Errorf("%s answers %d", todo[0], w.Code)
		}
		pages[todo[0]] = w.Body.String()
		for _, m := range regexp.MustCompile(` (?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Fatal(err)
			}
			if u.IsAbs() || u.Path == "" {
				continue
			}
			below, ok := strings.CutPrefix(u.Path, base)
			if !ok {
				t.Errorf("%s links to %s, which is not below %s", todo[0], u.Path, base)
			}
			todo = append(todo, below)
		}
	}
	return pages
}

// The first page begins with what a newcomer does first, and lists each page once.
func TestTheFirstPageBeginsWithTheFirstCallback(t *testing.T) {
	html := get(t, site(t, ""), docsite.Root).Body.String()
	_, list, _ := strings.Cut(html, "<h1")
	links := regexp.MustCompile(`<a [^>]*href="([^"#]+)"`).FindAllStringSubmatch(list, -1)
	seen := map[string]bool{}
	for _, l := range links {
		if seen[l[1]] {
			t.Errorf("%s is there twice", l[1])
		}
		seen[l[1]] = true
	}
	if len(links) < 40 || links[0][1] != docsite.Root+"/howto/receive-your-first-callback" {
		t.Errorf("the first of %d links is %v", len(links), links[:min(1, len(links))])
	}
}

// The index of the how-to pages lists each of them once, and nothing else.
func TestTheHowToIndexListsEachPageOnce(t *testing.T) {
	index, err := fs.ReadFile(docs.Files, "howto/README.md")
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^- \[[^\]]*\]\(([^)]*)\)`).FindAllStringSubmatch(string(index), -1) {
		times[m[1]]++
	}
	files, err := fs.Glob(docs.Files, "howto/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := path.Base(file); name != "README.md" && times[name] != 1 {
			t.Errorf("howto/README.md lists %s %d times, want once", name, times[name])
		}
	}
	if len(times) != len(files)-1 {
		t.Errorf("howto/README.md lists %d pages; there are %d", len(times), len(files)-1)
	}
}

// Every document has a page that the first page leads to, and every link and anchor leads
// somewhere.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, base := range []string{"", "/hooks"} {
		pages := every(t, site(t, base), base)
		for from, html := range pages {
			for _, m := range regexp.MustCompile(` href="([^"#]*)#([^"]*)"`).FindAllStringSubmatch(html, -1) {
				to := strings.TrimPrefix(m[1], base)
				if to == "" {
					to = from
				}
				if strings.HasPrefix(to, "https://") || m[2] == "main" {
					continue
				}
				id, err := url.PathUnescape(m[2])
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(pages[to], ` id="`+id+`"`) {
					t.Errorf("%s links to %s#%s, and there is no such heading", from, to, id)
				}
			}
		}
		err := fs.WalkDir(docs.Files, ".", func(name string, d fs.DirEntry, err error) error {
			if path.Ext(name) == ".md" {
				name = path.Join(docsite.Root, strings.TrimSuffix(strings.TrimSuffix(name, ".md"), "README"))
				if _, ok := pages[name]; !ok {
					t.Errorf("no page leads to %s", name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A page needs nothing but itself and its images: no script, no other file, no other host.
func TestAPageIsSelfContained(t *testing.T) {
	for name, html := range every(t, site(t, ""), "") {
		for _, bad := range []string{"<script", "<link", "<iframe", " style=", " on", "javascript:"} {
			if regexp.MustCompile(`<[^>]*`+bad+`[a-z]*=`).MatchString(html) || strings.HasPrefix(bad, "<") && strings.Contains(html, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
	w := get(t, site(t, ""), docsite.Root)
	if p := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("the policy is %q", p)
	}
}

// A search finds headings and words, in any order and case.
func TestTheSearchFinds(t *testing.T) {
	s := site(t, "/hooks")
	for query, want := range map[string]string{
		"oauth2 receiver":        `<a href="/hooks/docs/howto/call-a-receiver-behind-oauth2">`,
		"BACKUP and restore":     `<a href="/hooks/docs/operating#backup-and-restore">`,
		"post /v1/events":        `<a href="/hooks/docs/api-reference#post-v1events">`,
		"glossary":               "Glossary",
		"<script>alert(1)":       "Nothing has all of these words",
		strings.Repeat("ü", 200): "Nothing has all of these words",
	} {
		w := get(t, s, "/docs/search?q="+url.QueryEscape(query))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "<script>") {
			t.Errorf("a search for %q answers %d without %q:\n%s", query, w.Code, want, w.Body)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := site(t, "")
	for _, p := range []string{"/docs/nothing", "/docs/../go.mod", "/docs/howto/nothing.md", "/docs/docs.go"} {
		if w := get(t, s, p); w.Code != 404 || !strings.Contains(w.Body.String(), "no such page") {
			t.Errorf("%s answers %d", p, w.Code)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, docsite.Root, nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST answers %d, Allow: %s", w.Code, w.Header().Get("Allow"))
	}
	if w := get(t, s, "/docs/operating.md"); w.Code != 200 {
		t.Errorf("a page asked for by its file's name answers %d", w.Code)
	}
}

// The reference has every operation and schema of the OpenAPI document.
func TestTheReferenceIsComplete(t *testing.T) {
	html := get(t, site(t, ""), "/docs/api-reference").Body.String()
	openapi, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	operations := regexp.MustCompile(`(?m)^      operationId: `).FindAllString(string(openapi), -1)
	if got := strings.Count(html, "<h3 "); got < len(operations) || len(operations) < 50 {
		t.Errorf("%d headings for %d operations", got, len(operations))
	}
	for _, want := range []string{`id="post-v1events"`, `id="schema-publishbody"`, `href="#schema-publishbody"`, "&quot;session_key&quot;: &quot;ACM-0123456789&quot;"} {
		if !strings.Contains(html, want) {
			t.Errorf("the reference lacks %s", want)
		}
	}
}
