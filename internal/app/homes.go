package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/console"
	"callbackd/internal/home"
	"callbackd/internal/store"
)

// nodeStore is what a store on a shared database can do besides.
type nodeStore interface {
	store.Cluster
	Derive(purpose string) ([][]byte, error)
	LocalAddr(ctx context.Context) (netip.Addr, error)
}

// betweenNodes is the purpose of the keys by which nodes know each other.
const betweenNodes = "calls between nodes"

// nodeListener is where other nodes reach this one.
type nodeListener struct {
	net.Listener
	address string // as other nodes dial it
}

// listenForNodes opens the address for other nodes. An address without a host stands for
// the one by which this machine reaches the database: other nodes can most probably
// reach it there too.
func (a *App) listenForNodes(ctx context.Context, c Config, s nodeStore) error {
	host, port, err := net.SplitHostPort(c.NodeListen)
	if c.NodeListen == "" {
		port, err = "0", nil
	}
	if err != nil {
		return badAddress("--node-listen", c.NodeListen, err)
	}
	local, err := s.LocalAddr(ctx)
	if err != nil {
		return err
	}
	if host == "" {
		host = local.String()
	}
	l, err := listen("--node-listen", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	a.nodeListener = &nodeListener{l, c.NodeAddress}
	a.teardown.add("listener for nodes", func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // its server closes it too
			return err
		}
		return nil
	})
	if c.NodeAddress != "" {
		return checkNodeAddress(c.NodeAddress)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(local, at.Port())
	}
	a.nodeListener.address = at.String()
	return nil
}

// guarded returns the addresses of the listener that no callback may reach.
func (l *nodeListener) guarded() []netip.AddrPort {
	out := []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}
	if at, err := netip.ParseAddrPort(l.address); err == nil {
		out = append(out, at)
	}
	return out
}

// checkNodeAddress checks the address of an option that other nodes dial.
func checkNodeAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return badAddress("--node-address", address, err)
	}
	return nil
}

func badAddress(option, address string, err error) error {
	return callbackd.Errorf(callbackd.KindSetting, "%s %s is not an address (%v); write for example 10.0.0.5:8081", option, address, err)
}

// forwarding returns a handler that has each call answered by the home of its key, and
// answers the calls that other nodes forward.
func (a *App) forwarding(service *api.API, pages *console.Console, c Config, count home.Counter) (http.Handler, error) {
	here := routed(service, pages, documents(c))
	shared, ok := a.store.(nodeStore)
	if !ok {
		return here, nil
	}
	keys, err := shared.Derive(betweenNodes)
	if err != nil {
		return nil, err
	}
	a.homes = home.New(home.Options{
		Find:    a.member.Home,
		Refresh: a.member.Refresh, Self: a.member.ID, Now: a.member.DatabaseTime, Keys: keys, Log: c.Log, Count: count,
		Ready: func(context.Context) error { return a.member.Ready() },
		KeyOf: func(r *http.Request) callbackd.KeyID {
			if isConsole(r) {
				return pages.KeyOf(r)
			}
			return service.KeyOf(r)
		},
		Fail: func(w http.ResponseWriter, r *http.Request, err error) {
			if isConsole(r) {
				pages.Fail(w, r, err)
			} else {
				service.Fail(w, r, err)
			}
		},
	})
	a.teardown.add("connections to nodes", func(context.Context) error {
		a.homes.Close()
		return nil
	})
	server := api.Server(nil, c.Log)
	server.RegisterOnShutdown(pages.Close)
	server.RegisterOnShutdown(service.Close)
	inner := a.homes.Server(server, a.front, here)
	a.teardown.add("server for nodes", inner.Stop)
	go inner.Serve(a.nodeListener) // until the teardown
	return a.homes.Handler(here), nil
}
