package console_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/console"

	"golang.org/x/net/html"
)

// pages is every page there is, for somebody who has one of everything.
func pages(ids map[string]string) []string {
	wh := "/console/callbacks/" + ids["callback"]
	return []string{"/console/", "/console/?over=week", "/console/callbacks", "/console/callbacks/new", wh, wh + "/edit", wh + "/delete", wh + "/test", wh + "/secret",
		"/console/sessions", "/console/sessions?q=none", "/console/sessions/" + ids["session"], "/console/deliveries", "/console/deliveries?state=failed&event=SESSION:COMPLETE", "/console/deliveries?since=x",
		"/console/events/" + ids["event"], "/console/deliveries/live", "/console/deliveries/" + ids["id"], "/console/deliveries/" + ids["id"] + "/curl?attempt=1", "/console/logs", "/console/logs?status=5xx", "/console/keys", "/console/replays", "/console/replays/new", "/console/replays/new?counted=1&state=failed", "/console/nothing"}
}

func TestEveryPageIsWellBuilt(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	ids := s.fill(s.Key, recv.URL)
	holder, op, nobody := s.visitor(t).signIn(s.Key), s.visitor(t).operator(), s.visitor(t)
	for _, path := range pages(ids) {
		wellBuilt(t, "key "+path, holder.get(path))
		wellBuilt(t, "operator "+path, op.get(path))
	}
	for _, path := range []string{"/console/nodes", "/console/keys/" + s.Key.APIKey + "/revoke"} {
		wellBuilt(t, path, op.get(path))
	}
	for _, path := range []string{"/console/sign-in", "/console/sign-in?as=operator", "/console/link?token=x", "/console/sign-in?done=signed-out"} {
		wellBuilt(t, path, nobody.get(path))
	}
}

// wellBuilt holds a page against what every page must be.
func wellBuilt(t *testing.T, name string, a answer) {
	t.Helper()
	wrong := func(format string, args ...any) { t.Helper(); t.Errorf("%s: %s", name, fmt.Sprintf(format, args...)) }
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || a.Header.Get("Cache-Control") != "no-store" {
		wrong("headers %v", a.Header)
	}
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	h1, title, lang, labels, ids := 0, "", "", map[string]bool{}, map[string]bool{}
	var controls []*html.Node
	labelOf := map[string]string{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "label" && attr(n, "for") != "" {
			labels[attr(n, "for")], labelOf[attr(n, "for")] = true, text(n)
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				wrong("two elements have the id %s", id)
			}
			ids[id] = true
		}
		for _, at := range n.Attr {
			if at.Key == "style" || strings.HasPrefix(at.Key, "on") || at.Key == "tabindex" && at.Val != "0" && at.Val != "-1" {
				wrong("%s has %s=%q", n.Data, at.Key, at.Val)
			}
			if (at.Key == "href" || at.Key == "src" || at.Key == "action") && !strings.HasPrefix(at.Val, "/console") && at.Val != "#main" && at.Val != "" {
				wrong("%s leads to %s", n.Data, at.Val)
			}
		}
		switch n.Data {
		case "h1":
			h1++
		case "title":
			title = text(n)
		case "html":
			lang = attr(n, "lang")
		case "input", "select", "textarea":
			if attr(n, "type") != "hidden" {
				controls = append(controls, n)
			}
		case "button", "a", "summary", "h2", "h3":
			if strings.TrimSpace(text(n)) == "" && !inTemplate(n) {
				wrong("a %s says nothing", n.Data)
			}
			if n.Data == "a" && !hasAttr(n, "href") {
				wrong("the link %q leads nowhere", text(n))
			}
		case "time":
			if !inTemplate(n) && !strings.HasSuffix(text(n), "\u00a0UTC") {
				wrong("the time %q has no zone", text(n))
			}
		case "img":
			if !hasAttr(n, "alt") {
				wrong("an img has no alt")
			}
		case "svg":
			if attr(n, "aria-hidden") == "" && attr(n, "aria-label") == "" {
				wrong("a picture says nothing to those who do not see it")
			}
		case "script", "style":
			if n.Data == "style" || attr(n, "src") == "" {
				wrong("there is an inline %s", n.Data)
			}
		case "form":
			if m := attr(n, "method"); m != "get" && m != "post" {
				wrong("a form has the method %q", m)
			}
		}
	}
	if h1 != 1 || lang == "" || !strings.HasSuffix(title, " · callbackd") {
		wrong("%d h1, title %q, lang %q", h1, title, lang)
	}
	for _, c := range controls {
		if attr(c, "type") == "datetime-local" && !strings.Contains(labelOf[attr(c, "id")], "(UTC)") {
			wrong("the time %s is asked for without a zone", attr(c, "name"))
		}
		if !labels[attr(c, "id")] && attr(c, "aria-label") == "" && !inLabel(c) {
			wrong("the control %s has no label", attr(c, "name"))
		}
		for _, by := range strings.Fields(attr(c, "aria-describedby")) {
			if !ids[by] {
				wrong("the control %s is described by %s, which is not there", attr(c, "name"), by)
			}
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func under(n *html.Node, name string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == name {
			return true
		}
	}
	return false
}

func inTemplate(n *html.Node) bool { return under(n, "template") }
func inLabel(n *html.Node) bool    { return under(n, "label") }

// The contrast of every pair of colours that text is written in, computed
// from the stylesheet's variables in both themes (WCAG 2.2, 1.4.3).
func TestContrast(t *testing.T) {
	css := console.Stylesheet()
	light, dark, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark theme")
	}
	dark, _, _ = strings.Cut(dark, "\n}\n")
	themes := map[string]map[string]string{"light": variables(light), "dark": variables(dark)}
	pairs := map[string][]string{
		"text": {"bg", "surface", "sunken", "accent-soft"}, "muted": {"bg", "surface", "sunken"}, "accent": {"bg", "surface", "accent-soft"},
		"on-accent": {"accent"}, "ok": {"ok-soft", "surface"}, "bad": {"bad-soft", "surface", "bg"}, "warn": {"warn-soft", "surface"},
		"surface": {"text"}, // a primary button under the pointer
	}
	for name, vars := range themes {
		for fg, bgs := range pairs {
			for _, bg := range bgs {
				if c := contrast(t, vars[fg], vars[bg]); c < 4.5 {
					t.Errorf("%s: %s (%s) on %s (%s) has a contrast of %.2f", name, fg, vars[fg], bg, vars[bg], c)
				}
			}
		}
		// What is no text but must be seen: 3 to 1 (WCAG 2.2, 1.4.11).
		for _, fg := range []string{"strong-line", "accent"} {
			if c := contrast(t, vars[fg], vars["surface"]); c < 3 {
				t.Errorf("%s: %s on surface has a contrast of %.2f", name, fg, c)
			}
		}
	}
	// No colour is written anywhere but in the variables.
	_, rules, _ := strings.Cut(css, "*, *::before")
	if m := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgb\(`).FindString(rules); m != "" {
		t.Errorf("the colour %s is not a variable", m)
	}
}

func variables(css string) map[string]string {
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		out[m[1]] = m[2]
	}
	return out
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(hex string) float64 {
		if len(hex) != 7 {
			t.Fatalf("%q is no colour", hex)
		}
		sum := 0.0
		for i, weight := range []float64{.2126, .7152, .0722} {
			n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= .04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

// hostile is what may come in every text a client or a receiver sends.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\u202egnp.exe\u2066\u0007\u0000{{.}}"

// What receivers and clients send is shown as text, whatever it is: nothing
// of it becomes an element, reorders the text or breaks the page.
func TestWhatIsShownIsText(t *testing.T) {
	s := startSite(t)
	long := strings.Repeat("x", 100<<10)
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Evil", "<script>alert(1)</script>")
		w.Header().Set("Location", "javascript:alert(1)//"+hostile[:20])
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, hostile, long)
	})
	c := s.Client(s.Key)
	if _, err := c.CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:NOTE_INSERT", URL: recv.URL + "/?q=%3Cscript%3Ealert(1)%3C/script%3E", Retry: []string{"0s"},
		Headers: map[string]string{"X-Own": "<b>secret</b>"}, Payload: map[string]any{"x": hostile}}); err != nil {
		t.Fatal(err)
	}
	session := `<script>alert(1)</script>"'>`
	ev := s.Publish(s.Key, callbackd.NoteInsert, session, map[string]any{"note": map[string]any{"title": hostile, "description": long}, hostile: long})
	v := s.visitor(t).signIn(s.Key)
	id := "dlv_" + strings.TrimPrefix(ev, "evt_") + "-1"
	s.Await(func() bool {
		return strings.Contains(words(t, v.get("/console/deliveries/"+id)), "The only attempt failed")
	})
	for _, path := range []string{"/console/", "/console/callbacks", "/console/callbacks/1", "/console/callbacks/1/edit", "/console/callbacks/1/delete", "/console/callbacks/1/test", "/console/callbacks/1/secret",
		"/console/deliveries", "/console/deliveries?session=" + urlQuery(hostile), "/console/deliveries/" + id, "/console/sessions", "/console/sessions?q=" + urlQuery(hostile), "/console/sessions/" + urlPath(session), "/console/events/" + ev, "/console/logs?path=" + urlQuery(hostile)} {
		a := v.get(path)
		wellBuilt(t, path, a)
		for _, raw := range []string{"<script>alert", "<img src=x", "\u202e", "\u2066", "\u0007"} {
			if strings.Contains(a.body, raw) {
				t.Errorf("%s shows %q as it came", path, raw)
			}
		}
		if len(a.body) > 500<<10 {
			t.Errorf("%s has %d bytes", path, len(a.body))
		}
	}
}

// What is copied as curl is, byte for byte, what was sent.
func TestCurlIsExact(t *testing.T) {
	for _, body := range []string{`{"a":"it's"}`, hostile[:len(hostile)-6], "\xff\xfe\\n'\t\r\n\u202e\U000e0041", "plain"} {
		out, err := exec.Command("bash", "-c", "printf %s "+console.Quote(body)).CombinedOutput()
		if err != nil || string(out) != body {
			t.Errorf("%q becomes %q, %v", body, out, err)
		}
		if strings.ContainsAny(console.Quote(body), "\u202e\u2066\x07") {
			t.Errorf("%q hides something", console.Quote(body))
		}
	}
}
