package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
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
	address = freeAddress(t)
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
	untilListens(t, exec.Command("nginx", "-p", dir, "-c", file), address)
	return address
}

// freeAddress returns an address at which nothing listens yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// untilListens starts a proxy, which ends with the test, and waits until it listens at address.
func untilListens(t *testing.T, cmd *exec.Cmd, address string) {
	t.Helper()
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
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v: %s", cmd.Args[0], err, log.String())
		case <-ctx.Done():
			t.Fatalf("%s does not listen", cmd.Args[0])
		}
	}
}

// The configuration that docs/proxy.md prints for nginx does what it says: the
// console works below its path, the visitor's address is known, and streams
// arrive at once.
func TestBehindNginxAsTheDocumentsSay(t *testing.T) {
	t.Parallel()
	backend := freeAddress(t)
	address := nginx(t, backend)
	behind(t, backend, address, "http://"+address, "/callbackd", nil)
}

// behind starts a server at the address backend behind a proxy that listens at address, where
// visitors see the server at origin and path, and checks what docs/proxy.md says of the proxy.
// The visitor claims another address than its own.
func behind(t *testing.T, backend, address, origin, path string, certificates *tls.Config) {
	t.Helper()
	dir, base := t.TempDir(), origin+path
	cl := newClient(t, dir)
	listening(t, start(t, command("serve", "--listen", backend, "--data", dir, "--allow-target", "127.0.0.0/8", "--log-level", "error",
		"--trusted-proxy", "127.0.0.1", "--public-url", base, "--operator-token", operator)))
	const ip = "127.0.0.9"
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return from.DialContext(ctx, network, address)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: certificates, ForceAttemptHTTP2: certificates != nil}
	t.Cleanup(transport.CloseIdleConnections)
	cl.Base, cl.HTTP = base, &http.Client{Timeout: patience, Transport: liar{transport}}

	signsInBelow(t, cl.HTTP.Transport, origin, path)
	streamArrives(t, cl)
	callsAreFrom(t, cl, ip)
	res, err := cl.HTTP.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusNotFound {
		t.Errorf("a visitor gets %s for /metrics, want 401 or 404", res.Status)
	}
}

// liar is a visitor that claims another address, and another protocol than its own.
type liar struct{ http.RoundTripper }

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("Forwarded", "for=192.0.2.2;proto=https")
	r.Header.Set("X-Forwarded-Proto", map[string]string{"http": "https", "https": "http"}[r.URL.Scheme])
	return l.RoundTripper.RoundTrip(r)
}

// signsInBelow signs in to the console as a browser does, and checks where that
// leads.
func signsInBelow(t *testing.T, transport http.RoundTripper, origin, path string) {
	t.Helper()
	base := origin + path
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
	if at := res.Request.URL.Path; res.StatusCode != http.StatusOK || at != path+"/console/" {
		t.Errorf("signing in leads to %s with %s, want %s/console/ with 200", at, res.Status, path)
	}
	if link := ` href="` + path + `/console/deliveries"`; !strings.Contains(string(page), link) {
		t.Errorf("the page has no link%s:\n%.300s", link, page)
	}
	// A jar does not tell whether its cookies are Secure.
	if cookie := signInCookie(t, transport, req, form); cookie.Secure != strings.HasPrefix(origin, "https:") {
		t.Errorf("at %s the cookie is %s", origin, cookie)
	}
}

// signInCookie returns the cookie that the answer to the form of a request sets.
func signInCookie(t *testing.T, transport http.RoundTripper, req *http.Request, form url.Values) *http.Cookie {
	t.Helper()
	req = req.Clone(t.Context())
	req.Body = io.NopCloser(strings.NewReader(form.Encode()))
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if len(res.Cookies()) == 0 {
		t.Fatalf("signing in answers %s without a cookie", res.Status)
	}
	return res.Cookies()[0]
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
