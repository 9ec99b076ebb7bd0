// Package mailtest has a real SMTP server for tests, which can refuse, fail and hang.
package mailtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// User and Password are those that a server takes.
const (
	User     = "ops"
	Password = "pass-w0rd@mail"
)

// Mail is a mail that a server took.
type Mail struct {
	From, To string // of the envelope
	Header   mail.Header
	Subject  string // decoded
	Text     string // decoded, with "\n"
	Raw      string
}

// Server is an SMTP server on a loopback address.
type Server struct {
	Addr  string
	Roots *x509.CertPool // that trust its certificate

	mu     sync.Mutex
	mails  []Mail
	tries  int
	answer func(to string) error
	hang   chan struct{}
}

// Options say how a server protects its connections. With neither, it has no TLS.
type Options struct {
	TLS      bool // from the first byte
	StartTLS bool
	SignIn   bool   // nothing is taken without User and Password
	Addr     string // empty: any port
	// Cert is a certificate in the place of one for 127.0.0.1.
	Cert *tls.Certificate
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), Roots: x509.NewCertPool(), hang: make(chan struct{})}
	cert := o.Cert
	if cert == nil {
		own := Certificate(t, time.Now().Add(time.Hour), "127.0.0.1")
		cert = &own
	}
	s.Roots.AddCert(cert.Leaf)
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: s, signIn: o.SignIn}, nil }))
	srv.Domain, srv.AllowInsecureAuth, srv.ErrorLog = "mail.example", true, log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{*cert}}
	switch {
	case o.TLS:
		l = tls.NewListener(l, config)
	case o.StartTLS:
		srv.TLSConfig = config
	}
	var work sync.WaitGroup
	work.Go(func() { srv.Serve(l) })
	t.Cleanup(func() {
		close(s.hang)
		srv.Close()
		work.Wait()
	})
	return s
}

// Certificate returns a certificate that signs itself, for a host or an address.
func Certificate(t testing.TB, ends time.Time, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: ends.AddDate(-1, 0, 0), NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// Answer has the server answer to each address as f says; nil: it takes all.
func (s *Server) Answer(f func(to string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Code returns an answer with a code.
func Code(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: text}
}

// Hang has the server answer no more until the test ends.
func (s *Server) Hang() {
	s.Answer(func(string) error {
		<-s.hang
		return Code(421, "the test ends")
	})
}

// Mails returns what the server took.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Tries returns how many mails were begun.
func (s *Server) Tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// session is a connection of a client.
type session struct {
	server   *Server
	signIn   bool
	from, to string
}

// AuthMechanisms names the ways to sign in.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth checks user and password.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return Code(535, "wrong password "+password)
		}
		s.signIn = false
		return nil
	}), nil
}

// Reset is part of smtp.Session.
func (s *session) Reset() {}

// Logout is part of smtp.Session.
func (s *session) Logout() error { return nil }

// Mail is part of smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.server.mu.Lock()
	s.server.tries++
	s.server.mu.Unlock()
	if s.signIn {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

// Rcpt is part of smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	s.server.mu.Lock()
	answer := s.server.answer
	s.server.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(to)
}

// Data is part of smtp.Session.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Code(554, "this is not a mail: "+err.Error())
	}
	body := m.Body
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return Code(554, err.Error())
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return Code(554, err.Error())
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.mails = append(s.server.mails, Mail{s.from, s.to, m.Header, subject, strings.ReplaceAll(string(text), "\r\n", "\n"), string(raw)})
	return nil
}
