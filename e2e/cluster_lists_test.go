package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// same compares what all nodes answer to a key, as soon as they do.
func (c *nodes) same(key *client.Client, path string) {
	c.t.Helper()
	var all [3]json.RawMessage
	eventually(c.t, "all nodes answer the same to "+path, func() bool {
		for i := range all {
			if err := c.with(key, i).Do(c.t.Context(), "GET", path, nil, &all[i]); err != nil {
				c.t.Fatalf("%s: %v", path, err)
			}
		}
		return string(all[0]) == string(all[1]) && string(all[0]) == string(all[2])
	})
}

func (c *nodes) sameLists(t *testing.T) {
	if _, err := c.at(1).CreateSession(t.Context(), client.NewSession{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/v1/events?limit=200", "/v1/events?after=start&limit=200", "/v1/deliveries?limit=200", "/v1/deliveries?state=delivered&limit=20",
		"/v1/deliveries?state=pending", "/v1/sessions", "/v1/callbacks", "/v1/replays",
	} {
		c.same(c.cl, path)
	}
	var list wire.DeliveryList
	if err := c.at(2).Do(t.Context(), "GET", "/v1/deliveries?limit=200", nil, &list); err != nil || len(list.Data) < 30 {
		t.Errorf("%d deliveries are listed, %v", len(list.Data), err)
	}
}

// revoked: a key that is revoked by command is refused by every node when the
// command has ended.
func (c *nodes) revoked(t *testing.T) {
	other := newClientWith(t, "", c.on()...)
	for i := range c.up {
		other.Base = c.node(i).url
		if _, err := other.Deliveries(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, code := run(t, append([]string{"keys", "revoke", other.APIKey}, c.on()...)...); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	for i := range c.up {
		other.Base = c.node(i).url
		_, err := other.Deliveries(t.Context(), nil)
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Status != 401 {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

// listed: `callbackd nodes` and the console of each node show all three.
func (c *nodes) listed(t *testing.T) {
	out := says(t, append([]string{"nodes"}, c.on()...))
	t.Logf("\n%s", out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4", len(lines))
	}
	const columns = "NODE|NAME|ADDRESS|INNER ADDRESS|VERSION|UP|SHARDS|LEASE RENEWED|IN FLIGHT|BACKLOG|STATE"
	if got := strings.Join(regexp.MustCompile(`  +`).Split(strings.TrimSpace(lines[0]), -1), "|"); got != columns {
		t.Errorf("the columns are %s, want %s", got, columns)
	}
	row := regexp.MustCompile(`^\d+ +\S+ +(http://127\.0\.0\.1:\d+) +127\.0\.0\.1:\d+ +\S+ +(?:\d+ min )?\d+ m?s +1,36[56] +[\d.]+ m?s ago +\d+ +\d+ for \d+ callbacks +ok$`)
	for _, l := range lines[1:] {
		m := row.FindStringSubmatch(l)
		if m == nil {
			t.Errorf("the line %q is not as %s", l, row)
			continue
		}
		if !slices.ContainsFunc(c.up, func(s *server) bool { return s.url == m[1] }) {
			t.Errorf("%s is no node's address", m[1])
		}
		if len(l) > 150 {
			t.Errorf("%q is wider than 150", l)
		}
	}
	for i := range c.up {
		c.pagesOf(t, i)
	}
}

// pagesOf looks at the operator's pages about nodes, at one node.
func (c *nodes) pagesOf(t *testing.T, i int) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: patience}
	at := c.node(i).url + "/console"
	bodyOf(t)(browser.PostForm(at+"/sign-in", url.Values{"as": {"operator"}, "token": {operator}}))
	page := bodyOf(t)(browser.Get(at + "/nodes"))
	if n := strings.Count(page, "this one"); n != 1 {
		t.Errorf("the console of node %d shows %d nodes as this one, want 1: %s", i, n, page)
	}
	for _, s := range c.up {
		if !strings.Contains(page, s.url) {
			t.Errorf("the console of node %d does not show %s", i, s.url)
		}
	}
	page = bodyOf(t)(browser.Get(at + "/deliveries/live"))
	if want := fmt.Sprintf("This page shows the attempts of one node. %d other nodes deliver", len(c.up)-1); !strings.Contains(page, want) {
		t.Errorf("the live tail of node %d does not say whose it is: %s", i, page)
	}
}

// bodyOf returns a function that reads a response to its end.
func bodyOf(t *testing.T) func(*http.Response, error) string {
	return func(resp *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
}
