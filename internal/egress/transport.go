package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Limits of a connection. The whole exchange has its own deadline, in the
// request's context.
const (
	DialTimeout        = 5 * time.Second // for each address of a name
	TLSTimeout         = 5 * time.Second
	MaxResponseHeaders = 32 << 10 // bytes
	maxProxyAnswer     = 4 << 10  // bytes
	// DefaultProxyTimeout is shorter than the default timeout of an attempt:
	// a silent proxy must not look like a silent receiver.
	DefaultProxyTimeout = 10 * time.Second
	maxAddresses        = 8 // of a name that are tried
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options of a transport. Policy is required.
type Options struct {
	Policy   *Policy
	Resolver Resolver       // default net.DefaultResolver
	Roots    *x509.CertPool // default the system's
	Proxy    *url.URL       // http or https; nil for none; the environment is never asked
	// ProxyTimeout is how long the proxy may take to open a tunnel to one
	// address; default DefaultProxyTimeout.
	ProxyTimeout time.Duration
}

// NewTransport is the one constructor for outbound HTTP.
func NewTransport(o Options) *Transport {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.ProxyTimeout == 0 {
		o.ProxyTimeout = DefaultProxyTimeout
	}
	return &Transport{dialer: dialer{o: o}, tls: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}}
}

// CloseIdleConnections closes what waits for its next use.
func (t *Transport) CloseIdleConnections() { t.idle.closeAll() }

type dialer struct{ o Options }

// dial resolves the target, judges every address it has, and connects to one
// of them. One forbidden address refuses the name: a mixed answer must show,
// not be a lottery.
func (d *dialer) dial(ctx context.Context, target string, tr *Trace) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host, tr)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		targets[i] = netip.AddrPortFrom(a, uint16(port))
		if v, ok := d.o.Policy.Judge(targets[i]); !ok {
			return nil, &RefusedError{Host: host, Addr: targets[i], Verdict: v}
		}
	}
	if len(targets) > maxAddresses {
		targets = targets[:maxAddresses]
	}
	var errs []error
	begin := time.Now()
	defer func() { tr.Connect = time.Since(begin) }()
	for _, t := range targets {
		tr.Address = t.String()
		conn, err := d.connect(ctx, host, t)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (d *dialer) resolve(ctx context.Context, host string, tr *Trace) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	begin := time.Now()
	defer func() { tr.DNS = time.Since(begin) }()
	addrs, err := d.o.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// connect dials a judged address, through the proxy if there is one. The
// address is judged again on the socket, where nothing can be swapped.
func (d *dialer) connect(ctx context.Context, host string, target netip.AddrPort) (net.Conn, error) {
	if d.o.Proxy != nil {
		return d.viaProxy(ctx, target)
	}
	nd := &net.Dialer{
		Timeout: DialTimeout,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || network != "tcp4" && network != "tcp6" {
				return &RefusedError{Host: host, Addr: a, Verdict: Reserved}
			}
			if v, ok := d.o.Policy.Judge(a); !ok {
				return &RefusedError{Host: host, Addr: a, Verdict: v}
			}
			return nil
		},
	}
	return nd.DialContext(ctx, "tcp", target.String())
}

// viaProxy opens a tunnel to the judged address. The proxy is told the
// address, not the name, so that it cannot resolve to another one; TLS still
// asks for the name.
func (d *dialer) viaProxy(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	p := d.o.Proxy
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[p.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.ProxyTimeout)
	defer cancel()
	nd := &net.Dialer{Timeout: DialTimeout}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(p.Hostname(), port))
	if err != nil {
		return nil, &ProxyError{Err: err}
	}
	if p.Scheme == "https" {
		tc := tls.Client(conn, &tls.Config{ServerName: p.Hostname(), RootCAs: d.o.Roots, MinVersion: tls.VersionTLS12})
		if err := tc.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &ProxyError{Err: err}
		}
		conn = tc
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	status, err := tunnel(conn, p, target)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, &ProxyError{Err: err, Status: status}
	}
	return conn, nil
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
	// One byte at a time: what follows the answer belongs to the receiver.
	r := bufio.NewReaderSize(io.LimitReader(oneByte{conn}, maxProxyAnswer), 16)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, fmt.Errorf("read the answer to CONNECT: %w", err)
	}
	// The body is the tunnel: closing it would wait for its end.
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("CONNECT was answered %d", resp.StatusCode)
	}
	return resp.StatusCode, nil
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(len(p), 1)]) }
