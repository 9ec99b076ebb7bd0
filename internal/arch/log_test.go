package arch

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unshipped finds the code that only tests and developers run.
var unshipped = regexp.MustCompile(`^(bench|e2e|scripts)/|_test\.go$|/(storetest|pgtest|consoletest|mailtest)/`)

// firstKey is the place of the first key among the arguments of a logger's method.
var firstKey = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3, "With": 0}

// logKeys returns the keys of a call that logs, and reports whether all of them are
// literals. A call that does not log has none.
func logKeys(call *ast.CallExpr) (keys []string, literal bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil, true
	}
	args := call.Args
	switch receiver := lastName(sel.X); {
	case receiver == "slog":
		if !slices.Contains([]string{"Any", "Bool", "Duration", "Float64", "Group", "Int", "Int64", "String", "Time", "Uint64"}, sel.Sel.Name) {
			return nil, true
		}
		args = args[:1]
	case strings.EqualFold(receiver, "log"):
		first, ok := firstKey[sel.Sel.Name]
		if !ok || len(args) < first {
			return nil, true
		}
		args = args[first:]
	default:
		return nil, true
	}
	for i := 0; i < len(args); i += 2 {
		text, ok := args[i].(*ast.BasicLit)
		if !ok || text.Kind != token.STRING {
			return keys, false
		}
		key, err := strconv.Unquote(text.Value)
		if err != nil {
			return keys, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

// lastName returns the last name of an expression such as e.options.Log.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// Each key of the log is in docs/operating.md.
func TestLogKeysAreInTheTable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(top, "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Log\n")
	section, _, _ = strings.Cut(section, "\n## ")
	table := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ((?:`+"`[a-z_]+`"+`(?:, )?)+) \|`).FindAllStringSubmatch(section, -1) {
		for _, key := range strings.Split(row[1], ", ") {
			table[strings.Trim(key, "`")] = true
		}
	}
	s, used := readSource(t), map[string]bool{}
	for path, file := range s.files {
		if unshipped.MatchString(path) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			keys, literal := logKeys(call)
			if !literal {
				t.Errorf("%s: a key of this log line is not a literal", s.fset.Position(call.Pos()))
			}
			for _, key := range keys {
				used[key] = true
				if !table[key] {
					t.Errorf("%s: the key %q is not in the table of docs/operating.md", s.fset.Position(call.Pos()), key)
				}
			}
			return true
		})
	}
	if len(used) < 20 {
		t.Errorf("only %d keys were found: %v", len(used), slices.Sorted(maps.Keys(used)))
	}
	for key := range table {
		if !used[key] {
			t.Errorf("docs/operating.md has the key %q, which no log line has", key)
		}
	}
}
