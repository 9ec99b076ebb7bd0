package console_test

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// parse parses a page.
func parse(t *testing.T, a answer) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// elements returns the elements of those kinds within a node, or all.
func elements(n *html.Node, kinds ...string) iter.Seq[*html.Node] {
	return func(yield func(*html.Node) bool) {
		for d := range n.Descendants() {
			if d.Type != html.ElementNode || len(kinds) > 0 && !slices.Contains(kinds, d.Data) {
				continue
			}
			if !yield(d) {
				return
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
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// text is the text within a node.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// isWithin reports whether an element of that kind contains the node.
func isWithin(n *html.Node, kind string) bool {
	for p := range n.Ancestors() {
		if p.Data == kind {
			return true
		}
	}
	return false
}

// words is the text of a page's main part, with white space folded.
func words(t *testing.T, a answer) string {
	t.Helper()
	for n := range elements(parse(t, a), "main") {
		return strings.Join(strings.Fields(text(n)), " ")
	}
	return ""
}

// element is the text of the element with an id.
func element(t *testing.T, a answer, id string) string {
	t.Helper()
	for n := range elements(parse(t, a)) {
		if attr(n, "id") == id {
			return text(n)
		}
	}
	t.Fatalf("%s has no #%s", a.Request.URL, id)
	return ""
}

// linksSaying is where the links with these words lead.
func linksSaying(t *testing.T, a answer, words string) (hrefs []string) {
	t.Helper()
	for n := range elements(parse(t, a), "a") {
		if text(n) == words {
			hrefs = append(hrefs, attr(n, "href"))
		}
	}
	return hrefs
}

// headline is the text of the page's h1.
func headline(t *testing.T, a answer) string {
	t.Helper()
	for n := range elements(parse(t, a), "h1") {
		return text(n)
	}
	return ""
}
