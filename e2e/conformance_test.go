package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd/client"
)

// step is one of e2e/clients/conformance/steps.json: a call of an operation, a check of the
// request that the receiver got last, or a wait for the next one.
type step struct {
	Name           string          `json:"name"`
	As             string          `json:"as,omitempty"` // "stranger" has wrong secrets
	Call           string          `json:"call,omitempty"`
	Path           []string        `json:"path,omitempty"`
	Body           json.RawMessage `json:"body,omitempty"`
	Query          map[string]any  `json:"query,omitzero"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	Verify         *verifyStep     `json:"verify,omitempty"`
	Receive        bool            `json:"receive,omitempty"`

	// What must come of it.
	Status int               `json:"status,omitempty"` // 0: 200, or that a request is refused for a reason
	Reason string            `json:"reason,omitempty"` // a part of it
	Want   map[string]any    `json:"want,omitempty"`   // values by their paths
	Save   map[string]string `json:"save,omitempty"`   // paths of values that later steps name with $
	Retry  bool              `json:"retry,omitempty"`  // until it comes
}

// verifyStep is a check of a request. In the file it says how the request differs from the
// one that arrived; fill makes the whole request of it.
type verifyStep struct {
	Secrets []string          `json:"secrets"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Now     int64             `json:"now"`
	More    string            `json:"more_body,omitempty"` // behind the body
	Later   int64             `json:"later,omitempty"`     // seconds after the request was sent
}

// readStep reads a step with the values that are known by now in place of their names.
func readStep(t *testing.T, raw json.RawMessage, known map[string]string) (s step) {
	t.Helper()
	text := string(raw)
	for name, value := range known {
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, `"$`+name+`"`, string(quoted))
		text = strings.ReplaceAll(text, `"$`+name+`/`, string(quoted[:len(quoted)-1])+"/")
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s
}

// reply is what a client says of a step: the status of the answer, 0 for a request that is
// refused, and the answer or the reason.
type reply struct {
	Status int
	Answer any
	Reason string
}

// at returns the value at a path such as data.0.id.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			switch {
			case name == "length":
				v = float64(len(in))
			case err == nil && i < len(in):
				v = in[i]
			default:
				return nil
			}
		default:
			return nil
		}
	}
	return v
}

// fault says what of a reply is not as the step wants; it is empty when all is.
func (s *step) fault(r reply) string {
	want := s.Status
	if want == 0 && (s.Verify == nil || s.Reason == "") {
		want = 200
	}
	if r.Status != want || !strings.Contains(r.Reason, s.Reason) {
		return fmt.Sprintf("the answer is %d %q %v, want %d %q", r.Status, r.Reason, r.Answer, want, s.Reason)
	}
	for path, value := range s.Want {
		if got := at(r.Answer, path); got != value {
			return fmt.Sprintf("%s is %v, want %v, in %v", path, got, value, r.Answer)
		}
	}
	return ""
}

// arrival is a request that a receiver got.
type arrival struct {
	headers map[string]string
	body    string
}

// conform makes every step with a client for its own API key.
func conform(t *testing.T, srv *server, dir string, start func(t *testing.T, env map[string]string) func(step) reply) {
	arrived := make(chan arrival, 16)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		one := arrival{map[string]string{}, string(body)}
		for name := range r.Header {
			one.headers[name] = r.Header.Get(name)
		}
		arrived <- one
	}))
	defer web.Close()
	key := newClient(t, dir)
	do := start(t, map[string]string{"SERVER": srv.url, "ACCOUNT": key.Account, "KEY": key.APIKey, "SECRET": key.APISecret,
		"TOKEN": newToken(t, dir, "conformance-"+key.APIKey, "read")})

	raw, err := os.ReadFile("clients/conformance/steps.json")
	if err != nil {
		t.Fatal(err)
	}
	var steps []json.RawMessage
	if err := json.Unmarshal(raw, &steps); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{"receiver": web.URL}
	var last arrival
	for _, raw := range steps {
		s := readStep(t, raw, known)
		r := reply{Status: 200}
		switch {
		case s.Receive:
			select {
			case last = <-arrived:
			case <-time.After(time.Minute):
				t.Fatalf("%s: no request arrives in a minute", s.Name)
			}
			if err := json.Unmarshal([]byte(last.body), &r.Answer); err != nil {
				t.Fatal(err)
			}
		case s.Verify != nil:
			s.Verify.fill(last)
			r = do(s)
		default:
			r = do(s)
			for tries := 0; s.Retry && s.fault(r) != "" && tries < 400; tries++ {
				<-time.After(50 * time.Millisecond)
				r = do(s)
			}
		}
		if fault := s.fault(r); fault != "" {
			t.Fatalf("%s: %s", s.Name, fault)
		}
		for name, path := range s.Save {
			text, ok := at(r.Answer, path).(string)
			if !ok {
				t.Fatalf("%s: the answer has no text %s: %v", s.Name, path, r.Answer)
			}
			known[name] = text
		}
	}
}

// fill completes a check with the request that arrived.
func (v *verifyStep) fill(last arrival) {
	changed := v.Headers
	v.Headers = maps.Clone(last.headers)
	for name, value := range changed {
		v.Headers[http.CanonicalHeaderKey(name)] = value
	}
	v.Body = last.body + v.More
	stamp, _ := strconv.ParseInt(last.headers["Webhook-Timestamp"], 10, 64)
	v.Now = stamp + v.Later
}

// All three clients do the same in the same steps.
func TestTheClientsConform(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir, "--allow-target", "127.0.0.0/8")
	t.Run("Go", func(t *testing.T) { conform(t, srv, dir, startGo) })
	t.Run("TypeScript", func(t *testing.T) {
		at := compileTypeScript(t)
		conform(t, srv, dir, startRunner(at, nil, "node", "run.mjs"))
	})
	t.Run("Python", func(t *testing.T) {
		src, err := filepath.Abs("../clients/python/src")
		if err != nil {
			t.Fatal(err)
		}
		conform(t, srv, dir, startRunner("clients/conformance", []string{"PYTHONPATH=" + src}, "python3", "-B", "run.py"))
	})
}

// compileTypeScript compiles the client, and the example of its README.md, and returns the
// folder with the runner of the steps.
func compileTypeScript(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../clients/typescript")); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs("clients/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(readme), "```ts\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("README.md has no example")
	}
	known := "declare const account: string, apiKey: string, apiSecret: string, secret: string, body: string, request: { headers: Record<string, string> };\n"
	runner, err := os.ReadFile("clients/conformance/run.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"run.mjs": string(runner), "src/example.ts": known + strings.ReplaceAll(example, "'callbackd'", "'./index.js'")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.RemoveAll(filepath.Join(dir, "node_modules")) // of whoever works on the client
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node_modules/.bin/tsc", "-p", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, out)
	}
	return dir
}

// startRunner starts a program that makes the calls, which it reads from its standard input.
func startRunner(dir string, more []string, name string, args ...string) func(*testing.T, map[string]string) func(step) reply {
	return func(t *testing.T, env map[string]string) func(step) reply {
		cmd := exec.Command(name, args...) // it ends with its input
		cmd.Dir, cmd.Stderr, cmd.Env = dir, os.Stderr, append(os.Environ(), more...)
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		lines := bufio.NewReader(out)
		return func(s step) (r reply) {
			if err := json.NewEncoder(in).Encode(s); err != nil {
				t.Fatal(err)
			}
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatalf("%s: %s ends: %v", s.Name, name, err)
			}
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			return r
		}
	}
}

// clientsOf makes the Go clients of a runner.
func clientsOf(env map[string]string, as string) (*client.Client, *client.Admin, *client.Server) {
	c := &client.Client{Base: env["SERVER"], Account: env["ACCOUNT"], APIKey: env["KEY"], APISecret: env["SECRET"]}
	a := &client.Admin{Base: env["SERVER"], Token: env["TOKEN"]}
	if as == "stranger" {
		c.APISecret, a.Token = "x", "x"
	}
	return c, a, &client.Server{Base: env["SERVER"]}
}
