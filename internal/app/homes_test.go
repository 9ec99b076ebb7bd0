package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/egress"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
)

// twoNodes starts two nodes on one database, with a key. home is the key's.
func twoNodes(t *testing.T) (home, other *App, key callbackd.Key) {
	t.Helper()
	at := StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	var nodes []*App
	for range 2 {
		c := config("")
		c.StoreConfig, c.OperatorToken = at, operatorToken
		a, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, a)
	}
	key, err := apikey.New("acme", "", true, time.Now())
	if err == nil {
		key, err = nodes[0].store.CreateKey(t.Context(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		a, b := nodes[0].member.Home(key.ID), nodes[1].member.Home(key.ID)
		switch half := callbackd.Shards / 2; {
		case owned(nodes[0]) != half || owned(nodes[1]) != half:
		case a.Here && b.Address != "":
			return nodes[0], nodes[1], key
		case b.Here && a.Address != "":
			return nodes[1], nodes[0], key
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the nodes do not agree on a home: %+v and %+v", a, b)
		}
	}
}

// owned returns how many shards a node has.
func owned(a *App) (n int) {
	for s := range callbackd.Shard(callbackd.Shards) {
		if a.member.Owns(s) {
			n++
		}
	}
	return n
}

// get returns the status and the body of a page.
func get(t *testing.T, c *http.Client, address string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// forwarded returns how many calls a node has forwarded, and how many it answered because
// the home did not answer in time.
func forwarded(t *testing.T, a *App) (calls, alone string) {
	t.Helper()
	_, metrics := get(t, http.DefaultClient, a.URL()+"/metrics")
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(metrics)
		if m == nil {
			t.Fatal(metrics)
		}
		return m[1]
	}
	return value("callbackd_calls_forwarded_total"), value("callbackd_calls_without_home_total")
}

// ask gets a page, again when the home was too slow on a busy machine.
func ask(t *testing.T, a *App, browser *http.Client, path string, header []string) (status int, body string, isForwarded bool) {
	t.Helper()
	for range 1000 {
		calls, alone := forwarded(t, a)
		status, body = get(t, browser, a.URL()+path, header...)
		callsAfter, aloneAfter := forwarded(t, a)
		if isForwarded = callsAfter != calls; aloneAfter == alone {
			break
		}
	}
	return status, body, isForwarded
}

// A call about a key, and a page about it, is answered by the key's home; everything else
// by the node that gets it.
func TestCallsAreAnsweredAtTheHomeOfTheirKey(t *testing.T) {
	t.Parallel()
	home, other, key := twoNodes(t)
	cl := &client.Client{Base: other.URL(), Account: key.Account, APIKey: key.APIKey, APISecret: key.Secret.Reveal()}
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: "SESSION:STATUS_CHANGE", URL: "http://" + home.nodeListener.address}); err != nil {
		t.Fatal(err)
	}
	ev, err := cl.Publish(t.Context(), client.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: "S"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := home.store.ListCallbacks(t.Context(), store.CallbackQuery{Key: key.ID})
	list := page.Callbacks
	if err != nil || len(list) != 1 {
		t.Fatalf("%d callbacks, %v", len(list), err)
	}
	delivery := "dlv_" + strings.TrimPrefix(ev.ID, "evt_") + fmt.Sprint("-", list[0].ID)
	holder, operator := signedIn(t, other, url.Values{"api_key": {key.APIKey}, "secret": {key.Secret.Reveal()}}), signedIn(t, other, url.Values{"as": {"operator"}, "token": {operatorToken}})
	for _, v := range []struct {
		what      string
		browser   *http.Client
		path      string
		header    []string
		status    int
		isForward bool
	}{
		{"a signature that is wrong", nil, "/v1/events", []string{"API-Key", key.APIKey, "API-Token", "x", "API-Timestamp", "1"}, 401, true},
		{"double slashes", nil, "//v1/events", []string{"API-Key", key.APIKey}, 401, true},
		{"an unknown key", nil, "/v1/events", []string{"API-Key", "unknown"}, 401, false},
		{"no key", nil, "/v1/events", nil, 401, false},
		{"the document", nil, "/openapi.yaml", []string{"API-Key", key.APIKey}, 200, false},
		{"readiness", nil, "/readyz", []string{"API-Key", key.APIKey}, 200, false},
		{"a page of nobody", nil, "/console/deliveries", nil, 200, false}, // the sign-in page
		{"the holder's overview", holder, "/console/", nil, 200, true},
		{"the holder's keys", holder, "/console/keys", nil, 200, true},
		{"the operator's overview", operator, "/console/", nil, 200, false},
		{"the operator's overview of the key", operator, "/console/?key=" + url.QueryEscape(key.APIKey), nil, 200, true},
		{"the operator's list", operator, "/console/deliveries", nil, 200, false},
		{"the operator's page of a callback", operator, fmt.Sprint("/console/callbacks/", list[0].ID), nil, 200, true},
		{"the operator's page of a delivery", operator, "/console/deliveries/" + delivery, nil, 200, true},
		{"the operator's live tail", operator, "/console/deliveries/live", nil, 200, false},
		{"the operator's live tail of a callback", operator, fmt.Sprint("/console/deliveries/live?callback=", list[0].ID), nil, 200, true},
		{"the operator's page of an event", operator, "/console/events/" + ev.ID, nil, 200, true},
		{"the operator's page of a session", operator, "/console/sessions/S", nil, 200, true},
		{"the operator's sessions", operator, "/console/sessions", nil, 200, false},
		{"a callback that is none", operator, "/console/callbacks/999", nil, 404, false},
		{"the nodes", operator, "/console/nodes", nil, 200, false},
	} {
		browser := v.browser
		if browser == nil {
			browser = http.DefaultClient
		}
		status, body, isForward := ask(t, other, browser, v.path, v.header)
		if status != v.status {
			t.Errorf("%s: status %d, want %d\n%.200s", v.what, status, v.status, body)
		}
		if isForward != v.isForward {
			t.Errorf("%s: whether the call was forwarded: %v, want %v\n%.200s", v.what, isForward, v.isForward, body)
		}
	}
	if n, _ := forwarded(t, home); n != "0" {
		t.Errorf("the home has forwarded %s calls of its own key", n)
	}
}

// What the operator sees of a delivery as it happens comes from the home, whichever node the
// page is from. Only the live tail of all keys says that it is of one node.
func TestADeliveryIsLiveAtEachNode(t *testing.T) {
	t.Parallel()
	home, other, key := twoNodes(t)
	cl := &client.Client{Base: other.URL(), Account: key.Account, APIKey: key.APIKey, APISecret: key.Secret.Reveal()}
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: "SESSION:STATUS_CHANGE", URL: "http://" + home.nodeListener.address}); err != nil {
		t.Fatal(err)
	}
	ev, err := cl.Publish(t.Context(), client.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: "S"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := home.store.ListCallbacks(t.Context(), store.CallbackQuery{Key: key.ID})
	if err != nil || len(page.Callbacks) != 1 {
		t.Fatalf("%d callbacks, %v", len(page.Callbacks), err)
	}
	callback := page.Callbacks[0].ID
	delivery := "dlv_" + strings.TrimPrefix(ev.ID, "evt_") + fmt.Sprint("-", callback)
	operator := signedIn(t, other, url.Values{"as": {"operator"}, "token": {operatorToken}})
	for query, one := range map[string]bool{"": true, "?key=" + key.APIKey: false, fmt.Sprint("?callback=", callback): false} {
		if _, body := get(t, operator, other.URL()+"/console/deliveries/live"+query); strings.Contains(body, "the attempts of one node") != one {
			t.Errorf("that the live tail%s is of one node: want %v\n%s", query, one, body)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", other.URL()+"/console/deliveries/stream?delivery="+delivery, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := operator.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() { // the page listens now
		t.Fatal(lines.Err())
	}
	if _, err := cl.RetryDelivery(ctx, delivery); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), delivery) {
			return
		}
	}
	t.Errorf("the attempt is not shown: %v", lines.Err())
}

// signedIn returns a browser that is signed in at a node.
func signedIn(t *testing.T, a *App, form url.Values) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	res, err := c.PostForm(a.URL()+"/console/sign-in", form)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.Request.URL.Path != "/console/" {
		t.Fatalf("signing in leads to %s", res.Request.URL)
	}
	return c
}

// No callback reaches the listener for nodes, whatever is allowed.
func TestCallbacksDoNotReachTheListenerForNodes(t *testing.T) {
	t.Parallel()
	_, node, _ := twoNodes(t)
	policy := egress.NewPolicy(config("").AllowTargets)
	at := node.nodeListener.guarded()
	if v, ok := policy.Judge(at[0]); !ok {
		t.Fatalf("%v is refused as %v without the guard, so the test proves nothing", at[0], v)
	}
	for _, a := range at {
		policy.Guard(a)
		if v, ok := policy.Judge(a); ok || v != egress.Own {
			t.Errorf("the policy judges the node's own address %v: allowed %v, verdict %v; want it refused as %v", a, ok, v, egress.Own)
		}
	}
	if _, port, err := net.SplitHostPort(node.nodeListener.address); err != nil || port == "0" {
		t.Errorf("the other nodes are told %q, %v", node.nodeListener.address, err)
	}
}

func TestAddressesForNodesThatAreWrong(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"--node-listen 8081 is not an address":       func(c *Config) { c.NodeListen = "8081" },
		"--node-address 10.0.0.5 is not an address":  func(c *Config) { c.NodeAddress = "10.0.0.5" },
		"--node-address node:http is not an address": func(c *Config) { c.NodeAddress = "node:http" },
	} {
		c := config("")
		c.StoreConfig = StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
		change(&c)
		a, err := Start(t.Context(), c)
		if err == nil {
			a.Stop(t.Context())
		}
		if callbackd.KindOf(err) != callbackd.KindSetting || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error is %v, want one that says %q", err, want)
		}
	}
}
