package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd/internal/store/postgres/pgtest"

	"go.yaml.in/yaml/v4"
)

const deployed = "../deploy/"

// unit reads a systemd unit: the values of each setting of its Service section, in
// order.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(deployed + "systemd/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			out[key] = append(out[key], value)
		}
	}
	return out
}

// exampleEnv is every setting that the example of an environment file shows.
func exampleEnv(t *testing.T) (env []string) {
	t.Helper()
	text, err := os.ReadFile(deployed + "systemd/callbackd.env")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^#?(CALLBACKD_\S+=.*)$`).FindAllStringSubmatch(string(text), -1) {
		env = append(env, m[1])
	}
	if len(env) < 5 {
		t.Errorf("the example has %q", env)
	}
	return env
}

// serves starts callbackd as a deployment would, with its environment, and
// holds its probes and its stop against what is written there.
func serves(t *testing.T, within time.Duration, args, env, probes []string) {
	t.Helper()
	srv := listening(t, start(t, commandIn(env, args...)))
	for _, path := range probes {
		resp, err := http.Get(srv.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	begun := time.Now()
	if code := srv.term(t); code != 0 || time.Since(begun) > within {
		t.Errorf("it ends with %d after %v\n%s", code, time.Since(begun), srv.log)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// grace is how long a server waits for attempts, unless it is told otherwise.
func grace(t *testing.T) time.Duration {
	t.Helper()
	out, _, _ := run(t, "serve", "--help")
	m := regexp.MustCompile(`--grace=(\S+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatal(out)
	}
	return duration(t, m[1])
}

// The units are what systemd takes without a word, are hardened, and start
// what they say; what stops them leaves time for the attempts in flight.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	dir, credentials := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(credentials, "database-url"), []byte(pg.Schema(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("%S", dir, "%i", "0", "%d", credentials)
	for _, name := range []string{"callbackd.service", "callbackd@.service"} {
		text, err := os.ReadFile(deployed + "systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(at, []byte(strings.ReplaceAll(string(text), "ExecStart=callbackd ", "ExecStart="+binary+" ")), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", at).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", at).CombinedOutput(); err != nil {
			t.Errorf("%s: exposed more than 2.0 of 10: %v\n%s", name, err, out)
		}
		u := unit(t, name)
		var env []string
		for _, v := range u["Environment"] {
			env = append(env, fill.Replace(v))
		}
		for _, c := range u["LoadCredential"] {
			if id, _, _ := strings.Cut(c, ":"); !strings.Contains(strings.Join(u["Environment"], " "), "%d/"+id) {
				t.Errorf("%s: the credential %s is not used", name, id)
			}
		}
		stop := duration(t, u["TimeoutStopSec"][0]+"s")
		if g := grace(t); stop <= g {
			t.Errorf("%s: it is killed after %v, while attempts may take %v", name, stop, g)
		}
		args := strings.Fields(u["ExecStart"][0])[1:]
		free := []string{"CALLBACKD_LISTEN=127.0.0.1:0"}
		serves(t, stop, args, append(env, free...), []string{"/healthz", "/readyz"})
		serves(t, stop, args, append(append(env, exampleEnv(t)...), free...), []string{"/healthz"})
	}
}

// Of Kubernetes' objects what the manifest uses; a misspelt field is refused.
type (
	labels map[string]string
	meta   struct {
		Name   string
		Labels labels
	}
	selector struct {
		MatchLabels labels `yaml:"matchLabels"`
	}
	probe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		PeriodSeconds    int                         `yaml:"periodSeconds"`
		TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
		FailureThreshold int                         `yaml:"failureThreshold"`
	}
	container struct {
		Name, Image string
		Args        []string
		Env         []struct{ Name, Value string }
		Ports       []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		StartupProbe   probe `yaml:"startupProbe"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		Lifecycle      struct {
			PreStop struct {
				Sleep struct{ Seconds int }
			} `yaml:"preStop"`
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	podSpec struct {
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool `yaml:"enableServiceLinks"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			RunAsUser      int                   `yaml:"runAsUser"`
			RunAsGroup     int                   `yaml:"runAsGroup"`
			FSGroup        int                   `yaml:"fsGroup"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		TopologySpreadConstraints []struct {
			MaxSkew           int      `yaml:"maxSkew"`
			TopologyKey       string   `yaml:"topologyKey"`
			WhenUnsatisfiable string   `yaml:"whenUnsatisfiable"`
			LabelSelector     selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Containers []container
		Volumes    []struct {
			Name   string
			Secret struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
				Items       []struct{ Key, Path string }
			}
		}
	}
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			Replicas int
			Selector yaml.Node
			Strategy struct {
				Type          string
				RollingUpdate struct {
					MaxUnavailable int `yaml:"maxUnavailable"`
					MaxSurge       int `yaml:"maxSurge"`
				} `yaml:"rollingUpdate"`
			}
			Template struct {
				Metadata meta
				Spec     podSpec
			}
			Ports []struct {
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
			MaxUnavailable int      `yaml:"maxUnavailable"`
			PodSelector    selector `yaml:"podSelector"`
			PolicyTypes    []string `yaml:"policyTypes"`
			Ingress        []struct {
				From []struct {
					PodSelector selector `yaml:"podSelector"`
				}
				Ports []struct{ Port string }
			}
		}
	}
)

func manifest(t *testing.T) map[string]object {
	t.Helper()
	f, err := os.Open(deployed + "kubernetes/callbackd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]object{}
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	for {
		var o object
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out[o.APIVersion+" "+o.Kind] = o
	}
}

// The manifest has no field that is not one, its parts fit each other, and the
// server starts with its environment and answers its probes.
func TestKubernetesManifest(t *testing.T) {
	t.Parallel()
	objects := manifest(t)
	pod := objects["apps/v1 Deployment"].Spec.Template.Spec
	if len(objects) != 4 || len(pod.Containers) != 1 {
		t.Fatalf("%d objects, and %d containers in a pod, want 4 and 1", len(objects), len(pod.Containers))
	}
	choosePods(t, objects)
	c := pod.Containers[0]
	for what, port := range map[string]string{"service": objects["v1 Service"].Spec.Ports[0].TargetPort, "readiness probe": c.ReadinessProbe.HTTPGet.Port,
		"liveness probe": c.LivenessProbe.HTTPGet.Port, "startup probe": c.StartupProbe.HTTPGet.Port} {
		if port != c.Ports[0].Name {
			t.Errorf("the %s asks port %q, want %q", what, port, c.Ports[0].Name)
		}
	}
	no := func(b *bool) bool { return b != nil && !*b }
	for what, is := range map[string]bool{"runs as another user than root": pod.SecurityContext.RunAsNonRoot, "cannot write to its image": c.SecurityContext.ReadOnlyRootFilesystem,
		"gets no more rights": no(c.SecurityContext.AllowPrivilegeEscalation), "has no links, which would be CALLBACKD_… variables": no(pod.EnableServiceLinks)} {
		if !is {
			t.Errorf("want that the pod %s", what)
		}
	}
	runsAPod(t, pod)
}

// choosePods checks that what chooses pods chooses those of the deployment.
func choosePods(t *testing.T, objects map[string]object) {
	t.Helper()
	deployment, budget, service := objects["apps/v1 Deployment"].Spec, objects["policy/v1 PodDisruptionBudget"].Spec, objects["v1 Service"].Spec
	var byDeployment, byBudget selector
	var byService labels
	if err := errors.Join(deployment.Selector.Decode(&byDeployment), budget.Selector.Decode(&byBudget), service.Selector.Decode(&byService)); err != nil {
		t.Fatal(err)
	}
	for what, by := range map[string]labels{"Deployment": byDeployment.MatchLabels, "PodDisruptionBudget": byBudget.MatchLabels, "Service": byService} {
		chooses(t, what, by, deployment.Template.Metadata.Labels)
	}
	guardsNodes(t, objects["networking.k8s.io/v1 NetworkPolicy"], deployment.Template.Metadata.Labels, deployment.Template.Spec.Containers[0])
}

// guardsNodes checks that everybody reaches the first port of the pods, and only they
// themselves the second one.
func guardsNodes(t *testing.T, policy object, pods labels, c container) {
	t.Helper()
	rules := policy.Spec.Ingress
	if len(rules) != 2 {
		t.Fatalf("the NetworkPolicy has %d rules, want one for everybody and one for nodes", len(rules))
	}
	if n := len(rules[0].From); n != 0 {
		t.Errorf("the first rule of the NetworkPolicy names %d sources, want none: it is for everybody", n)
	}
	if n := len(rules[1].From); n != 1 {
		t.Fatalf("the second rule of the NetworkPolicy names %d sources, want 1: the nodes", n)
	}
	chooses(t, "NetworkPolicy", policy.Spec.PodSelector.MatchLabels, pods)
	chooses(t, "rule for nodes", rules[1].From[0].PodSelector.MatchLabels, pods)
	for i, rule := range rules {
		if port := rule.Ports[0].Port; port != c.Ports[i].Name {
			t.Errorf("rule %d of the NetworkPolicy is for port %q, want %q", i, port, c.Ports[i].Name)
		}
	}
}

// runsAPod starts the server of a pod with the pod's environment and a database of its
// own, and holds its probes and the time of its stop against the manifest.
func runsAPod(t *testing.T, pod podSpec) {
	t.Helper()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	c, secrets := pod.Containers[0], t.TempDir()
	for _, item := range pod.Volumes[0].Secret.Items {
		if item.Key == "database-url" {
			if err := os.WriteFile(filepath.Join(secrets, item.Path), []byte(pg.Schema(t)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, img := dockerfile(t)
	env, waits := img.env(), grace(t)
	for _, v := range c.Env {
		switch v.Name {
		case "CALLBACKD_GRACE":
			waits = duration(t, v.Value)
		case "CALLBACKD_LISTEN":
			if v.Value != ":8080" || c.Ports[0].ContainerPort != 8080 {
				t.Errorf("it listens on %s, and the port is %d, want 8080", v.Value, c.Ports[0].ContainerPort)
			}
			v.Value = "127.0.0.1:0"
		case "CALLBACKD_NODE_LISTEN":
			if v.Value != ":8081" || c.Ports[1].ContainerPort != 8081 {
				t.Errorf("other nodes reach it at %s, and the port is %d, want 8081", v.Value, c.Ports[1].ContainerPort)
			}
			v.Value = ":0"
		}
		env = append(env, v.Name+"="+strings.ReplaceAll(v.Value, c.VolumeMounts[0].MountPath, secrets))
	}
	before, all := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second, time.Duration(pod.TerminationGracePeriodSeconds)*time.Second
	if before+waits >= all {
		t.Errorf("it is killed after %v, while a stop may take %v", all, before+waits)
	}
	serves(t, all-before, c.Args, env, []string{c.StartupProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path})
}

// chooses checks that a selector chooses the pods with these labels.
func chooses(t *testing.T, what string, by, pods labels) {
	t.Helper()
	if len(by) == 0 {
		t.Errorf("the %s chooses everything, want the pods alone", what)
	}
	for name, value := range by {
		if pods[name] != value {
			t.Errorf("the %s chooses %s=%s, and the pods have %q", what, name, value, pods[name])
		}
	}
}
