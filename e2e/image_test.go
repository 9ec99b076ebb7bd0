package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// image is the last stage of the Dockerfile: the arguments of each
// instruction, in order.
type image map[string][]string

func dockerfile(t *testing.T) (text string, last image) {
	t.Helper()
	raw, err := os.ReadFile(deployed + "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(string(raw), "\\\n", "")
	for _, line := range strings.Split(text, "\n") {
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			last = image{}
		}
		if last != nil && name != "" && name != "#" {
			last[name] = append(last[name], strings.TrimSpace(args))
		}
	}
	return text, last
}

// env is the variables that the image sets.
func (i image) env() (out []string) {
	for _, line := range i["ENV"] {
		out = append(out, strings.Fields(line)...)
	}
	return out
}

// words is a command in the form of a JSON array.
func words(t *testing.T, s string) (out []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return out
}

// The image starts without any option: it listens on all addresses and keeps
// its data on a volume that belongs to its user. Its health check tells a
// server that runs from one that does not.
func TestImageStartsByDefault(t *testing.T) {
	t.Parallel()
	text, img := dockerfile(t)
	describesItself(t, text, img)

	dir, port := t.TempDir(), freePort(t)
	env := append(img.env(), "CALLBACKD_DATA="+dir, "CALLBACKD_LISTEN=127.0.0.1:"+port)
	check, command, _ := strings.Cut(img["HEALTHCHECK"][0], " CMD ")
	health := func() int {
		c := words(t, command)
		if c[0] != words(t, img["ENTRYPOINT"][0])[0] {
			t.Fatalf("the health check is %q", c)
		}
		_, _, code := runCmd(t, commandIn(env, c[1:]...))
		return code
	}
	if code := health(); code != 1 {
		t.Errorf("without a server the check says %d, want 1", code)
	}
	srv := listening(t, start(t, commandIn(env, words(t, img["CMD"][0])...)))
	if code := health(); code != 0 {
		t.Errorf("with a server the check says %d, want 0", code)
	}
	wantStop(t, srv)
	if m := regexp.MustCompile(`--timeout=(\S+)`).FindStringSubmatch(check); m == nil || duration(t, m[1]) < 7*time.Second {
		t.Errorf("%s: the check is broken off before it gives up itself, after 6 s", check)
	}
}

// describesItself checks that the parts of an image's Dockerfile agree with each other and
// with the code.
func describesItself(t *testing.T, text string, img image) {
	t.Helper()
	volume, user := img["VOLUME"][0], img["USER"][0]
	contains(t, "the environment", img.env(), "CALLBACKD_LISTEN=:"+img["EXPOSE"][0])
	contains(t, "the environment", img.env(), "CALLBACKD_DATA="+volume)
	contains(t, "COPY", img["COPY"], "--from=build --chown="+user+" /out"+volume+" "+volume)
	if user == "0:0" {
		t.Error("it runs as root")
	}
	version, _, _ := run(t, "version")
	for _, label := range []string{`org.opencontainers.image.title="`, `org.opencontainers.image.description="`,
		`org.opencontainers.image.version="` + strings.Fields(version)[1] + `"`} {
		if !strings.Contains(img["LABEL"][0], label) {
			t.Errorf("the labels are %s, want %s", img["LABEL"][0], label)
		}
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if goVersion := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module)); !strings.Contains(text, "FROM golang:"+goVersion[1]+" ") {
		t.Errorf("it is not built with Go %s", goVersion[1])
	}
}

func contains(t *testing.T, what string, list []string, want string) {
	t.Helper()
	if !slices.Contains(list, want) {
		t.Errorf("%s is %q, want it to have %q", what, list, want)
	}
}

// commandIn is callbackd in an environment, in which the last one of a name wins.
func commandIn(env []string, args ...string) *exec.Cmd {
	cmd := command(args...)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// ignored reports whether .dockerignore keeps a file out of the image's build.
func ignored(patterns []string, file string) bool {
	out := false
	for _, p := range patterns {
		p, back := strings.CutPrefix(p, "!")
		// A pattern holds for a folder with all that is in it.
		for at := file; at != "."; at = path.Dir(at) {
			ok, _ := path.Match(p, at)
			if anywhere, any := strings.CutPrefix(p, "**/"); any {
				ok, _ = path.Match(anywhere, path.Base(at))
			}
			if ok {
				out = !back
			}
		}
	}
	return out
}

// The image is built from the code that is shipped and from nothing else: no
// data, no key, no history.
func TestImageIsBuiltFromTheShippedCode(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, line := range strings.Split(string(raw), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	const ours = `{{if .Module}}{{if eq .Module.Path "callbackd"}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	list := exec.Command("go", "list", "-deps", "-f", ours, "./cmd/callbackd")
	list.Dir, list.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := append(strings.Fields(string(out)), root+"/go.mod", root+"/go.sum")
	for _, f := range files {
		if rel, _ := filepath.Rel(root, f); ignored(patterns, filepath.ToSlash(rel)) {
			t.Errorf("%s is kept out", rel)
		}
	}
	if len(files) < 200 {
		t.Errorf("only %d files", len(files))
	}
	for _, f := range []string{".git/config", "callbackd", "callbackd-data/secret-keys.json", "tour-data/callbackd.db", "key.json", "x/callbackd-data/callbackd.db", "deploy/systemd/callbackd.env", "internal/api/api_test.go", "e2e/clients/signed/signed.go", "README.md"} {
		if !ignored(patterns, f) {
			t.Errorf("%s goes to the builder", f)
		}
	}
}

// compose is a compose file, with every setting that ours uses.
type compose struct {
	Name     string
	Services map[string]composed
	Volumes  map[string]any
}

// composed is a service of a compose file.
type composed struct {
	Build           struct{ Context, Dockerfile string }
	Image, Restart  string
	StopGracePeriod string `yaml:"stop_grace_period"`
	Environment     map[string]string
	Volumes         []string
	Ports           []string
	ReadOnly        bool                                  `yaml:"read_only"`
	CapDrop         []string                              `yaml:"cap_drop"`
	SecurityOpt     []string                              `yaml:"security_opt"`
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
}

func readCompose(t *testing.T) (out compose) {
	t.Helper()
	f, err := os.Open(deployed + "compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The compose file has no field that is not one, runs the image on a volume
// without more rights than it needs, and only the proxy is reached from outside.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	file := readCompose(t)
	_, img := dockerfile(t)
	server := file.Services["callbackd"]
	server.isConfined(t, img)
	at := filepath.Join(deployed, "compose", server.Build.Context)
	for _, file := range []string{filepath.Join(at, server.Build.Dockerfile), filepath.Join(at, ".dockerignore")} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	if stop := duration(t, server.StopGracePeriod); stop <= grace(t) {
		t.Errorf("it is killed after %v, while attempts may take %v", stop, grace(t))
	}
	file.declaresItsVolumes(t)
	file.leadsToTheServer(t, img)
	var env []string
	for name, value := range server.Environment {
		env = append(env, name+"="+value)
	}
	serves(t, patience, words(t, img["CMD"][0]), append(append(img.env(), env...), "CALLBACKD_DATA="+t.TempDir(), "CALLBACKD_LISTEN=127.0.0.1:0"), []string{"/healthz", "/readyz"})
}

// isConfined checks that a server can write to its data only and is reached through the
// proxy only.
func (s composed) isConfined(t *testing.T, img image) {
	t.Helper()
	if want := []string{"data:" + img["VOLUME"][0]}; !slices.Equal(s.Volumes, want) {
		t.Errorf("the server's volumes are %q, want %q", s.Volumes, want)
	}
	if !s.ReadOnly {
		t.Error("the server can write to its image")
	}
	if !slices.Equal(s.CapDrop, []string{"ALL"}) {
		t.Errorf("the server drops the capabilities %q, want all", s.CapDrop)
	}
	if len(s.Ports) > 0 {
		t.Errorf("the server has the ports %q, want none", s.Ports)
	}
}

func (c compose) declaresItsVolumes(t *testing.T) {
	t.Helper()
	for _, s := range c.Services {
		for _, v := range s.Volumes {
			name, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[name]; !named && !strings.HasPrefix(name, "./") {
				t.Errorf("the volume %s is not declared", name)
			}
		}
	}
}

// leadsToTheServer checks that the proxy waits for the server, leads to its port, and is
// trusted by it.
func (c compose) leadsToTheServer(t *testing.T, img image) {
	t.Helper()
	proxy := c.Services["proxy"]
	if got := proxy.DependsOn["callbackd"].Condition; got != "service_healthy" {
		t.Errorf("the proxy waits for %q, want service_healthy", got)
	}
	if len(proxy.Ports) != 2 {
		t.Errorf("the proxy has the ports %q, want 2", proxy.Ports)
	}
	caddy, err := os.ReadFile(deployed + "compose/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(caddy), "reverse_proxy callbackd:"+img["EXPOSE"][0]+"\n") {
		t.Errorf("the proxy leads elsewhere than the image listens:\n%s", caddy)
	}
	if c.Services["callbackd"].Environment["CALLBACKD_TRUSTED_PROXY"] == "" {
		t.Error("all visitors have the proxy's address")
	}
}

// systemd starts callbackd again after every failure that may be gone by then,
// and after no other.
func TestUnitsRestartWhatMayPass(t *testing.T) {
	t.Parallel()
	busy := freePort(t)
	first := listening(t, start(t, commandIn([]string{"CALLBACKD_LISTEN=127.0.0.1:" + busy}, "serve", "--data", t.TempDir())))
	defer first.kill()
	ends := func(args ...string) string {
		_, errs, code := run(t, append([]string{"serve", "--data", filepath.Join(t.TempDir(), "d")}, args...)...)
		if code == 0 || errs == "" {
			t.Errorf("%q ends with %d: %s", args, code, errs)
		}
		b, _ := json.Marshal(code)
		return string(b)
	}
	setting, passing := ends("--retention", "1s"), ends("--listen", "127.0.0.1:"+busy)
	for _, name := range []string{"callbackd.service", "callbackd@.service"} {
		u := unit(t, name)
		if got := u["Restart"][0]; got != "on-failure" {
			t.Errorf("%s: Restart is %s, want on-failure", name, got)
		}
		never := strings.Fields(u["RestartPreventExitStatus"][0])
		contains(t, name+": RestartPreventExitStatus", never, setting)
		if slices.Contains(never, passing) {
			t.Errorf("%s: the server is not started again after a busy address, which ends it with %s", name, passing)
		}
		if u["StartLimitIntervalSec"][0] != "0" {
			t.Errorf("%s: systemd gives up after a while", name)
		}
	}
}
