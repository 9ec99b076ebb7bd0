package app

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"callbackd"
	"callbackd/internal/system"
)

// listen opens the address of an option. An IPv4 address listens on IPv4 only: Go would
// read 0.0.0.0 as every address of both families.
func listen(option, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return nil, callbackd.Errorf(callbackd.KindSetting, "%s %s is not an address (%v); write for example 127.0.0.1:8080 or :8080, or choose another address with %s", option, address, err, option)
	}
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4"
	}
	l, err := net.Listen(network, address)
	if system.Is(err, syscall.EACCES) {
		return nil, callbackd.Errorf(callbackd.KindSetting, "this user is not permitted to listen on %s; choose another address with %s", address, option)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with %s", address, err, option)
	}
	return l, nil
}
