package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"callbackd/client"
)

// forwarded returns how many calls the nodes have forwarded to the homes of their keys.
func (c *nodes) forwarded() (calls []int) {
	c.t.Helper()
	for i := range c.up {
		res, err := http.Get(c.node(i).url + "/metrics")
		if err != nil {
			c.t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^callbackd_calls_forwarded_total (\d+)$`).FindSubmatch(body)
		if m == nil {
			c.t.Fatalf("%s", body)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			c.t.Fatal(err)
		}
		calls = append(calls, n)
	}
	return calls
}

// nginx as docs/operating.md says has all calls of a key made at one node, and at another
// one when that node is gone.
func TestNginxChoosesANodeByKey(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	upstream := regexp.MustCompile(`(?s)upstream callbackd \{.*?\n\}\n`).FindString(string(doc))
	if upstream == "" {
		t.Fatal("docs/operating.md has no upstream for nginx")
	}
	c := newNodes(t, 2, 1)
	c.shared(2)
	for i, example := range []string{"10.0.0.5:8080", "10.0.0.6:8080"} {
		upstream = strings.ReplaceAll(upstream, example, strings.TrimPrefix(c.node(i).url, "http://"))
	}
	c.choosesByKey(nginxWith(t, upstream, `    location / { proxy_pass http://callbackd; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
`))
}

// HAProxy as docs/operating.md says does the same.
func TestHAProxyChoosesANodeByKey(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```haproxy\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("docs/operating.md has no configuration for HAProxy")
	}
	c := newNodes(t, 2, 1)
	c.shared(2)
	backend := string(m[1])
	for i, example := range []string{"10.0.0.5:8080", "10.0.0.6:8080"} {
		backend = strings.ReplaceAll(backend, example, strings.TrimPrefix(c.node(i).url, "http://"))
	}
	address := freeAddress(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	conf := "defaults\n    mode http\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\nfrontend test\n    bind " + address + "\n    default_backend callbackd\n" + backend
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	untilListens(t, exec.Command("haproxy", "-db", "-f", file), address)
	c.choosesByKey(address)
}

// choosesByKey checks that a load balancer at address has all calls of a key made at one of two
// nodes, and at the other one when that is gone.
func (c *nodes) choosesByKey(address string) {
	t := c.t
	t.Helper()
	cl := *c.cl
	cl.Base = "http://" + address
	publish := func() {
		t.Helper()
		ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
		if err != nil {
			t.Fatal(err)
		}
		c.sinks[0].await(t, ev.ID+" arrives", func() bool { return c.sinks[0].ids[ev.ID] > 0 })
	}
	publish() // each node knows the home of the key from now on
	const calls = 10
	before := c.forwarded()
	for range calls {
		publish()
	}
	after := c.forwarded()
	// The node that is chosen is the key's home and forwards none, or is not and forwards all.
	if n := after[0] - before[0] + after[1] - before[1]; n != 0 && n != calls {
		t.Errorf("%d of %d calls of one key are forwarded, want all or none: %v before, %v after", n, calls, before, after)
	}
	c.node(0).kill()
	publish() // at the node that is left, or passed on to it
	publish()
}
