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

// healthTimeout bounds a check. The server itself waits up to 5 s for its store.
const healthTimeout = 6 * time.Second

type healthCmd struct {
	Listen string `default:"127.0.0.1:8080" env:"CALLBACKD_LISTEN" help:"Address of the server, as its own --listen has it."`
	Ready  bool   `help:"Check whether the server accepts events (/readyz), not only whether it runs (/healthz)."`
}

// Run checks the server on this machine.
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
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req) // without a proxy: the server is on this machine
	if err != nil {
		return fmt.Errorf("callbackd does not answer at %s: %w; is it running, and is --listen right?", at, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("read the answer of callbackd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", path, resp.Status, body)
	}
	_, err = fmt.Fprintf(e.stdout, "%s", body)
	return err
}

// here returns the address at which a server on this machine is reached: the
// loopback address for one that listens on all addresses.
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
