package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"

	"callbackd"
)

// listen opens an address that an option names. An IPv4 address is IPv4 alone:
// Go would take 0.0.0.0 for every address of either family.
func listen(option, address string, log *slog.Logger) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return nil, callbackd.Errorf(callbackd.KindSetting, "%s %s is no address (%v): write for example 127.0.0.1:8080 or :8080, or choose another address with %s", option, address, err, option)
	}
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4"
	}
	l, err := net.Listen(network, address)
	if errors.Is(err, syscall.EACCES) {
		return nil, callbackd.Errorf(callbackd.KindSetting, "this user may not listen on %s; choose another address with %s", address, option)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with %s", address, err, option)
	}
	return accepting{l, log}, nil
}

// outOfDescriptors is said when connections wait because this process, or the
// machine, has no file descriptor left.
const outOfDescriptors = "connections cannot be accepted: raise the limit of open files (LimitNOFILE, ulimit -n)"

// accepting says why connections are not accepted. The server that accepts
// tries again by itself.
type accepting struct {
	net.Listener
	log *slog.Logger
}

// Accept is part of net.Listener.
func (l accepting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Error(outOfDescriptors, "error", err)
	}
	return c, err
}
