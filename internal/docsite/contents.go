package docsite

import (
	"slices"
	"strings"
)

// section is a part of the table of contents.
type section struct {
	Title string
	Names []string // of pages; a folder with a slash at its end has those of its pages that no section names
}

// contents lists every page in the order of the navigation.
var contents = []section{
	{"Begin here", []string{"howto/receive-your-first-callback", "howto/publish-events", "howto/receive-on-a-laptop", "howto/when-nothing-arrives"}},
	{"Tasks", []string{"howto/"}},
	{"For integrators", []string{"api", referenceName, "clients", "sessions", "console"}},
	{"For operators", []string{"operating", "admin", "proxy", "scale", "troubleshooting"}},
	{"How it works", []string{"guarantees", "performance", "architecture", "decisions", "dependencies"}},
}

// referenceName is the page of the API reference, which is made from openapi.yaml.
const referenceName = "api-reference"

// expand returns the names of a section, with folders replaced by their pages in the
// order of names.
func (s section) expand(names []string) []string {
	var out []string
	for _, n := range s.Names {
		if !strings.HasSuffix(n, "/") {
			out = append(out, n)
			continue
		}
		for _, name := range names {
			if strings.HasPrefix(name, n) && name != n+indexName && !named(name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// named reports whether a section has a page by its name.
func named(page string) bool {
	return slices.ContainsFunc(contents, func(s section) bool { return slices.Contains(s.Names, page) })
}
