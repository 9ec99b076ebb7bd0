package docsite

import (
	"cmp"
	"slices"
	"strings"
)

// searchName is the page of the search.
const searchName = "search"

// maxFound is how many results a search shows, and maxQuery how many bytes of a query count.
const (
	maxFound = 40
	maxQuery = 200
)

// entry is a heading that can be found.
type entry struct {
	page, heading, href string
	titles, text        string // in lower case
}

// result is a heading that a search found.
type result struct{ Page, Heading, Href, Excerpt string }

// entries returns what can be found of a document.
func (d *document) entries() []entry {
	var out []entry
	for _, h := range d.headings {
		e := entry{page: d.title, heading: h.Text, href: href(d.name), text: h.below}
		if h.Level > 1 {
			e.href += "#" + h.ID
		}
		e.titles = strings.ToLower(d.title + " " + h.Text)
		out = append(out, e)
	}
	return out
}

// search returns the page with the headings that have every word of the query, in the
// heading or in the text below it. Those that have them in the heading come first.
func (p *pages) search(base, query string) []byte {
	query = strings.ToValidUTF8(query[:min(len(query), maxQuery)], "")
	words := strings.Fields(strings.ToLower(query))
	type ranked struct {
		entry
		inTitles int
	}
	var found []ranked
	for _, e := range p.index {
		text, n := strings.ToLower(e.text), 0
		all := !slices.ContainsFunc(words, func(w string) bool {
			if strings.Contains(e.titles, w) {
				n++
				return false
			}
			return !strings.Contains(text, w)
		})
		if all && len(words) > 0 {
			found = append(found, ranked{e, n})
		}
	}
	slices.SortStableFunc(found, func(a, b ranked) int { return cmp.Compare(b.inTitles, a.inTitles) })
	v := view{Title: "Search", Query: strings.Join(strings.Fields(query), " ")}
	for _, f := range found[:min(len(found), maxFound)] {
		v.Found = append(v.Found, result{f.page, f.heading, f.href, excerpt(f.text, words)})
	}
	return p.render(base, v)
}

// excerpt returns the text around the first word that was searched.
func excerpt(text string, words []string) string {
	const before, length = 40, 160
	at := -1
	for _, w := range words {
		if i := strings.Index(strings.ToLower(text), w); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	start := max(0, at-before)
	end := min(len(text), start+length)
	out := strings.TrimSpace(strings.ToValidUTF8(text[min(start, end):end], ""))
	if start > 0 {
		out = "… " + out
	}
	if end < len(text) {
		out += " …"
	}
	return out
}
