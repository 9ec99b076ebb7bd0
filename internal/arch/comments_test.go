package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unread lists the packages whose comments were not rewritten yet.
var unread = []string{}

// source is the Go code of the module, parsed, with what its comments may name.
type source struct {
	fset  *token.FileSet
	files map[string]*ast.File // by path from the top of the repository
	paths map[string]bool      // every file and folder of the repository
	bases map[string]bool      // the last element of each path
	names map[string]bool      // every identifier that the code uses
}

const top = "../.."

// readSource parses every Go file that git knows.
func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet(), files: map[string]*ast.File{}, paths: map[string]bool{}, bases: map[string]bool{}, names: map[string]bool{}}
	for _, path := range tracked(t) {
		for p := path; p != "."; p = filepath.Dir(p) {
			s.paths[p], s.bases[filepath.Base(p)] = true, true
		}
		if !strings.HasSuffix(path, ".go") {
			continue
		}
		file, err := parser.ParseFile(s.fset, filepath.Join(top, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.files[path] = file
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				s.names[n.Name] = true
			case *ast.BasicLit: // SQL, JSON members and flags are names too
				for _, w := range word.FindAllString(n.Value, -1) {
					s.names[w] = true
				}
			}
			return true
		})
	}
	return s
}

// tracked lists the files of the repository, by their paths from its top.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var paths []string
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSuffix(path, "\n")
		if _, err := os.Stat(filepath.Join(top, path)); err == nil { // not deleted since
			paths = append(paths, path)
		}
	}
	return paths
}

var (
	word      = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	camelCase = regexp.MustCompile(`\b(?:[a-z]+[0-9]*|[A-Z][a-z0-9]+)(?:[A-Z][a-z0-9]+)+\b`)
	fileName  = regexp.MustCompile(`\b(?:[a-z0-9_-]+/)*[a-z0-9_-]+\.(?:go|sql|md|yaml|css|js|html|sh|service)\b`)
	docLink   = regexp.MustCompile(`(?:^|[^A-Za-z0-9_\]])\[([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*)\]`)
	outside   = regexp.MustCompile(`\bDESIGN\b|\b(?:house|pave|trust|peers)\.md\b|\b(?:issue|point) #?[0-9]+\b`)
)

// notOurs lists the words in mixed case that are names, though no code of ours
// uses them.
var notOurs = []string{
	"CloudEvents", "OpenAPI", "GitHub", "JavaScript", "WebAssembly", "WebSocket", "PostgreSQL", "HeidiSQL", "McDonald",
	"YouTube", "macOS", "iOS", "OpenSSL", "HAProxy", "SQLite", "MySQL", "LiteFS", "CloudFront", "FastAPI", "WebhookX",
	// Of other languages and of the standard library.
	"DateTime", "LocalDateTime", "ZonedDateTime", "toString", "ReadFrom", "CrossOriginProtection", "Int64Scanner", "BytesScanner",
}

// A doc comment that begins with the name reads the same in the code, in an
// editor's help and on a page of documentation.
func TestDocCommentsBeginWithTheName(t *testing.T) {
	s := readSource(t)
	for path, file := range s.files {
		if slices.Contains(unread, filepath.Dir(path)) {
			continue
		}
		check := func(doc *ast.CommentGroup, names ...string) {
			if doc == nil || doc.Text() == "" {
				return
			}
			first := strings.Fields(doc.Text())
			if slices.Contains([]string{"A", "An", "The"}, first[0]) && len(first) > 1 {
				first = first[1:]
			}
			got := strings.TrimRight(strings.TrimSuffix(first[0], "'s"), ",.:;()")
			if !slices.Contains(names, got) {
				t.Errorf("%s: the comment of %s begins with %q; begin it with the name", s.fset.Position(doc.Pos()), strings.Join(names, ", "), first[0])
			}
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if !isTest(path, d.Name.Name) {
					check(d.Doc, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch sp := spec.(type) {
					case *ast.TypeSpec:
						if !d.Lparen.IsValid() {
							check(d.Doc, sp.Name.Name)
						}
						check(sp.Doc, sp.Name.Name)
					case *ast.ValueSpec:
						var names []string
						for _, n := range sp.Names {
							names = append(names, n.Name)
						}
						if !d.Lparen.IsValid() && names[0] != "_" {
							check(d.Doc, names...)
						}
					}
				}
			}
		}
	}
}

// isTest reports whether a function is run by go test: its comment says what must
// hold, and not what the function does.
func isTest(path, name string) bool {
	if strings.HasPrefix(path, "internal/store/storetest/") {
		return true // its methods are the cases of a suite
	}
	return strings.HasSuffix(path, "_test.go") && regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)`).MatchString(name)
}

// A comment that names what is gone sends its reader on a search.
func TestCommentsNameWhatExists(t *testing.T) {
	s := readSource(t)
	for path, file := range s.files {
		if slices.Contains(unread, filepath.Dir(path)) {
			continue
		}
		members := s.members(filepath.Dir(path))
		for _, group := range file.Comments {
			at := s.fset.Position(group.Pos())
			text := group.Text()
			if m := outside.FindString(text); m != "" {
				t.Errorf("%s: names %s, which is not in the repository: say it here or in docs/", at, m)
			}
			for _, name := range fileName.FindAllString(text, -1) {
				if !s.exists(filepath.Dir(path), name) {
					t.Errorf("%s: names the file %s, which does not exist", at, name)
				}
			}
			for _, name := range camelCase.FindAllString(text, -1) {
				if !s.names[name] && !slices.Contains(notOurs, name) {
					t.Errorf("%s: names %s, which no code has", at, name)
				}
			}
			for _, m := range docLink.FindAllStringSubmatch(text, -1) {
				if parts := strings.Split(m[1], "."); !s.linked(members, file, parts) {
					t.Errorf("%s: [%s] leads nowhere", at, m[1])
				}
			}
		}
	}
}

// exists reports whether a file of this name is in the repository: at this path
// from its top, beside the one that names it, or anywhere when it is a bare name.
func (s *source) exists(dir, name string) bool {
	return s.paths[name] || s.paths[filepath.Join(dir, name)] || !strings.Contains(name, "/") && s.bases[name] || s.suffix(name)
}

// suffix reports whether a path ends with the elements of name.
func (s *source) suffix(name string) bool {
	for path := range s.paths {
		if strings.HasSuffix(path, "/"+name) {
			return true
		}
	}
	return false
}

// members lists what a package declares: its names, and "Type.Member" of its types.
func (s *source) members(dir string) map[string]bool {
	out := map[string]bool{}
	for path, file := range s.files {
		if filepath.Dir(path) != dir {
			continue
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					name = receiver(d.Recv.List[0].Type) + "." + name
				}
				out[name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch sp := spec.(type) {
					case *ast.ValueSpec:
						for _, n := range sp.Names {
							out[n.Name] = true
						}
					case *ast.TypeSpec:
						out[sp.Name.Name] = true
						for _, f := range fieldsOf(sp.Type) {
							out[sp.Name.Name+"."+f] = true
						}
					}
				}
			}
		}
	}
	return out
}

// receiver names the type of a method's receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// fieldsOf lists the fields of a struct and the methods of an interface.
func fieldsOf(e ast.Expr) []string {
	var list *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		list = e.Fields
	case *ast.InterfaceType:
		list = e.Methods
	default:
		return nil
	}
	var out []string
	for _, f := range list.List {
		for _, n := range f.Names {
			out = append(out, n.Name)
		}
		if len(f.Names) == 0 {
			out = append(out, receiver(f.Type))
		}
	}
	return out
}

// linked reports whether a link in a doc comment leads to something: a name of the
// package itself, or one of a package that the file imports. What is promoted
// from an embedded type is found by its name alone.
func (s *source) linked(members map[string]bool, file *ast.File, parts []string) bool {
	if members[strings.Join(parts, ".")] {
		return true
	}
	for _, imp := range file.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		base := path[strings.LastIndex(path, "/")+1:]
		if imp.Name != nil {
			base = imp.Name.Name
		}
		if base != parts[0] {
			continue
		}
		if !ours(path) {
			return true
		}
		theirs := s.members(strings.TrimPrefix(strings.TrimPrefix(path, "callbackd"), "/"))
		if path == "callbackd" {
			theirs = s.members(".")
		}
		return theirs[strings.Join(parts[1:], ".")]
	}
	if len(parts) > 1 { // a package that this file need not import
		for dir := range s.paths {
			if filepath.Base(dir) == parts[0] && s.members(dir)[strings.Join(parts[1:], ".")] {
				return true
			}
		}
	}
	// A word in brackets, or a bare name that is not a link but an example.
	return len(parts) == 1 && strings.ToLower(parts[0]) == parts[0]
}

// The same for the pages: what stands in code type there is in the code.
func TestDocsNameWhatExists(t *testing.T) {
	s := readSource(t)
	alerts, err := os.ReadFile(filepath.Join(top, "deploy/prometheus/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(alerts), -1) {
		s.names[m[1]] = true
	}
	for _, path := range tracked(t) {
		if !strings.HasPrefix(path, "clients/") || filepath.Ext(path) == ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(string(text), -1) {
			s.names[name] = true
		}
	}
	code := regexp.MustCompile("`([^`\n]+)`")
	symbol := regexp.MustCompile(`^(?:[a-z]+\.)?((?:[a-z]+|[A-Z][a-z0-9]+)(?:[A-Z][A-Za-z0-9]*)*[A-Z][a-z0-9]+[A-Za-z0-9]*)(?:\(\))?$`)
	for _, path := range tracked(t) {
		if filepath.Ext(path) != ".md" || path == "CHANGELOG.md" || strings.HasPrefix(path, "e2e/") || slices.Contains(unread, path) { // it tells what was
			continue
		}
		text, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Fatal(err)
		}
		if m := outside.FindString(string(text)); m != "" {
			t.Errorf("%s: names %s, which is not in the repository", path, m)
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			span := m[1]
			for _, name := range fileName.FindAllString(span, -1) {
				if strings.HasPrefix(name, "internal/") || strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "docs/") {
					saved := strings.Contains(string(text), "\n`"+name+"`:\n\n```") // the page has the reader save it
					if !saved && !s.exists(filepath.Dir(path), name) {
						t.Errorf("%s: names the file %s, which does not exist", path, name)
					}
				}
			}
			if strings.HasPrefix(span, "internal/") && !strings.ContainsAny(span, " :*") && !s.paths[strings.TrimSuffix(span, "/")] {
				t.Errorf("%s: names %s, which does not exist", path, span)
			}
			if sym := symbol.FindStringSubmatch(span); sym != nil && !s.names[sym[1]] && !slices.Contains(notOurs, sym[1]) {
				t.Errorf("%s: names %s, which no code has", path, span)
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]+\.md)?(?:#([a-z0-9-]+))?\)`).FindAllStringSubmatch(string(text), -1) {
			target := path
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(path), m[1])
			}
			page, err := os.ReadFile(filepath.Join(top, target))
			if err != nil {
				t.Errorf("%s: links to %s, which does not exist", path, target)
			} else if m[2] != "" && !slices.Contains(anchors(string(page)), m[2]) {
				t.Errorf("%s: links to #%s, which is no section of %s", path, m[2], target)
			}
		}
	}
}

// anchors lists the sections of a page as links name them.
func anchors(page string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(text, " ", "-"))
	}
	return out
}
