package console

import (
	"maps"
	"net/url"

	"callbackd/internal/request"
)

// pageRows is how many rows a page of a list has.
const pageRows = 50

// list has the links of a list that is read page by page.
type list struct {
	First string // empty on the first page
	Next  string // empty on the last page

	path   string
	filter url.Values // of every page
}

func newList(path string, filter url.Values) list { return list{path: path, filter: filter} }

// setNext links to the page after a cursor.
func (l *list) setNext(cursor string) {
	q := maps.Clone(l.filter)
	q.Set("after", cursor)
	l.Next = withValues(l.path, q)
}

// readCursor reads the cursor in ?after= and links a page that has one to the
// first page.
func readCursor[T any](l *list, params url.Values, after *T, parse func(string) (T, bool)) error {
	if params.Get("after") == "" {
		return nil
	}
	l.First = withValues(l.path, l.filter)
	return request.Values(params).Read(request.Cursor("after", after, parse))
}

// refreshFirst makes the first page of a list update itself. Later pages would
// change under the reader.
func (b *base) refreshFirst(l *list, seconds int) {
	if l.First == "" {
		b.Refresh = seconds
	}
}
