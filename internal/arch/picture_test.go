package arch

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the picture of the packages in docs/architecture.md again")

// everywhere lists the packages whose arrows the picture leaves out, because
// anyone may import them.
var everywhere = []string{"callbackd", "callbackd/wire", "callbackd/internal/humanize", "callbackd/internal/clock", "callbackd/internal/safetext", "callbackd/internal/store/memo", "callbackd/internal/system"}

// notInPicture matches the packages that only tests and developers run, and app and
// cli, which put everything together and import nearly all.
var notInPicture = regexp.MustCompile(`^callbackd/(bench|e2e|scripts)|/(app|cli|arch|storetest|pgtest|consoletest|mailtest)$|^callbackd/cmd/`)

// picture draws the imports as a mermaid flowchart, one line for each package
// that imports others.
func picture(pkgs map[string]listed) string {
	var lines []string
	for path, p := range pkgs {
		if notInPicture.MatchString(path) || slices.Contains(everywhere, path) {
			continue
		}
		var imported []string
		for _, imp := range p.Imports {
			if ours(imp) && !slices.Contains(everywhere, imp) {
				imported = append(imported, node(imp))
			}
		}
		if len(imported) > 0 {
			slices.Sort(imported)
			lines = append(lines, "  "+node(path)+" --> "+strings.Join(imported, " & "))
		}
	}
	slices.Sort(lines)
	return "```mermaid\nflowchart LR\n" + strings.Join(lines, "\n") + "\n```"
}

// node returns a package as mermaid reads it: a name without slashes, and the
// text to show where that differs.
func node(path string) string {
	text := strings.TrimPrefix(strings.TrimPrefix(path, "callbackd/"), "internal/")
	if name := strings.ReplaceAll(text, "/", "_"); name != text {
		return fmt.Sprintf("%s[%s]", name, text)
	}
	return text
}

// The picture of the packages is true.
func TestThePictureShowsTheImports(t *testing.T) {
	const path = "../../docs/architecture.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	drawn := regexp.MustCompile("(?s)```mermaid\n.*?```")
	want := picture(list(t))
	got := drawn.FindString(string(doc))
	if got == want {
		return
	}
	if !*update {
		t.Fatal("the picture in docs/architecture.md is out of date: draw it again with `go test ./internal/arch -run Picture -update`")
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(doc), got, want, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
