package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise without a test that attacks it is a wish: every test that
// docs/guarantees.md names must exist, in the package it names.
func TestGuaranteesNameTestsThatExist(t *testing.T) {
	doc, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(?:([a-z0-9/]+):\\s)?(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 9 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join("../..", m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(src), "func "+m[2]+"(")
		}
		if !found {
			t.Errorf("docs/guarantees.md names %s, which is not in %q", m[2], m[1])
		}
	}
}

// The cases that docs/guarantees.md names of the store's suite must exist in it.
func TestGuaranteesNameCasesThatExist(t *testing.T) {
	doc, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../store/storetest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	suite := ""
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		suite += string(src)
	}
	named := regexp.MustCompile("TestConformance`\\s+\\(([A-Z][A-Za-z,\\s]*)\\)").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 9 {
		t.Errorf("cases are named in %d places, want 9 or more", len(named))
	}
	for _, m := range named {
		for _, name := range regexp.MustCompile(`[A-Za-z]+`).FindAllString(m[1], -1) {
			if !strings.Contains(suite, `"`+name+`":`) {
				t.Errorf("docs/guarantees.md names the case %s, which is not in storetest", name)
			}
		}
	}
}

// Every sentence of the nine promises, and of what holds over several nodes, a
// bullet each, names a test.
func TestEverySentenceOfThePromisesNamesATest(t *testing.T) {
	doc, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	promises, _, _ := strings.Cut(string(doc), "## What is not promised")
	chapters := strings.Split(promises, "\n## ")[1:]
	if len(chapters) != 9+1 {
		t.Errorf("%d chapters", len(chapters))
	}
	for _, c := range chapters {
		title, text, _ := strings.Cut(c, "\n")
		bullets := strings.Split(text, "\n- ")
		if strings.TrimSpace(bullets[0]) != "" || len(bullets) < 2 {
			t.Errorf("%s: not a list", title)
		}
		for _, b := range bullets[1:] {
			if !regexp.MustCompile("`[a-z0-9/: ]*Test[A-Z0-9]").MatchString(b) {
				t.Errorf("%s: no test is named by %q", title, b)
			}
		}
	}
}

// Every direct dependency has its line in docs/dependencies.md.
func TestDependenciesAreExplained(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not .Indirect}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if path != "callbackd" && !strings.Contains(string(doc), path) {
			t.Errorf("%s is a dependency without a line in docs/dependencies.md", path)
		}
	}
}

// documents returns our documents.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/howto/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(docs, pages...), "../../README.md", "../../CHANGELOG.md")
}

// Links between our documents lead somewhere.
func TestLinkedFilesExist(t *testing.T) {
	for _, f := range documents(t) {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`(docs/[a-z]+\\.md)`").FindAllStringSubmatch(string(src), -1) {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", f, m[1])
			}
		}
	}
}

// What docs/scale.md says would have to change must be what is there: each
// name that it gives with a file is a word of that file.
func TestScaleNamesWhatExists(t *testing.T) {
	doc, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, m := range regexp.MustCompile("`([a-z0-9_/]+\\.(?:go|sql)): ([A-Za-z_, ]+)`").FindAllStringSubmatch(string(doc), -1) {
		src, err := os.ReadFile(filepath.Join("../..", m[1]))
		if err != nil {
			t.Errorf("docs/scale.md names a file: %v", err)
			continue
		}
		for name := range strings.SplitSeq(m[2], ", ") {
			named++
			if !regexp.MustCompile(`\b` + name + `\b`).Match(src) {
				t.Errorf("docs/scale.md names %s, which is not in %s", name, m[1])
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d names are given", named)
	}
}

// Rows of a table that follow no head are shown as text with bars.
func TestTablesHaveAHead(t *testing.T) {
	rule := regexp.MustCompile(`^\|[ :|-]+\|$`)
	n := 0
	for _, f := range documents(t) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := append(strings.Split(string(text), "\n"), "")
		code, before := false, ""
		for i, line := range lines {
			code = code != strings.HasPrefix(line, "```")
			if strings.HasPrefix(line, "|") && !strings.HasPrefix(before, "|") && !code {
				if n++; !rule.MatchString(lines[i+1]) {
					t.Errorf("%s:%d: no line such as |---| follows the first line of the table", f, i+1)
				}
			}
			before = line
		}
	}
	if n < 50 {
		t.Errorf("only %d tables were found", n)
	}
}
