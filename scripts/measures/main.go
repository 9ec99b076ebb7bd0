// Command measures prints the size and shape of the shipped code: lines, tokens,
// packages, the largest struct, complex functions, the methods of the store's
// contract and what the two drivers have in common. It measures the tree in the
// folder that is its argument, or the present one.
package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// notShipped lists the folders whose code only tests and developers run.
var notShipped = []string{"bench", "e2e", "scripts", "internal/arch", "internal/store/storetest", "internal/store/postgres/pgtest", ".git"}

const (
	maxComplexity = 15
	window        = 6 // equal lines in a row that count as a duplicate
)

// measures holds what was counted.
type measures struct {
	lines, code, tokens int
	packages            map[string]bool
	methods             int
	largest             string
	fields              int
	complex             []string
	drivers             [2][]string // the code lines of SQLite and PostgreSQL
	sentences           [2]map[string]bool
}

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	m := &measures{packages: map[string]bool{}, sentences: [2]map[string]bool{{}, {}}}
	if err := m.walk(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m.print()
}

// walk measures every shipped file below dir.
func (m *measures) walk(dir string) error {
	contract := map[string]*ast.InterfaceType{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if slices.Contains(notShipped, rel) || strings.Contains(rel, "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		return m.file(path, rel, contract)
	})
	m.methods = methodsOf(contract, "Store")
	return err
}

// file measures one file.
func (m *measures) file(path, rel string, contract map[string]*ast.InterfaceType) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	folder := filepath.ToSlash(filepath.Dir(rel))
	m.packages[folder] = true
	m.lines += strings.Count(string(src), "\n")
	code := m.scan(src)
	driver := slices.Index([]string{"internal/store/sqlite", "internal/store/postgres"}, folder)
	if driver >= 0 {
		m.drivers[driver] = append(m.drivers[driver], code...)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if c := complexity(n); c > maxComplexity {
				m.complex = append(m.complex, fmt.Sprintf("%s %s: %d", rel, n.Name.Name, c))
			}
		case *ast.TypeSpec:
			m.typeSpec(n, folder, contract)
		case *ast.CallExpr:
			if driver >= 0 {
				m.sentence(n, driver)
			}
		}
		return true
	})
	return nil
}

// scan counts the tokens of a file and returns its lines of code, without
// comments and indentation.
func (m *measures) scan(src []byte) []string {
	var s scanner.Scanner
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(src))
	s.Init(file, src, nil, 0)
	seen := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.SEMICOLON && text == "\n" {
			continue // the scanner's own
		}
		m.tokens++
		first := fset.Position(pos).Line
		for i := range strings.Count(text, "\n") + 1 {
			seen[first+i] = true
		}
	}
	var code []string
	for i, line := range strings.Split(string(src), "\n") {
		if seen[i+1] {
			code = append(code, strings.TrimSpace(line))
		}
	}
	m.code += len(code)
	return code
}

// typeSpec looks at a declared type: the largest struct, and the interfaces of
// the store's contract.
func (m *measures) typeSpec(n *ast.TypeSpec, folder string, contract map[string]*ast.InterfaceType) {
	switch t := n.Type.(type) {
	case *ast.StructType:
		fields := 0
		for _, f := range t.Fields.List {
			fields += max(1, len(f.Names))
		}
		if fields > m.fields {
			m.fields, m.largest = fields, strings.TrimPrefix(folder+"."+n.Name.Name, "..")
		}
	case *ast.InterfaceType:
		if folder == "internal/store" {
			contract[n.Name.Name] = t
		}
	}
}

// methodsOf counts the methods of an interface with those that it embeds.
func methodsOf(contract map[string]*ast.InterfaceType, name string) int {
	t := contract[name]
	if t == nil {
		return 0
	}
	n := 0
	for _, f := range t.Methods.List {
		n += len(f.Names)
		if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
			n += methodsOf(contract, id.Name)
		}
	}
	return n
}

// complexity is the cyclomatic complexity: one, and one more for each branch.
func complexity(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if node.List != nil {
				n++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// sentence remembers the text of an error that a driver makes.
func (m *measures) sentence(call *ast.CallExpr, driver int) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Errorf", "Wrap", "Invalid"}, sel.Sel.Name) {
		return
	}
	for _, arg := range call.Args {
		if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.Count(lit.Value, " ") > 2 {
			m.sentences[driver][lit.Value] = true
		}
	}
}

// duplicates counts the lines of the first driver that stand, six or more in a
// row, in the second one too.
func (m *measures) duplicates() int {
	theirs := map[string]bool{}
	for i := 0; i+window <= len(m.drivers[1]); i++ {
		theirs[strings.Join(m.drivers[1][i:i+window], "\n")] = true
	}
	in := make([]bool, len(m.drivers[0]))
	for i := 0; i+window <= len(m.drivers[0]); i++ {
		if theirs[strings.Join(m.drivers[0][i:i+window], "\n")] {
			for j := range window {
				in[i+j] = true
			}
		}
	}
	n := 0
	for _, dup := range in {
		if dup {
			n++
		}
	}
	return n
}

func (m *measures) print() {
	both := 0
	for s := range m.sentences[0] {
		if m.sentences[1][s] {
			both++
		}
	}
	slices.SortFunc(m.complex, cmp.Compare[string])
	fmt.Printf("shipped lines                             %d\n", m.lines)
	fmt.Printf("lines of code                             %d\n", m.code)
	fmt.Printf("tokens                                    %d\n", m.tokens)
	fmt.Printf("tokens a line of code                     %.1f\n", float64(m.tokens)/float64(max(1, m.code)))
	fmt.Printf("packages                                  %d\n", len(m.packages))
	fmt.Printf("methods of the store contract             %d\n", m.methods)
	fmt.Printf("fields of the largest struct              %d (%s)\n", m.fields, m.largest)
	fmt.Printf("functions over complexity %d              %d\n", maxComplexity, len(m.complex))
	fmt.Printf("lines of code of the drivers              %d SQLite, %d PostgreSQL\n", len(m.drivers[0]), len(m.drivers[1]))
	fmt.Printf("lines that stand in both drivers          %d (%d or more in a row)\n", m.duplicates(), window)
	fmt.Printf("error sentences that stand in both        %d\n", both)
	for _, f := range m.complex {
		fmt.Println("  ", f)
	}
}
