package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// healthTimeout bounds a check: the server itself gives up on its store after 5 s.
const healthTimeout = 6 * time.Second

type healthCmd struct {
	Listen string `default:"127.0.0.1:8080" env:"CALLBACKD_LISTEN" help:"Address that the server was told to listen on."`
	Ready  bool   `help:"Ask whether it takes events, not only whether it lives: /readyz instead of /healthz."`
}

// Run asks the server of this machine how it is.
func (c *healthCmd) Run(e *env) error {
	at, err := here(c.Listen)
	if err != nil {
		return err
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(e.ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return settingf("--listen %q is not an address: %v", c.Listen, err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req) // no proxy: it is on this machine
	if err != nil {
		return fmt.Errorf("callbackd does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("callbackd does not answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", path, resp.Status, body)
	}
	_, err = fmt.Fprintf(e.stdout, "%s", body)
	return err
}

// here is where a server that listens on an address is reached from its own
// machine: one that listens on all addresses is reached on the loopback one.
func here(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", settingf("--listen %q is not an address: %v; write for example 127.0.0.1:8080 or :8080", listen, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() && ip.Is4() {
		host = "127.0.0.1"
	} else if err == nil && ip.IsUnspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
