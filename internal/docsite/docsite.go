// Package docsite serves the documents as pages: no JavaScript, no files from elsewhere, and
// nothing that depends on the visitor. All pages are made once, when the first is asked for.
package docsite

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Root is the path of the first page.
const Root = "/docs"

// Options are what a site is made of.
type Options struct {
	Files   fs.FS  // Markdown and images; a page has the name of its file
	OpenAPI []byte // the API's document
	Style   string // the style sheet that the pages share with the console
	Base    string // path of the public URL, without a slash at its end
	Log     *slog.Logger
}

// Site serves the documents.
type Site struct {
	options Options
	made    func() (*pages, error)
}

// pages has everything that is served.
type pages struct {
	html   map[string][]byte // by path below Root
	images map[string][]byte // the same
	layout *template.Template
	policy string
	style  template.CSS
	nav    []navSection
	index  []entry // what is searched
}

// navSection is a part of the navigation.
type navSection struct {
	Title string
	Pages []navPage
}

// navPage is a link of the navigation.
type navPage struct{ Title, Href string }

// indexName is the document that a folder shows.
const indexName = "README"

//go:embed docs.css
var ownStyle string

//go:embed page.html
var layout string

// New returns a site. It makes no page yet.
func New(o Options) *Site {
	s := &Site{options: o}
	s.made = sync.OnceValues(s.make)
	return s
}

// ServeHTTP is part of http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The documents can only be read: use GET.", http.StatusMethodNotAllowed)
		return
	}
	p, err := s.made()
	if err != nil {
		s.options.Log.Error("the documents cannot be shown", "error", err)
		http.Error(w, "The documents cannot be shown. The server's log says why.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, Root), "/")
	if image, ok := p.images[name]; ok {
		h.Set("Content-Type", "image/png")
		w.Write(image)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	if name == searchName {
		s.write(w, http.StatusOK, p.search(s.options.Base, r.URL.Query().Get("q")))
		return
	}
	if html, ok := p.html[strings.TrimSuffix(name, ".md")]; ok {
		s.write(w, http.StatusOK, html)
		return
	}
	s.write(w, http.StatusNotFound, p.render(s.options.Base, view{Title: "There is no such page", Body: "<p>The list of all pages is on the left, and the search above it finds headings and words.</p>"}))
}

func (s *Site) write(w http.ResponseWriter, status int, html []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(html)))
	w.WriteHeader(status)
	w.Write(html)
}

// make makes all pages.
func (s *Site) make() (*pages, error) {
	style := s.options.Style + ownStyle
	sum := sha256.Sum256([]byte(style))
	p := &pages{
		html: map[string][]byte{}, images: map[string][]byte{}, style: template.CSS(style),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
	var err error
	if p.layout, err = template.New("page").Parse(layout); err != nil {
		return nil, err
	}
	docs := map[string]*document{}
	err = fs.WalkDir(s.options.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(s.options.Files, name)
		switch path.Ext(name) {
		case ".png":
			p.images[name] = raw
		case ".md":
			docs[strings.TrimSuffix(name, ".md")] = parse(strings.TrimSuffix(name, ".md"), raw)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	reference, err := referenceDocument(s.options.OpenAPI)
	if err != nil {
		return nil, err
	}
	docs[referenceName] = reference
	p.navigation(docs)
	for name, d := range docs {
		html, err := d.html(s.options.Base)
		if err != nil {
			return nil, err
		}
		p.html[urlName(name)] = p.render(s.options.Base, view{Title: d.title, Body: template.HTML(html), Current: href(name), Headings: d.sections()})
		p.index = append(p.index, d.entries()...)
	}
	slices.SortStableFunc(p.index, func(a, b entry) int { return strings.Compare(a.href, b.href) })
	p.html[""] = p.render(s.options.Base, view{Title: "Documents", Nav: p.nav, Current: Root})
	return p, nil
}

// navigation makes the table of contents.
func (p *pages) navigation(docs map[string]*document) {
	var names []string
	for name := range docs {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(docs[a].title, docs[b].title) })
	for _, s := range contents {
		n := navSection{Title: s.Title}
		for _, name := range s.expand(names) {
			if d := docs[name]; d != nil {
				n.Pages = append(n.Pages, navPage{d.title, href(name)})
			}
		}
		p.nav = append(p.nav, n)
	}
}

// urlName returns the path of a document below Root: a folder shows its README.
func urlName(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, indexName), "/")
}

func href(name string) string { return path.Join(Root, urlName(name)) }

// view is what the layout shows.
type view struct {
	Title    string
	Body     template.HTML
	Current  string
	Headings []heading
	Query    string
	Nav      []navSection // shown in the page itself: the table of contents
	Found    []result

	Base  string
	Menu  []navSection
	Style template.CSS
}

// Searched reports whether the page shows what a search found.
func (v view) Searched() bool { return v.Query != "" }

func (p *pages) render(base string, v view) []byte {
	v.Base, v.Menu, v.Style = base, p.nav, p.style
	var out bytes.Buffer
	if err := p.layout.Execute(&out, v); err != nil {
		panic(err) // into memory, of values that the layout is made for
	}
	return out.Bytes()
}
