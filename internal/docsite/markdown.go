package docsite

import (
	"bytes"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// document is a page before it has its frame.
type document struct {
	name, title string
	source      []byte
	tree        ast.Node
	headings    []heading
}

// heading is a heading of a document, with the text below it.
type heading struct {
	Level int
	Text  string
	ID    string
	below string
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Linkify),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()))

// parse reads a document of the name, which is its path without the ending.
func parse(name string, source []byte) *document {
	ids := parser.NewContext(parser.WithIDs(&anchors{seen: map[string]int{}}))
	d := &document{name: name, source: source, title: name}
	d.tree = markdown.Parser().Parse(text.NewReader(source), parser.WithContext(ids))
	for n := d.tree.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		switch {
		case ok:
			id, _ := h.AttributeString("id")
			raw, _ := id.([]byte)
			d.headings = append(d.headings, heading{Level: h.Level, Text: plain(h, source), ID: string(raw)})
			if h.Level == 1 && len(d.headings) == 1 {
				d.title = d.headings[0].Text
			}
		case len(d.headings) > 0:
			last := &d.headings[len(d.headings)-1]
			last.below += " " + plain(n, source)
		}
	}
	return d
}

// sections returns the headings that a page lists on its side.
func (d *document) sections() []heading {
	var out []heading
	for _, h := range d.headings {
		if h.Level == 2 {
			out = append(out, h)
		}
	}
	return out
}

// plain returns the text below a node, without its marks.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			if n.Type() == ast.TypeBlock {
				b.WriteByte(' ')
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Segment.Value(source))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.FencedCodeBlock, *ast.CodeBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				b.Write(line.Value(source))
			}
		case *ast.AutoLink:
			b.Write(n.Label(source))
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(b.String()), " ")
}

// documentName is how documents name each other in code spans.
var documentName = regexp.MustCompile(`^docs/[a-z/-]+(\.md)?$`)

// html returns the body of the page. Links between documents lead to their pages.
func (d *document) html(base string) ([]byte, error) {
	var spans []*ast.CodeSpan
	err := ast.Walk(d.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		var err error
		switch n := n.(type) {
		case *ast.Link:
			n.Destination, err = d.target(base, n.Destination)
		case *ast.Image:
			n.Destination, err = d.target(base, n.Destination)
		case *ast.CodeSpan:
			if documentName.MatchString(plain(n, d.source)) && n.Parent().Kind() != ast.KindLink {
				spans = append(spans, n)
			}
		}
		return ast.WalkContinue, err
	})
	if err != nil {
		return nil, err
	}
	for _, span := range spans {
		link := ast.NewLink()
		name := strings.TrimPrefix(strings.TrimSuffix(plain(span, d.source), ".md"), "docs/")
		link.Destination = []byte(base + href(name))
		span.Parent().ReplaceChild(span.Parent(), span, link)
		link.AppendChild(link, span)
	}
	var out bytes.Buffer
	err = markdown.Renderer().Render(&out, d.source, d.tree)
	return out.Bytes(), err
}

// target returns the address of what a document links to.
func (d *document) target(base string, to []byte) ([]byte, error) {
	u, err := url.Parse(string(to))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s links to %q: %w", d.name, to, err)
	case u.IsAbs() || u.Path == "":
		return to, nil
	}
	file := path.Join(path.Dir(d.name), u.Path)
	if strings.HasPrefix(file, "..") {
		return nil, fmt.Errorf("%s links to %q, which is not among the documents", d.name, to)
	}
	out := base + href(strings.TrimSuffix(file, ".md"))
	if u.Fragment != "" {
		out += "#" + u.Fragment
	}
	return []byte(out), nil
}

// anchors makes the anchors of headings as forges do: lower case, words joined by hyphens.
type anchors struct{ seen map[string]int }

// Generate is part of parser.IDs.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(string(value))) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte('-')
		}
	}
	id := b.String()
	n := a.seen[id]
	a.seen[id]++
	if n > 0 {
		id += "-" + strconv.Itoa(n)
	}
	return []byte(id)
}

// Put is part of parser.IDs.
func (a *anchors) Put(value []byte) { a.seen[string(value)]++ }
