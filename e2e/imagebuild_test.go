package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// buildah runs buildah on a store of its own. Its isolation is a chroot, which needs no
// engine and no rights beyond those of a CI.
type buildah struct {
	t   *testing.T
	dir string
}

func (b buildah) run(args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "buildah", append([]string{"--storage-driver", "vfs", "--root", filepath.Join(b.dir, "store"), "--runroot", filepath.Join(b.dir, "run")}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("buildah %q: %v\n%s%s", args, err, out, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// lastStage writes the last stage of the Dockerfile to a folder, with what it copies from the
// stage that compiles: the base image of that one cannot be had without a registry.
func lastStage(t *testing.T, folder string) {
	t.Helper()
	text, img := dockerfile(t)
	stage := text[strings.LastIndex(text, "\nFROM ")+1:]
	stage = strings.ReplaceAll(stage, "--from=build ", "")
	if strings.Contains(stage, "--from=") || !strings.HasPrefix(stage, "FROM scratch\n") {
		t.Fatalf("the last stage is not only the binary and what it needs:\n%s", stage)
	}
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(stage), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range img["COPY"] {
		from := regexp.MustCompile(`(^| )(/\S+) \S+$`).FindStringSubmatch(args)
		if from == nil {
			t.Fatalf("COPY %s", args)
		}
		to := filepath.Join(folder, from[2])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		switch from[2] {
		case "/out/callbackd":
			copyFile(t, binary, to)
			if err := os.Chmod(to, 0o755); err != nil {
				t.Fatal(err)
			}
		case "/out/data":
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
		case "/etc/ssl/certs/ca-certificates.crt":
			copyFile(t, from[2], to)
		default:
			t.Fatalf("the image has %s, which this test does not know", from[2])
		}
	}
}

// A builder makes the image that the Dockerfile describes, and what the image starts is a
// server: it runs as the image's user, with its environment, on its volume.
func TestTheImageIsBuiltAndStarts(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Fatalf("buildah is not there; scripts/test installs it: %v", err)
	}
	folder := t.TempDir()
	lastStage(t, folder)
	b := buildah{t, t.TempDir()}
	b.run("build", "--isolation", "chroot", "--format", "docker", "-q", "-t", "callbackd:test", folder)
	var made struct {
		Docker struct {
			Config struct {
				User            string
				Env, Entrypoint []string
				Cmd             []string
				Volumes         map[string]any
				ExposedPorts    map[string]any
				Healthcheck     struct{ Test []string }
				Labels          map[string]string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b.run("inspect", "--type", "image", "callbackd:test")), &made); err != nil {
		t.Fatal(err)
	}
	_, img := dockerfile(t)
	c := made.Docker.Config
	for what, is := range map[string]bool{
		"user":         c.User == img["USER"][0],
		"entry point":  slices.Equal(c.Entrypoint, words(t, img["ENTRYPOINT"][0])),
		"command":      slices.Equal(c.Cmd, words(t, img["CMD"][0])),
		"volume":       len(c.Volumes) == 1 && c.Volumes[img["VOLUME"][0]] != nil,
		"port":         len(c.ExposedPorts) == 1 && c.ExposedPorts[img["EXPOSE"][0]+"/tcp"] != nil,
		"health check": slices.Equal(c.Healthcheck.Test, append([]string{"CMD"}, c.Entrypoint[0], "health")),
		"label":        c.Labels["org.opencontainers.image.title"] == "callbackd",
	} {
		if !is {
			t.Errorf("the image's %s is not what the Dockerfile says: %+v", what, c)
		}
	}
	for _, env := range img.env() {
		contains(t, "the image's environment", c.Env, env)
	}

	working := b.run("from", "callbackd:test")
	if out := b.run("run", "--isolation", "chroot", working, "--", "/callbackd", "--version"); !strings.HasPrefix(out, "callbackd ") {
		t.Errorf("in the image, --version prints %q", out)
	}
	// A key on the volume, as the image's user: it may write there and nowhere else needs it.
	if out := b.run("run", "--isolation", "chroot", working, "--", "/callbackd", "keys", "create", "--account", "acme"); !strings.Contains(out, "acme") {
		t.Errorf("in the image, keys create prints %q", out)
	}
}
