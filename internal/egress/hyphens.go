package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Limits of one question to one name server.
const (
	questionTimeout = 5 * time.Second
	maxUDPAnswer    = 1232 // bytes, as asked for
)

// edgeHyphens reports whether a label of an absolute name begins or ends with a
// hyphen. DNS has such names and browsers ask for them; Go's resolver does not.
func edgeHyphens(name string) bool {
	return strings.HasPrefix(name, "-") || strings.Contains(name, ".-") || strings.Contains(name, "-.")
}

// plainResolver asks the configured name servers, one after the other, for
// exactly the name it is given.
type plainResolver struct {
	servers func() ([]string, error) // host:port
}

// nameServers reads the system's configuration.
func nameServers() ([]string, error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, net.JoinHostPort(f[1], "53"))
		}
	}
	return out, nil
}

// LookupNetIP is part of [Resolver].
func (r *plainResolver) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	kind := dnsmessage.TypeA
	if network == "ip6" {
		kind = dnsmessage.TypeAAAA
	}
	err = errors.New("no name server is configured")
	for _, server := range servers {
		var addrs []netip.Addr
		if addrs, err = question(ctx, server, name, kind); err == nil || isNotFound(err) {
			return addrs, err
		}
	}
	return nil, err
}

// question asks one name server, over TCP when the answer is too long for UDP.
func question(ctx context.Context, server, name string, kind dnsmessage.Type) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	owner, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: owner, Type: kind, Class: dnsmessage.ClassINET}}}
	opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	if err := opt.Header.SetEDNS0(maxUDPAnswer, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	m.Additionals = []dnsmessage.Resource{opt}
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	for _, network := range []string{"udp", "tcp"} {
		answer, err := exchangeDNS(ctx, network, server, packed, &m)
		if err != nil {
			return nil, err
		}
		if answer.Truncated && network == "udp" {
			continue
		}
		return addresses(answer, name, server)
	}
	return nil, errors.New("the answer is truncated")
}

// exchangeDNS sends a packed message and reads the answer to it.
func exchangeDNS(ctx context.Context, network, server string, packed []byte, asked *dnsmessage.Message) (*dnsmessage.Message, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(pastDeadline) })
	defer stop()
	if network == "tcp" {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	if _, err := c.Write(packed); err != nil {
		return nil, err
	}
	for {
		raw, err := readDNS(c, network)
		if err != nil {
			return nil, err
		}
		var answer dnsmessage.Message
		err = answer.Unpack(raw)
		if err == nil && answer.Response && answer.ID == asked.ID && len(answer.Questions) == 1 && sameQuestion(answer.Questions[0], asked.Questions[0]) {
			return &answer, nil
		}
		if network == "tcp" {
			return nil, errors.New("the name server answered something else")
		}
		// Over UDP anybody can send: the true answer may still come.
	}
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

func readDNS(c net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		b := make([]byte, maxUDPAnswer)
		n, err := c.Read(b)
		return b[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// addresses is what an answer holds, at the end of whatever aliases.
func addresses(m *dnsmessage.Message, name, server string) ([]netip.Addr, error) {
	if m.RCode != dnsmessage.RCodeSuccess && m.RCode != dnsmessage.RCodeNameError {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, Server: server, IsTemporary: true}
	}
	var out []netip.Addr
	for _, a := range m.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(body.AAAA))
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, Server: server, IsNotFound: true}
	}
	return out, nil
}
