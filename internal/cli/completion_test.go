package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
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
		found, files := complete(root, words, noOwnTypes)
		var got []string
		for _, f := range found {
			got = append(got, f.word)
		}
		if strings.Join(got, " ") != c.want || files != c.files {
			t.Errorf("%q: %v, files %v; want %q, %v", c.line, got, files, c.want, c.files)
		}
	}
}

func noOwnTypes([]string) []string { return nil }

// The server is asked for the platform's own event types when the word can be one, with the
// options that choose the server and the key.
func TestCompletionOffersOwnEventTypes(t *testing.T) {
	root := model(t).Node
	for line, want := range map[string]string{
		"trigger V": "VEHICLE:ARRIVED; asked with ",
		"events list --server http://a --json --profile=p --limit 3 --event V": "VEHICLE:ARRIVED; asked with --server=http://a --profile=p",
		"events list --url=http://a --event=VEHICLE:":                          "--event=VEHICLE:ARRIVED; asked with --server=http://a",
		"callbacks create --key --json VEH":                                    "VEHICLE:ARRIVED; asked with --key=--json",
		"trigger SESSION:COM":                                                  "SESSION:COMPLETE; not asked",
		"callbacks create --policy V":                                          "; not asked",
	} {
		asked := "; not asked"
		found, _ := complete(root, strings.Split(line, " "), func(options []string) []string {
			asked = "; asked with " + strings.Join(options, " ")
			return []string{"VEHICLE:ARRIVED", "YARD:FULL"}
		})
		var got []string
		for _, f := range found {
			got = append(got, f.word)
		}
		if got := strings.Join(got, " ") + asked; got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Whatever is wrong, the Tab key finds the built-in types and prints no message.
func TestCompletionIsSilentWithoutAServer(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	answer := `{"data":[{"type":"VEHICLE:\u001b[2J"},{"type":"VEHICLE:ARRIVED"},{"type":"SESSION:COMPLETE"}]}`
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	defer server.Close()
	ask := func(options ...string) string {
		t.Helper()
		var out, errs strings.Builder
		words := append(append([]string{"__complete", "fish", "--", "events", "list"}, options...), "--event", "V")
		if code := Main(t.Context(), words, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%v: %d %s", options, code, errs.String())
		}
		return out.String()
	}
	key := []string{"--account", "a", "--key", "k", "--secret", "s"}
	if got := ask(append(key, "--server", server.URL)...); got != "VEHICLE:ARRIVED\n" {
		t.Errorf("with a server: %q", got)
	}
	for name, options := range map[string][]string{
		"no key": {"--server", server.URL}, "no server": append(key, "--server", "http://127.0.0.1:1"), "no URL": append(key, "--server", "x"),
		"no such profile": {"--profile", "missing", "--server", server.URL}, "an empty option": {"--server="},
	} {
		if got := ask(options...); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	answer = "{"
	if got := ask(append(key, "--server", server.URL)...); got != "" {
		t.Errorf("a torn answer: %q", got)
	}
	status = http.StatusInternalServerError
	if got := ask(append(key, "--server", server.URL)...); got != "" {
		t.Errorf("a server with an error: %q", got)
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
		found, _ := complete(root, append(words, "--"), noOwnTypes)
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
