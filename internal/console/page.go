package console

import (
	"bytes"
	"context"
	"embed"
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

// page is one parsed page.
type page struct{ *template.Template }

// parsePages parses each page together with the parts that all pages share. A
// page that does not parse is a bug, which every test would find.
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

// base has what every page shows.
type base struct {
	Title      string
	Nav        string // the current item of the navigation
	Version    string
	LoggedIn   bool
	Operator   bool
	Account    string
	KeyName    string
	Live       bool // the key is a live key
	Brand      Brand
	Role       string // of who is signed in by a link for a customer
	MayChange  bool   // the person may change callbacks and see secrets
	MayRotate  bool   // the person may rotate the secret of the API key
	ReturnTo   string // where the link leads back; empty: nowhere
	ReturnName string
	Notice     string
	Caution    bool   // the notice is a warning
	SearchText string // of the search box
	Incidents  int    // open, and neither acknowledged nor muted; up to maxCounted

	EventTypes []callbackd.EventType // to choose from

	// Refresh is the interval in seconds in which an open page updates
	// itself; 0 means never.
	Refresh int
	// Reload is Refresh for browsers without JavaScript. Only pages that wait
	// for something have it.
	Reload int
	// Watch is the address of a stream. Each of its rows makes an open page
	// update itself.
	Watch string
}

// navItem is one item of the navigation.
type navItem struct{ Name, Label, Href string }

// navItems ends with the items that only the operator sees.
var navItems = []navItem{
	{"overview", "Overview", link()},
	{"callbacks", "Callbacks", link("callbacks")},
	{"sessions", "Sessions", link("sessions")},
	{"deliveries", "Deliveries", link("deliveries")},
	{"incidents", "Incidents", link("incidents")},
	{"logs", "API Logs", link("logs")},
	{"audit", "Audit log", link("audit")},
	{"keys", "API Keys", link("keys")},
	{"replays", "Replays", link("replays")},
	{"erases", "Erasures", link("erases")},
	{"tokens", "Operator tokens", link("tokens")},
	{"nodes", "Nodes", link("nodes")},
}

// operatorNavItems is how many items of navItems only the operator sees.
const operatorNavItems = 2

// NavItems is the navigation of the page.
func (b *base) NavItems() []navItem {
	if b.Operator {
		return navItems
	}
	return navItems[:len(navItems)-operatorNavItems]
}

// refusedText warns that nothing will be delivered to a URL. It does not say
// why, because that would reveal which hosts exist inside a network.
const refusedText = "But nothing can be delivered to its URL now: " +
	"the host is unknown, or it leads to an address that callbackd may not send to."

// refusedSuffix is at the end of a notice's name when refusedText is part of it.
const refusedSuffix = "-refused"

// notices are the sentences at the top of a page, by the value of ?done=.
var notices = map[string]string{
	"signed-out":              "You are signed out.",
	"created":                 "The callback was created. Send a test to see it work.",
	"created" + refusedSuffix: "The callback was created. " + refusedText,
	"saved":                   "The callback was saved.",
	"saved" + refusedSuffix:   "The callback was saved. " + refusedText,
	"deleted":                 "The callback was deleted. Its pending deliveries are canceled.",
	"paused":                  "The callback is paused. Deliveries wait until you resume it.",
	"resumed":                 "The callback is resumed.",
	"rotated":                 "There is a new signing secret. Requests are signed with the old one too for the time you chose.",
	"auth-rotated":            "The credentials were changed. Try them now.",
	"resent":                  "The delivery is being resent.",
	"acknowledged":            "The incident is acknowledged.",
	"muted":                   "No notices of the incident are sent for the time that you chose.",
	"unmuted":                 "Notices of the incident are sent again.",
	"revoked":                 "The API key was revoked.",
	"token-revoked":           "The operator token was revoked.",
}

func (c *Console) base(req *userRequest, nav, title string) base {
	done := req.URL.Query().Get("done")
	b := base{
		Title:    title,
		Nav:      nav,
		Version:  c.Version,
		LoggedIn: true,
		Operator: req.isOperator(),
		Notice:   notices[done],
		Caution:  strings.HasSuffix(done, refusedSuffix),

		Incidents:  c.openIncidents(req),
		EventTypes: c.Events.Types(),
	}
	b.Brand, b.MayChange, b.MayRotate = c.Brand, req.role().Includes(callbackd.ConsoleDeveloper), req.role().Includes(callbackd.ConsoleHolder)
	b.Role = string(req.customer.Role)
	if to := req.customer.ReturnTo; to != "" && callbackd.CheckReturnTo(to, c.ReturnOrigins) == nil {
		b.ReturnTo, b.ReturnName = to, returnLabel(to)
	}
	if req.key != nil {
		b.Account, b.KeyName, b.Live = req.key.Account, req.key.Name, req.key.Live
	}
	return b
}

// render writes a whole page, or nothing when the template fails.
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
	io.WriteString(w, c.addPublicPath(buf.String()))
	return nil
}

// redirect answers a form with a redirect to a page that shows the notice done.
func redirect(w http.ResponseWriter, req *userRequest, to, done string) error {
	http.Redirect(w, req.Request, withQuery(to, "done", done), http.StatusSeeOther)
	return nil
}

type errorPage struct {
	base
	Status  int
	Message string
}

// fail shows an error, and logs it when it is the server's. It is the only place that
// does either. req is nil when the visitor is not logged in.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, req *userRequest, err error) {
	kind := callbackd.KindOf(err)
	p := errorPage{base: c.signedOutBase("Something went wrong"), Status: front.Status(err), Message: callbackd.Sentence(err)}
	if req != nil {
		p.base = c.base(req, "", p.Title)
	}
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		// The browser is gone. Logged as an error, this would let any caller
		// fill the log.
		c.Log.Debug("the browser did not wait for the page", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindInternal || kind == callbackd.KindUnavailable:
		c.Log.Error("page failed", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindNotFound:
		p.Title = "Not found"
	case kind == callbackd.KindForbidden:
		p.Title = "Not allowed"
	}
	if err := c.render(w, p.Status, "error", &p); err != nil {
		c.Log.Error("the error page failed", "error", err)
		http.Error(w, p.Message, p.Status)
	}
}
