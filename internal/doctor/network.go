package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"callbackd/internal/humanize"
	"callbackd/internal/system"
)

func checkAddress(ctx context.Context, p *patient) []Finding {
	network := "tcp"
	host, _, err := net.SplitHostPort(p.Settings.Listen)
	if err != nil {
		return nil // checkSettings says so, or the start does
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() != nil {
		network = "tcp4"
	}
	l, err := p.Machine.Listen(network, p.Settings.Listen)
	switch {
	case err == nil:
		l.Close()
		return []Finding{ok("%s is free", p.Settings.Listen)}
	case system.Is(err, syscall.EACCES):
		return []Finding{problem("Choose a port from 1024 on with --listen, and put a proxy in front.", "this user may not listen on %s", p.Settings.Listen)}
	case !system.Is(err, syscall.EADDRINUSE):
		return []Finding{problem("Name an address of this machine with --listen, such as 127.0.0.1:8080 or :8080.", "the server cannot listen on %s: %v", p.Settings.Listen, err)}
	}
	if err := p.Answers(ctx, p.Settings.Listen); err != nil {
		return []Finding{problem("Stop that program, or choose another address with --listen. If it is a callbackd, look at its log and at `callbackd status`.", "%s is in use, and no callbackd answers there: %v", p.Settings.Listen, err)}
	}
	return []Finding{ok("a callbackd answers at %s", p.Settings.Listen)}
}

// unknownName is looked up when there is no callback: a reserved name, of which every name
// server can say that there is none (RFC 6761).
const unknownName = "callbackd.invalid"

func checkDNS(ctx context.Context, p *patient) []Finding {
	const remedy = "Look at /etc/resolv.conf and at the way to the name servers (port 53, UDP and TCP). Until then deliveries wait, and use up no attempt."
	hosts := p.hosts
	if len(hosts) == 0 {
		hosts = []string{unknownName}
	}
	var found []Finding
	for _, host := range hosts {
		name := host
		if strings.Contains(host, ".") { // no search list, as for deliveries
			name = strings.TrimSuffix(host, ".") + "."
		}
		_, err := p.Lookup(ctx, name)
		var answer *net.DNSError
		switch {
		case err == nil, host == unknownName && errors.As(err, &answer) && answer.IsNotFound:
		case errors.As(err, &answer) && answer.IsNotFound:
			found = append(found, warning("Ask the holder of the API key for the right URL.", "a callback names the host %s, which does not exist", host))
		default:
			return []Finding{problem(remedy, "the name servers do not answer for %s: %v", host, err)}
		}
	}
	return orOK(found, "the name servers answer")
}

// routeProbe is an address for documentation (RFC 5737). A UDP socket that is connected to it
// sends nothing, and fails when there is no route.
const routeProbe = "192.0.2.1:9"

func checkEgress(ctx context.Context, p *patient) []Finding {
	if p.Proxy != nil {
		address := hostPort(p.Proxy)
		conn, err := p.Dial(ctx, "tcp", address)
		if err != nil {
			return []Finding{problem("Start the proxy, open the way to it, or change --egress-proxy. Until then deliveries wait, and use up no attempt.", "the egress proxy %s cannot be reached: %v", address, err)}
		}
		conn.Close()
		return []Finding{ok("the egress proxy %s can be reached", address)}
	}
	conn, err := p.Dial(ctx, "udp", routeProbe)
	if err != nil {
		return []Finding{warning("Give the machine a route, or name a proxy with --egress-proxy, unless all receivers are in its own network.", "there is no route to the internet: %v", err)}
	}
	conn.Close()
	return []Finding{ok("there is a route to the internet")}
}

func checkMail(ctx context.Context, p *patient) []Finding {
	if p.Mail == nil {
		return []Finding{ok("no mails are sent (--smtp-url)")}
	}
	if err := p.Mail.Check(ctx); err != nil {
		return []Finding{problem("Look at --smtp-url: host, port, user and password, and smtps for TLS or smtp for STARTTLS. --ca-file names further authorities for the server's certificate. Until then mails about incidents wait.", "the mail server cannot be used: %v", err)}
	}
	return []Finding{ok("the mail server can be reached, and takes the user and the password")}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// endsSoon is how long before its end a certificate gets a warning.
const endsSoon = 30 * 24 * time.Hour

func checkCertificates(ctx context.Context, p *patient) []Finding {
	var found []Finding
	roots, err := p.Roots()
	if none := err != nil || roots == nil || roots.Equal(x509.NewCertPool()); none && p.CAFile == "" {
		found = append(found, problem("Install them (Debian's package ca-certificates), or name a file with --ca-file.", "this machine trusts no certificate authority: every https receiver fails"))
	}
	if p.CAFile != "" {
		if raw, err := os.ReadFile(p.CAFile); err == nil { // otherwise checkSettings says so
			found = append(found, p.ends(string(raw), "a certificate of --ca-file "+p.CAFile, "Replace it in the file.")...)
		}
	}
	for _, c := range p.clients {
		found = append(found, p.ends(c.pem, "the client certificate of "+c.callback, "Have the holder of the API key replace it (policy.auth.tls).")...)
	}
	if u := p.PublicURL; u != nil && u.Scheme == "https" {
		found = append(found, p.served(ctx, u)...)
	}
	return orOK(found, "none ends within %s", humanize.Duration(endsSoon))
}

// ends is about the certificates in a PEM text.
func (p *patient) ends(text, what, remedy string) (found []Finding) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, p.end(cert, what, remedy)...)
		}
	}
}

func (p *patient) end(cert *x509.Certificate, what, remedy string) []Finding {
	name := cert.Subject.CommonName
	if name != "" {
		name = " (" + name + ")"
	}
	switch left := cert.NotAfter.Sub(p.Now()); {
	case left <= 0:
		return []Finding{problem(remedy, "%s%s has ended on %s", what, name, humanize.Time(cert.NotAfter))}
	case left < endsSoon:
		return []Finding{warning(remedy, "%s%s ends in %s, on %s", what, name, humanize.Duration(left), humanize.Time(cert.NotAfter))}
	}
	return nil
}

// served is about the certificate that people see at the public URL.
func (p *patient) served(ctx context.Context, u *url.URL) []Finding {
	conn, err := p.Dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return []Finding{warning("If people reach it, nothing needs to be done: some networks do not let a machine reach its own public address.", "--public-url %s cannot be reached from here: %v", u, err)}
	}
	defer conn.Close()
	// Not verified here: what counts is its end, also of one that only browsers there trust.
	c := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		return []Finding{problem("Look at the proxy in front of callbackd: docs/proxy.md.", "TLS fails at --public-url %s: %v", u, err)}
	}
	cert := c.ConnectionState().PeerCertificates[0]
	found := p.end(cert, "the certificate at --public-url "+u.String(), "Renew it at the proxy in front of callbackd.")
	if err := cert.VerifyHostname(u.Hostname()); err != nil {
		found = append(found, problem("Give the proxy in front of callbackd a certificate for this name.", "the certificate at --public-url %s is for another name: %v", u, err))
	}
	return found
}
