package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/signature"
)

// nginx runs with the location that docs/proxy.md prints, before a server, and
// returns its address. It speaks plain HTTP here.
func nginx(t *testing.T, backend string) (address string) {
	t.Helper()
	doc, err := os.ReadFile("../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	location := regexp.MustCompile(`(?s)    location /callbackd/ \{.*?\n    \}\n`).Find(doc)
	if location == nil {
		t.Fatal("docs/proxy.md has no location for nginx")
	}
	return nginxWith(t, "", strings.ReplaceAll(string(location), "127.0.0.1:8080", backend))
}

// nginxWith runs nginx with lines beside and in its server, and returns its address.
func nginxWith(t *testing.T, beside, inside string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
%[3]s  server { listen %[2]s;
%[4]s  }
}
`, dir, address, beside, inside)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", file)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v: %s", err, log.String())
		case <-ctx.Done():
			t.Fatal("nginx does not listen")
		}
	}
}

// The configuration that docs/proxy.md prints for nginx does what it says: the
// console works below its path, the visitor's address is known, and streams
// arrive at once.
func TestBehindNginxAsTheDocumentsSay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := l.Addr().String()
	l.Close()
	address := nginx(t, backend)
	base := "http://" + address + "/callbackd"
	cl := newClient(t, dir)
	listening(t, start(t, command("serve", "--listen", backend, "--data", dir, "--allow-target", "127.0.0.0/8", "--log-level", "error",
		"--trusted-proxy", "127.0.0.1", "--public-url", base, "--operator-token", operator)))
	const visitor = "127.0.0.9"
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitor)}}
	transport := &http.Transport{DialContext: from.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	cl.Base, cl.HTTP = base, &http.Client{Timeout: patience, Transport: transport}

	signsInBelow(t, transport, base, "http://"+address)
	streamArrives(t, cl)
	callsAreFrom(t, cl, visitor)
}

// signsInBelow signs in to the console as a browser does, and checks where that
// leads.
func signsInBelow(t *testing.T, transport http.RoundTripper, base, origin string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: transport, Timeout: patience}
	form := url.Values{"as": {"operator"}, "token": {operator}}
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/console/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", origin)
	res, err := browser.Do(req) // follows the redirect, with the cookie
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if path := res.Request.URL.Path; res.StatusCode != http.StatusOK || path != "/callbackd/console/" {
		t.Errorf("signing in leads to %s with %s, want /callbackd/console/ with 200", path, res.Status)
	}
	if link := ` href="/callbackd/console/deliveries"`; !strings.Contains(string(page), link) {
		t.Errorf("the page has no link%s:\n%.300s", link, page)
	}
}

// streamArrives publishes an event and reads the stream until the event is there.
func streamArrives(t *testing.T, cl *client.Client) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", cl.Base+"/v1/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	signature.SetHeaders(req.Header, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	stream, err := (&http.Client{Transport: cl.HTTP.Transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	if !lines.Scan() { // the stream stands
		t.Fatalf("the stream ends before its first line: %v", lines.Err())
	}
	ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
	if err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), ev.ID) {
			return
		}
	}
	t.Errorf("the stream ends without the event %s: %v", ev.ID, lines.Err())
}

// callsAreFrom waits for the log of calls, which is written every two seconds, and
// checks the addresses there.
func callsAreFrom(t *testing.T, cl *client.Client, want string) {
	t.Helper()
	if err := cl.Do(t.Context(), "GET", "/v1/events", nil, nil); err != nil {
		t.Fatal(err)
	}
	var calls struct{ Data []struct{ Address string } }
	for deadline := time.Now().Add(patience); len(calls.Data) == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("no call is in the log within %v", patience)
		}
		<-time.After(50 * time.Millisecond)
		if err := cl.Do(t.Context(), "GET", "/v1/logs", nil, &calls); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range calls.Data {
		if c.Address != want {
			t.Errorf("a call is from %s, want %s", c.Address, want)
		}
	}
}
