package e2e

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Foreign tools find no error in the document.
func TestForeignToolsFindNoErrorInTheDocument(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	w.run("node", "lint.mjs", w.document)
}

// Generators of clients make what compiles and what makes live calls: among
// them an attempt without an answer, one event and several, and a session from
// its beginning to its results.
func TestGeneratedClientsMakeLiveCalls(t *testing.T) {
	t.Parallel()
	t.Run("openapi-typescript with openapi-fetch", func(t *testing.T) {
		w := newWorkshop(t)
		w.run("node_modules/.bin/openapi-typescript", w.document, "-o", "api.d.ts")
		w.run("node_modules/.bin/tsc", "-p", ".")
		w.calls("node", "client.js")
	})
	t.Run("oapi-codegen", func(t *testing.T) {
		w := newWorkshop(t)
		if err := os.Mkdir(filepath.Join(w.dir, "oapi/api"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.run("go", "tool", "oapi-codegen", "-generate", "types,client,skip-prune", "-package", "api", "-o", "oapi/api/api.go", w.document)
		w.calls("go", "run", "-trimpath", "./oapi")
	})
	t.Run("ogen", func(t *testing.T) {
		w := newWorkshop(t)
		w.run("go", "tool", "ogen", "--target", "ogen/api", "--package", "api", w.document)
		w.calls("go", "run", "-trimpath", "./ogen")
	})
}

// workshop is a copy of the folder clients, to make a client in, with the
// document of a running server.
type workshop struct {
	t        *testing.T
	dir      string
	document string
	env      []string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	const modules = "clients/node_modules"
	if _, err := os.Stat(modules); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the npm packages are not there; scripts/test installs them")
	}
	w := &workshop{t: t, dir: t.TempDir()}
	w.copy("package.json", "tsconfig.json", "client.ts", "lint.mjs", "go.mod", "go.sum", "signed/signed.go", "oapi/main.go", "ogen/main.go")
	installed, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(installed, filepath.Join(w.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	srv, sk := serve(t, dir), newSink(t)
	cl := newClient(t, dir)
	w.env = []string{"SERVER=" + srv.url, "RECEIVER=" + sk.URL, "ACCOUNT=" + cl.Account, "KEY=" + cl.APIKey, "SECRET=" + cl.APISecret}
	resp, err := http.Get(srv.url + "/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	w.document = filepath.Join(w.dir, "openapi.yaml")
	w.write("openapi.yaml", raw)
	return w
}

func (w *workshop) copy(names ...string) {
	w.t.Helper()
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join("clients", name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(name, raw)
	}
}

func (w *workshop) write(name string, raw []byte) {
	w.t.Helper()
	to := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, raw, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// run runs a tool in the workshop and returns what it prints.
func (w *workshop) run(name string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir, cmd.WaitDelay = w.dir, time.Second
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="), w.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// calls runs a client, which says at its end that all is well.
func (w *workshop) calls(name string, args ...string) {
	w.t.Helper()
	if out := w.run(name, args...); !strings.HasSuffix(out, "every call was answered as openapi.yaml says\n") {
		w.t.Error(out)
	}
}
