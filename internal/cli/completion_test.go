package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"callbackd/internal/profile"
)

func TestCompletion(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	folder, err := profile.UserFolder()
	if err != nil {
		t.Fatalf("no folder for profiles: %v", err)
	}
	if err := folder.Write("staging", profile.Profile{Server: "s", Account: "a", APIKey: "k", APISecret: "s"}); err != nil {
		t.Fatal(err)
	}
	root := model(t).Node
	for _, c := range []struct {
		line  string // the words up to the cursor
		want  string
		files bool
	}{
		{"callb", "callbacks", false},
		{"callbacks re", "resume", false},
		{"callbacks nonsense", "", false},
		{"callbacks create SESSION:C", "SESSION:COMPLETE", false},
		{"callbacks create SESSION:COMPLETE ", "", false},
		{"callbacks create --js", "--json", false},
		{"callbacks create --callback create SESSION:C", "SESSION:COMPLETE", false},
		{"callbacks create --callback ", "", false},
		{"callbacks create -- --js", "", false},
		{"deliveries list --state d", "delivered", false},
		{"deliveries list --state=d", "--state=delivered", false},
		{"deliveries list --nothing=d", "", false},
		{"deliveries list --state=d --json --state e", "expired", false},
		{"events list --profile ", "staging", false},
		{"events list --url x --profile s", "staging", false},
		{"log-level w", "warn", false},
		{"completion f", "fish", false},
		{"apply -f ", "", true},
		{"apply --file ", "", true},
		{"apply --file=", "", true},
		{"fsck --data ", "", true},
		{"archive verify ", "", true},
		{"archive verify x ", "", false},
		{"events publish --data ", "", false},
		{"__comp", "", false},
		{"nonsense more ", strings.Join(commandNames(t), " "), false},
	} {
		words := strings.Split(c.line, " ")
		found, files := complete(root, words)
		var got []string
		for _, f := range found {
			got = append(got, f.word)
		}
		if strings.Join(got, " ") != c.want || files != c.files {
			t.Errorf("%q: %v, files %v; want %q, %v", c.line, got, files, c.want, c.files)
		}
	}
}

func commandNames(t *testing.T) (names []string) {
	for _, c := range model(t).Children {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// Every command is reached, and every option of it is offered.
func TestCompletionOffersEveryCommandAndOption(t *testing.T) {
	root := model(t).Node
	for _, leaf := range leaves(root) {
		words := strings.Fields(strings.TrimPrefix(leaf.Path(), "callbackd "))
		found, _ := complete(root, append(words, "--"))
		for _, f := range leaf.Flags {
			if !slices.ContainsFunc(found, func(c candidate) bool { return c.word == "--"+f.Name }) {
				t.Errorf("%s: --%s is not offered among %v", leaf.Path(), f.Name, found)
			}
		}
	}
	if n := len(leaves(root)); n < 50 {
		t.Errorf("only %d commands were seen", n)
	}
}

func TestWordsOfALine(t *testing.T) {
	for line, want := range map[string]string{
		"":                                 "|",
		"callbackd":                        "callbackd|",
		"callbackd ":                       "callbackd|",
		"callbackd  a\tb":                  "callbackd|a|b",
		"callbackd a ":                     "callbackd|a|",
		`callbackd 'a b' "c d" e\ f 'g`:    "callbackd|a b|c d|e f|g",
		`callbackd --data '{"a": "\"}' x`:  `callbackd|--data|{"a": "\"}|x`,
		`callbackd "a\"b" '' x`:            `callbackd|a"b||x`,
		"callbackd SESSION:C --state=x :=": "callbackd|SESSION:C|--state=x|:=",
		`callbackd a\`:                     "callbackd|a",
	} {
		if got := strings.Join(shellWords(line), "|"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// The files that the packages install are those that the command prints.
func TestCompletionPrintsTheScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out strings.Builder
		if code := Main(t.Context(), []string{"completion", shell}, &out, os.Stderr); code != 0 {
			t.Errorf("%s: %d", shell, code)
		}
		want, err := os.ReadFile(filepath.Join("completion", "callbackd."+shell))
		if err != nil || out.String() != string(want) {
			t.Errorf("%s: it prints %q, %v", shell, out.String(), err)
		}
	}
}
