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
  server { listen %[2]s;
%[3]s  }
}
`, dir, address, strings.ReplaceAll(string(location), "127.0.0.1:8080", backend))
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
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := l.Addr().String()
	l.Close()
	address := nginx(t, backend)
	base := "http://" + address + "/callbackd"
	const token = "an-operator-token-for-tests"
	cl := newClient(t, dir)
	listening(t, start(t, command("serve", "--listen", backend, "--data", dir, "--allow-target", "127.0.0.0/8", "--log-level", "error",
		"--trusted-proxy", "127.0.0.1", "--public-url", base, "--operator-token", token)))
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
	transport := &http.Transport{DialContext: from.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	cl.Base, cl.HTTP = base, &http.Client{Timeout: patience, Transport: transport}

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: transport, Timeout: patience}
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/console/sign-in", strings.NewReader(url.Values{"as": {"operator"}, "token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "http://"+address)
	res, err := browser.Do(req) // follows the redirect, with the cookie
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || res.Request.URL.Path != "/callbackd/console/" || !strings.Contains(string(page), ` href="/callbackd/console/deliveries"`) {
		t.Errorf("signing in leads to %s: %s, %v\n%.300s", res.Request.URL, res.Status, err, page)
	}

	stream, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v1/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	signature.SetHeaders(stream.Header, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	events, err := (&http.Client{Transport: transport}).Do(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	lines := bufio.NewScanner(events.Body)
	if !lines.Scan() { // the stream stands
		t.Fatal(lines.Err())
	}
	ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
	if err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), ev.ID) {
			break
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	var calls struct{ Data []struct{ Address string } }
	if err := cl.Do(t.Context(), "GET", "/v1/events", nil, nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); len(calls.Data) == 0 && time.Now().Before(deadline); { // the log is written every two seconds
		if err := cl.Do(t.Context(), "GET", "/v1/logs", nil, &calls); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range calls.Data {
		if c.Address != "127.0.0.9" {
			t.Errorf("a call from %s", c.Address)
		}
	}
	if len(calls.Data) == 0 {
		t.Error("no call is in the log")
	}
}
