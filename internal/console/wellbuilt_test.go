package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// pages lists the address of every page that somebody with one of everything sees.
func pages(ids map[string]string) []string {
	callback := "/console/callbacks/" + ids["callback"]
	delivery := "/console/deliveries/" + ids["id"]
	return []string{
		"/console/", "/console/?over=week",
		"/console/callbacks", "/console/callbacks/new", callback, callback + "/edit", callback + "/delete", callback + "/test", callback + "/secret", callback + "/auth",
		"/console/search?q=nothing-has-this", "/console/search?q=SESSION", "/console/sessions", "/console/sessions?q=none", "/console/sessions/" + ids["session"],
		"/console/deliveries", "/console/deliveries?state=failed&event=SESSION:COMPLETE", "/console/deliveries?since=x",
		"/console/deliveries/live", delivery, delivery + "/curl?attempt=1",
		"/console/events/" + ids["event"], "/console/logs", "/console/logs?status=5xx", "/console/keys",
		"/console/incidents", "/console/incidents?state=all",
		"/console/erases", "/console/erases/new", "/console/erases/" + ids["erase"],
		"/console/replays", "/console/replays/new", "/console/replays/new?counted=1&state=failed",
		"/console/deliveries/cancel", "/console/deliveries/cancel?counted=1&event=SESSION:COMPLETE",
		"/console/nothing",
	}
}

func TestEveryPageIsWellBuilt(t *testing.T) {
	s := startSite(t)
	ids := s.fill(s.Key, newReceiver(t).URL)
	ids["erase"] = s.dryRun(t, s.Key, ids["session"])
	ids["group"] = s.dryRunOverKeys(t, ids["session"])
	all := pages(ids)
	for _, c := range []struct {
		who   string
		v     *visitor
		pages []string
	}{
		{"key", s.visitor(t).signIn(s.Key), append(all, "/console/keys/"+s.Key.APIKey+"/limits")},
		{"operator", s.visitor(t).operator(), append(all, "/console/nodes", "/console/erase-groups", "/console/erase-groups/"+ids["group"], "/console/keys/"+s.Key.APIKey+"/revoke", "/console/keys/"+s.Key.APIKey+"/limits")},
		{"nobody", s.visitor(t), []string{"/console/sign-in", "/console/sign-in?as=operator", "/console/link?token=x", "/console/sign-in?done=signed-out"}},
	} {
		for _, path := range c.pages {
			wellBuilt(t, c.who+" "+path, c.v.get(path))
		}
	}
}

// wellBuilt checks what must be true of every page.
func wellBuilt(t *testing.T, name string, a answer) {
	t.Helper()
	doc := parse(t, a)
	faults := headerFaults(a.Header)
	faults = append(faults, frameFaults(doc)...)
	for n := range elements(doc) {
		faults = append(faults, attributeFaults(n)...)
		if check := elementChecks[n.Data]; check != nil {
			if fault := check(n); fault != "" {
				faults = append(faults, fault)
			}
		}
	}
	faults = append(faults, controlFaults(doc)...)
	for _, fault := range faults {
		t.Errorf("%s: %s", name, fault)
	}
}

func headerFaults(h http.Header) (faults []string) {
	csp := h.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		faults = append(faults, fmt.Sprintf("the content security policy is %q", csp))
	}
	if got := h.Get("Cache-Control"); got != "no-store" {
		faults = append(faults, fmt.Sprintf("Cache-Control is %q, want no-store", got))
	}
	return faults
}

// frameFaults checks what a page has once.
func frameFaults(doc *html.Node) (faults []string) {
	headlines := 0
	for n := range elements(doc, "h1", "title", "html") {
		switch n.Data {
		case "h1":
			headlines++
		case "title":
			if title := text(n); !strings.HasSuffix(title, " · callbackd") {
				faults = append(faults, fmt.Sprintf("the title is %q", title))
			}
		case "html":
			if attr(n, "lang") == "" {
				faults = append(faults, "the page has no language")
			}
		}
	}
	if headlines != 1 {
		faults = append(faults, fmt.Sprintf("there are %d h1, want 1", headlines))
	}
	return faults
}

// attributeFaults checks the attributes of an element: nothing inline, no order of
// its own for the keyboard, and no address outside the console.
func attributeFaults(n *html.Node) (faults []string) {
	for _, at := range n.Attr {
		isWrong := false
		switch at.Key {
		case "style":
			isWrong = true
		case "tabindex":
			isWrong = at.Val != "0" && at.Val != "-1"
		case "href", "src", "action":
			isWrong = !strings.HasPrefix(at.Val, "/console") && at.Val != "/docs" && !strings.HasPrefix(at.Val, "/docs/") && at.Val != "#main" && at.Val != ""
		default:
			isWrong = strings.HasPrefix(at.Key, "on")
		}
		if isWrong {
			faults = append(faults, fmt.Sprintf("a %s has %s=%q", n.Data, at.Key, at.Val))
		}
	}
	return faults
}

// elementChecks returns what is wrong with an element, or an empty text, by the
// kind of element.
var elementChecks = map[string]func(*html.Node) string{
	"button":  isEmpty,
	"summary": isEmpty,
	"h2":      isEmpty,
	"h3":      isEmpty,
	"a": func(n *html.Node) string {
		if !hasAttr(n, "href") {
			return fmt.Sprintf("the link %q leads nowhere", text(n))
		}
		return isEmpty(n)
	},
	"time": func(n *html.Node) string {
		if !isWithin(n, "template") && !strings.HasSuffix(text(n), "\u00a0UTC") {
			return fmt.Sprintf("the time %q has no zone", text(n))
		}
		return ""
	},
	"img": func(n *html.Node) string {
		if !hasAttr(n, "alt") {
			return "an img has no alt"
		}
		return ""
	},
	"svg": func(n *html.Node) string {
		if attr(n, "aria-hidden") == "" && attr(n, "aria-label") == "" {
			return "a drawing has no text for those who do not see it"
		}
		return ""
	},
	"script": func(n *html.Node) string {
		if attr(n, "src") == "" {
			return "there is an inline script"
		}
		return ""
	},
	"style": func(*html.Node) string { return "there is an inline style" },
	"form": func(n *html.Node) string {
		if m := attr(n, "method"); m != "get" && m != "post" {
			return fmt.Sprintf("a form has the method %q", m)
		}
		return ""
	},
}

func isEmpty(n *html.Node) string {
	if strings.TrimSpace(text(n)) == "" && !isWithin(n, "template") {
		return fmt.Sprintf("a %s has no text", n.Data)
	}
	return ""
}

// controlFaults checks the controls of forms: each has a label, what describes it
// exists, and a time is asked for with its zone.
func controlFaults(doc *html.Node) (faults []string) {
	ids, labels := map[string]bool{}, map[string]string{}
	for n := range elements(doc) {
		id := attr(n, "id")
		if id != "" && ids[id] {
			faults = append(faults, "two elements have the id "+id)
		}
		ids[id] = true
		if n.Data == "label" && hasAttr(n, "for") {
			labels[attr(n, "for")] = text(n)
		}
	}
	for n := range elements(doc, "input", "select", "textarea") {
		if attr(n, "type") == "hidden" {
			continue
		}
		name, label := attr(n, "name"), labels[attr(n, "id")]
		if label == "" && attr(n, "aria-label") == "" && !isWithin(n, "label") {
			faults = append(faults, "the control "+name+" has no label")
		}
		if attr(n, "type") == "datetime-local" && !strings.Contains(label, "(UTC)") {
			faults = append(faults, "the time "+name+" is asked for without a zone")
		}
		for by := range strings.FieldsSeq(attr(n, "aria-describedby")) {
			if !ids[by] {
				faults = append(faults, "the control "+name+" is described by "+by+", which does not exist")
			}
		}
	}
	return faults
}
