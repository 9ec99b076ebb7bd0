package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// nameServer starts a DNS server on UDP and TCP and returns its address.
func nameServer(t *testing.T, answer func(q dns.Question, tcp bool, m *dns.Msg)) string {
	t.Helper()
	pc, l, err := listenBoth()
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: pc}, {Listener: l}} {
		tcp := srv.Listener != nil
		srv.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetReply(r)
			m.RecursionAvailable = true
			answer(r.Question[0], tcp, m)
			w.WriteMsg(m)
		})
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go srv.ActivateAndServe()
		<-started
		t.Cleanup(func() { srv.Shutdown() })
	}
	return pc.LocalAddr().String()
}

// listenBoth listens on one port with UDP and TCP. The port that UDP gets may be
// taken for TCP.
func listenBoth() (pc net.PacketConn, l net.Listener, err error) {
	for range 20 {
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l, nil
		}
		pc.Close()
	}
	return nil, nil, err
}

func records(texts ...string) (out []dns.RR) {
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		out = append(out, rr)
	}
	return out
}

// answerHyphens knows some names with hyphens. The answer about -long.test does not
// fit into UDP.
func answerHyphens(q dns.Question, tcp bool, m *dns.Msg) {
	a := q.Qtype == dns.TypeA
	switch strings.ToLower(q.Name) {
	case "-a.test.":
		if a {
			m.Answer = records("-a.test. 0 CNAME b-.test.", "b-.test. 0 A 192.0.2.1")
		}
	case "b-.test.":
		if !a {
			m.Answer = records("b-.test. 0 AAAA 2001:db8::1")
		}
	case "-long.test.":
		if m.Truncated = !tcp; a && tcp {
			m.Answer = records("-long.test. 0 A 192.0.2.2")
		}
	case "-broken.test.":
		m.Rcode = dns.RcodeServerFailure
	default:
		m.Rcode = dns.RcodeNameError
	}
}

// Labels may begin and end with a hyphen, as they do in browsers.
func TestNamesWithHyphensAtTheEdgesAreLookedUp(t *testing.T) {
	server := nameServer(t, answerHyphens)
	dead := func() ([]string, error) { return []string{"127.0.0.1:1"}, nil }
	both := func() ([]string, error) { return []string{"127.0.0.1:1", server}, nil }
	never := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not asked") }}
	for _, tt := range []struct {
		name    string
		servers func() ([]string, error)
		want    string
	}{
		{"-a.test.", both, "192.0.2.1"}, {"b-.test.", both, "2001:db8::1"}, {"-long.test.", both, "192.0.2.2"},
		{"-none.test.", both, "unknown"}, {"-broken.test.", both, "ours"}, {"-a.test.", dead, "ours"},
		{"-a.test.", func() ([]string, error) { return nil, nil }, "ours"}, {"-a.test.", func() ([]string, error) { return nil, errors.New("no file") }, "ours"},
	} {
		r := &hostsThenDNS{hosts: never, dns: never, plain: &plainResolver{servers: tt.servers}}
		addrs, err := lookup(t.Context(), r, tt.name)
		if got := found(addrs, err); got != tt.want {
			t.Errorf("%s is %s, want %s; the error is %v", tt.name, got, tt.want, err)
		}
	}
}

// found says in a word what a lookup found, or whose fault it is that it did not.
func found(addrs []netip.Addr, err error) string {
	var local *LocalError
	switch {
	case errors.As(err, &local):
		return "ours"
	case err != nil && isNotFound(err):
		return "unknown"
	case slices.ContainsFunc(addrs, netip.Addr.IsValid):
		return addrs[0].String()
	}
	return ""
}

func TestHyphensAtTheEdgesOfLabels(t *testing.T) {
	for name, want := range map[string]bool{"a-b.test.": false, "a.test.": false, "-a.test.": true, "a-.test.": true, "a.-b.test.": true, "a.b-.": true, "a--b.c.": false} {
		if got := edgeHyphens(name); got != want {
			t.Errorf("%s has such a label: %v, want %v", name, got, want)
		}
	}
}
