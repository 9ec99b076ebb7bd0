package console_test

import (
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
