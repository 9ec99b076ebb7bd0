package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every command that a document prints exists, with its options.
func TestDocumentedCommandsExist(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md", "../../CHANGELOG.md", "../../deploy/Dockerfile", "../../deploy/compose/compose.yaml")
	// Commands are in blocks, between backticks, and in indented comments.
	command := regexp.MustCompile("(?:^|[ (`/])(?:callbackd|\\./cmd/callbackd)((?: +(?:--[a-z][a-z-]*|[^ `|&)<>;]+))+)")
	block := regexp.MustCompile("(?m)```sh\n[^`]*```|`callbackd [^`]+`|^#   .*$")
	subcommand := regexp.MustCompile(`^[a-z]+$`)
	seen := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), "\\\n", " ")
		for _, found := range block.FindAllString(text, -1) {
			for _, line := range strings.Split(found, "\n") {
				for _, m := range command.FindAllStringSubmatch(line, -1) {
					words := strings.Fields(m[1])
					for len(words) > 0 && strings.TrimPrefix(words[0], "/") == "callbackd" { // sudo -u callbackd callbackd
						words = words[1:]
					}
					if len(words) == 0 || !subcommand.MatchString(words[0]) {
						continue
					}
					seen++
					if word := unknown(model(t).Node, words); word != "" {
						t.Errorf("%s: %s: callbackd%s has no %s", file, strings.TrimSpace(line), m[1], word)
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("found only %d commands", seen)
	}
}

// unknown returns the first word that is neither a command nor an option; empty when
// there is none.
func unknown(n *kong.Node, words []string) string {
	for len(words) > 0 && len(n.Children) > 0 {
		i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == words[0] })
		if i < 0 {
			return words[0]
		}
		n, words = n.Children[i], words[1:]
	}
	for _, w := range words {
		name, isFlag := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && !slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == name }) {
			return w
		}
	}
	return ""
}

// The page about the command line has every command in one of its tables.
func TestThePageOfTheCommandLineHasEveryCommand(t *testing.T) {
	raw, err := os.ReadFile("../../docs/howto/use-the-command-line.md")
	if err != nil {
		t.Fatal(err)
	}
	root, quoted, listed := model(t).Node, regexp.MustCompile("`([^`]+)`"), map[string]bool{}
	for _, line := range strings.Split(string(raw), "\n") {
		if !strings.HasPrefix(line, "| `callbackd ") {
			continue
		}
		group := root // of words such as create, after `callbackd keys list`
		for _, m := range quoted.FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			words, n := strings.Fields(m[1]), group
			if words[0] == "callbackd" {
				words, n = words[1:], root
			}
			for len(words) > 0 && len(n.Children) > 0 {
				i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == words[0] })
				if i < 0 {
					t.Fatalf("%s has no command %q, of %q", n.Path(), words[0], line)
				}
				group, n, words = n, n.Children[i], words[1:]
			}
			listed[n.Path()] = true
		}
	}
	for _, leaf := range leaves(root) {
		if !leaf.Hidden && !listed[leaf.Path()] {
			t.Errorf("no table has %s", leaf.Path())
		}
	}
}
