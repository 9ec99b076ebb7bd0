package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// buildChecker builds e2e/kubernetes, which has the types of Kubernetes.
var buildChecker = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(filepath.Dir(binary), "kubernetes")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, ".")
	build.Dir, build.Env = "kubernetes", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil { // what it downloads is said there too
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// kustomized builds a folder with kustomize, reads the objects strictly as their types, and
// returns their kinds and names.
func kustomized(t *testing.T, folder string) (string, error) {
	t.Helper()
	bin, err := buildChecker()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, folder).CombinedOutput()
	return string(out), err
}

// overlay writes a folder as a user has it: one that names ours and the image. With a
// component it adds that too. It returns the folder, which has a copy of deploy/kubernetes.
func overlay(t *testing.T, component string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "callbackd"), os.DirFS(deployed+"kubernetes")); err != nil {
		t.Fatal(err)
	}
	text := "namespace: callbacks\nresources: [callbackd]\nimages:\n  - name: registry.example/callbackd\n    newName: registry.internal/callbackd\n    newTag: 0.1.1\n"
	if component != "" {
		text += "components: [callbackd/" + component + "]\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(replace) > 0 {
		path := filepath.Join(dir, "callbackd", "callbackd.yaml")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), replace[0]) {
			t.Fatalf("the manifest has no %q", replace[0])
		}
		if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// deploy/kubernetes is a base of kustomize whose objects have the fields that the types of
// Kubernetes have, also with its component. A misspelt field and a wrong type are errors.
func TestKubernetesObjectsFitTheirTypes(t *testing.T) {
	t.Parallel()
	const base = "Deployment callbackd\nService callbackd\nNetworkPolicy callbackd\nPodDisruptionBudget callbackd\n"
	sorted := func(s string) map[string]bool {
		lines := map[string]bool{}
		for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
			lines[l] = true
		}
		return lines
	}
	for component, want := range map[string]string{"": base, "monitoring": base + "ServiceMonitor callbackd\n"} {
		out, err := kustomized(t, overlay(t, component))
		if err != nil {
			t.Errorf("component %q: %v: %s", component, err, out)
			continue
		}
		got := sorted(out)
		for line := range sorted(want) {
			if !got[line] || len(got) != len(sorted(want)) {
				t.Errorf("component %q: the objects are\n%swant\n%s", component, out, want)
				break
			}
		}
	}
	for _, wrong := range [][]string{
		{"readinessProbe:", "readynessProbe:"},
		{"replicas: 3", "replicas: three"},
		{"maxUnavailable: 1\n", "maxUnavailable: 1\n  minReady: 2\n"},
	} {
		if out, err := kustomized(t, overlay(t, "", wrong...)); err == nil {
			t.Errorf("with %q instead of %q it is accepted: %s", wrong[1], wrong[0], out)
		}
	}
}
