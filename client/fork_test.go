package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program outside of this module builds with the client, as docs/clients.md says.
func TestAProgramOutsideImportsTheClient(t *testing.T) {
	doc, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	_, mod, _ := strings.Cut(string(doc), "```\n")
	mod, _, found := strings.Cut(mod, "```\n")
	if !found || !strings.Contains(mod, "=> ../callbackd") {
		t.Fatalf("docs/clients.md has no go.mod with ../callbackd but %q", mod)
	}
	_, example, _ := strings.Cut(string(doc), "```go\n")
	example, _, _ = strings.Cut(example, "```")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module forge.example/you/receiver\n\ngo 1.26.0\n\n" + strings.ReplaceAll(mod, "../callbackd", root),
		"main.go": "package main\n\nimport (\n\t\"context\"\n\n\t\"callbackd/client\"\n)\n\n" +
			"func main() { println(publish(context.Background(), \"a\", \"k\", \"s\")) }\n\n" +
			"func publish(ctx context.Context, account, key, secret string) (string, error) {\n" + example + "return accepted.ID, err\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
