package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"callbackd"
	"callbackd/internal/front"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// assets is the address of each static file, with a hash of its content in
// it, so that a browser may keep it for ever.
var assets = func() map[string]string {
	out := map[string]string{}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := staticFiles.ReadFile(name)
		sum := sha256.Sum256(raw)
		out[path.Base(name)] = link("static", hex.EncodeToString(sum[:6]), path.Base(name))
		return err
	})
	if err != nil {
		panic(err) // of embedded files
	}
	return out
}()

var staticTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	raw, err := staticFiles.ReadFile("static/" + file)
	if err != nil || assets[file] != r.URL.Path {
		c.fail(w, r, nil, errNoPage)
		return
	}
	w.Header().Set("Content-Type", staticTypes[path.Ext(file)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(raw)
}

// page is one parsed page.
type page struct{ *template.Template }

// parsePages parses every page with the parts that all share. A page that
// does not parse is a bug that every test would meet.
func parsePages() map[string]*page {
	shared := template.Must(template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/_*.html"))
	names, err := fs.Glob(templateFiles, "templates/[^_]*.html")
	if err != nil {
		panic(err)
	}
	out := map[string]*page{}
	for _, name := range names {
		t := template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, name))
		out[strings.TrimSuffix(path.Base(name), ".html")] = &page{t}
	}
	return out
}

// base is what every page has.
type base struct {
	Title    string
	Nav      string // the place in the navigation
	Version  string
	In       bool // somebody is signed in
	Operator bool
	Account  string
	KeyName  string
	Live     bool
	Notice   string
	Caution  bool   // the notice is of something to see to
	Find     string // what was looked for
	// Reload is Refresh for browsers without JavaScript, for pages that wait
	// for something; 0: never.
	Reload int
	// Refresh is after how many seconds an open page asks for itself again;
	// 0: never.
	Refresh int
	// Watch is a stream whose rows make an open page ask for itself again.
	Watch string
}

// place is one entry of the navigation.
type place struct{ Name, Label, Href string }

var places = []place{
	{"overview", "Overview", link()}, {"webhooks", "Callbacks", link("webhooks")}, {"sessions", "Sessions", link("sessions")}, {"deliveries", "Deliveries", link("deliveries")},
	{"logs", "API Logs", link("logs")}, {"keys", "API Keys", link("keys")}, {"replays", "Replays", link("replays")}, {"nodes", "Nodes", link("nodes")},
}

// Places is the navigation. The nodes are the operator's.
func (b *base) Places() []place {
	if b.Operator {
		return places
	}
	return places[:len(places)-1]
}

// refusedText is for a target that will be refused. It does not say why: that
// would tell what is inside a network.
const refusedText = "But nothing can be delivered to its URL as things are: the host is unknown, or it leads to an address that callbackd may not send to."

// notices are the sentences that a page may greet with, by the word in ?done=.
var notices = map[string]string{
	"signed-out":      "You are signed out.",
	"created":         "The callback was created. Send a test to see it work.",
	"created-refused": "The callback was created. " + refusedText,
	"saved-refused":   "The callback was saved. " + refusedText,
	"saved":           "The callback was saved.",
	"deleted":         "The callback was deleted. What it was still owed is canceled.",
	"paused":          "The callback is paused. Deliveries wait until it is resumed.",
	"resumed":         "The callback is resumed.",
	"rotated":         "There is a new signing secret. For a while the old one signs too.",
	"retried":         "The delivery is sent again.",
	"revoked":         "The API key was revoked.",
}

func (c *Console) base(v *visit, nav, title string) base {
	b := base{Title: title, Nav: nav, Version: c.Version, In: true, Operator: v.operator(), Notice: notices[v.URL.Query().Get("done")]}
	b.Caution = strings.HasSuffix(v.URL.Query().Get("done"), "-refused")
	if v.key != nil {
		b.Account, b.KeyName, b.Live = v.key.Account, v.key.Name, v.key.Live
	}
	return b
}

// render writes a page whole or not at all.
func (c *Console) render(w http.ResponseWriter, status int, name string, data any) error {
	var buf bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&buf, name+".html", data); err != nil {
		return err
	}
	if err := front.HoldBytes(w, buf.Len()); err != nil {
		return err
	}
	front.EndAnswer(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, c.outward(buf.String()))
	return nil
}

var statuses = map[callbackd.Kind]int{
	callbackd.KindInvalid:      http.StatusBadRequest,
	callbackd.KindUnauthorized: http.StatusUnauthorized,
	callbackd.KindNotFound:     http.StatusNotFound,
	callbackd.KindConflict:     http.StatusConflict,
	callbackd.KindTooLarge:     http.StatusRequestEntityTooLarge,
	callbackd.KindLimited:      http.StatusTooManyRequests,
	callbackd.KindUnavailable:  http.StatusServiceUnavailable,
}

type errorPage struct {
	base
	Status  int
	Message string
}

// fail is the one place that shows errors, and the one that logs them.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	kind := callbackd.KindOf(err)
	p := errorPage{base: c.doorBase("Something went wrong"), Status: statuses[kind], Message: sentence(err)}
	if v != nil {
		p.base = c.base(v, "", p.Title)
	}
	switch {
	case errors.Is(r.Context().Err(), context.Canceled): // nobody waits for the page
		c.Log.Debug("page given up by its visitor", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindInternal || kind == callbackd.KindUnavailable:
		c.Log.Error("page failed", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindNotFound:
		p.Title = "Not found"
	}
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	if err := c.render(w, p.Status, "error", &p); err != nil {
		c.Log.Error("the error page failed", "error", err)
		http.Error(w, p.Message, p.Status)
	}
}

// sentence is what a person is told of an error.
func sentence(err error) string {
	e, ok := errors.AsType[*callbackd.Error](err)
	if !ok || e.Message == "" {
		return "callbackd failed; the operator's log says how."
	}
	s := e.Message
	if e.Kind != callbackd.KindInvalid { // those begin with a member's name
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// see redirects after a form, to a page that greets with the notice.
func see(w http.ResponseWriter, v *visit, to, done string) error {
	to = withQuery(to, "done", done)
	http.Redirect(w, v.Request, to, http.StatusSeeOther)
	return nil
}
