package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const maxProxyAnswer = 4 << 10 // bytes

// ProxyError is a fault of the operator's egress proxy.
type ProxyError struct {
	Err    error
	Status int // of the answer to CONNECT; 0 when there was none
	// Alive is set when the proxy answered other requests while it did not
	// answer this one.
	Alive bool
}

// Unreachable reports whether the proxy works but cannot reach the receiver, so that the
// fault is the receiver's: the proxy says so, or it answers other requests meanwhile.
func (e *ProxyError) Unreachable() bool {
	return e.Status == 502 || e.Status == 503 || e.Status == 504 || e.Status == 0 && e.Alive
}

// Error returns how the proxy failed.
func (e *ProxyError) Error() string { return "egress proxy: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// viaProxy opens a tunnel to the judged address. The proxy gets the address and not the
// name, so that it cannot resolve the name to another address. TLS still verifies the
// name.
func (d *dialer) viaProxy(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	conn, err := d.toProxy(ctx)
	if err != nil {
		return nil, &ProxyError{Err: err}
	}
	begin := time.Now().UnixNano()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(pastDeadline) })
	status, err := tunnel(conn, d.o.Proxy, target)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if status != 0 {
		d.proxied.Store(time.Now().UnixNano())
	}
	if err != nil {
		conn.Close()
		return nil, &ProxyError{Err: err, Status: status, Alive: d.proxied.Load() > begin}
	}
	return conn, nil
}

// toProxy connects to the proxy itself.
func (d *dialer) toProxy(ctx context.Context) (net.Conn, error) {
	p := d.o.Proxy
	port := p.Port()
	if port == "" {
		port = defaultPort(p.Scheme)
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.ProxyTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(p.Hostname(), port))
	if err != nil || p.Scheme != "https" {
		return conn, err
	}
	tc := tls.Client(conn, &tls.Config{ServerName: p.Hostname(), RootCAs: d.o.Roots, MinVersion: tls.VersionTLS12})
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return tc, nil
}

// tunnel asks the proxy for target and returns the status of its answer.
func tunnel(conn net.Conn, p *url.URL, target netip.AddrPort) (int, error) {
	req := "CONNECT " + target.String() + " HTTP/1.1\r\nHost: " + target.String() + "\r\n"
	if p.User != nil {
		password, _ := p.User.Password()
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
		return 0, err
	}
	// Read one byte at a time: bytes after the answer are the receiver's.
	r := bufio.NewReaderSize(io.LimitReader(byteReader{conn}, maxProxyAnswer), 16)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, fmt.Errorf("read the answer to CONNECT: %w", err)
	}
	// Do not close the body, which is the tunnel: that would wait for its end.
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("CONNECT was answered %d", resp.StatusCode)
	}
	return resp.StatusCode, nil
}

// byteReader reads one byte at a time.
type byteReader struct{ io.Reader }

func (o byteReader) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(len(p), 1)]) }
