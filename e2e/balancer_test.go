package e2e

import (
	"io"
	"net/http"
	"os"
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
	address := nginxWith(t, upstream, `    location / { proxy_pass http://callbackd; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
`)
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
	before := c.forwarded()
	for range 10 {
		publish()
	}
	after := c.forwarded()
	if n := after[0] - before[0] + after[1] - before[1]; n > 0 && after[0] > before[0] && after[1] > before[1] {
		t.Errorf("both nodes forward calls of one key: %v before, %v after", before, after)
	}
	c.node(0).kill()
	publish() // at the node that is left, or passed on to it
	publish()
}
