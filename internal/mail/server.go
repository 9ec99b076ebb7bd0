package mail

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/safetext"
)

// Security says how a connection to a server is protected.
type Security uint8

// The kinds.
const (
	StartTLS Security = iota // STARTTLS, without which nothing is sent
	TLS                      // TLS from the first byte
	Plain                    // none
)

// Server is an SMTP server.
type Server struct {
	Host     string
	Port     int
	User     string // empty: nobody signs in
	Password callbackd.Secret
	Security Security
}

// The ports of submission (RFC 8314).
const (
	portTLS      = 465
	portStartTLS = 587
)

// ParseURL reads the URL of a server: "smtps://user:password@host:465" for TLS, or
// "smtp://user:password@host:587" for STARTTLS, without which nothing is sent unless the host
// is a loopback address, or the URL ends with "?tls=none". No error repeats the password.
func ParseURL(text string) (Server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return Server{}, errors.New("it is not the URL of a mail server; write for example smtps://user:password@mail.example:465, with %40 for an @ in the password")
	}
	s := Server{Host: u.Hostname(), User: u.User.Username()}
	password, _ := u.User.Password()
	s.Password = callbackd.Secret(password)
	switch u.Scheme {
	case "smtps":
		s.Port, s.Security = portTLS, TLS
	case "smtp":
		s.Port = portStartTLS
	default:
		return Server{}, fmt.Errorf("its scheme %q is neither smtps (TLS) nor smtp (STARTTLS)", u.Scheme)
	}
	if port := u.Port(); port != "" {
		if s.Port, err = strconv.Atoi(port); err != nil || s.Port < 1 || s.Port > 65535 {
			return Server{}, fmt.Errorf("its port %s is invalid; give one from 1 to 65535", port)
		}
	}
	if err := s.readSecurity(u.Query()); err != nil {
		return Server{}, err
	}
	if err := s.checkPassword(); err != nil {
		return Server{}, err
	}
	return s, nil
}

// checkPassword returns an error when the password has no user, or when others could read it.
func (s *Server) checkPassword() error {
	switch {
	case s.Password == "":
		return nil
	case s.User == "":
		return errors.New("it has a password and no user")
	case s.Security == Plain && !s.loopback():
		return errors.New("it has a password and tls=none, so that everybody on the way could read the password; leave one of them out")
	}
	return nil
}

// readSecurity reads "tls", the only parameter of a URL.
func (s *Server) readSecurity(query url.Values) error {
	for name := range query {
		if name != "tls" {
			return fmt.Errorf("it has the unknown parameter %q; the only one is tls", name)
		}
	}
	switch tls := query.Get("tls"); {
	case s.Security == TLS && query.Has("tls"):
		return errors.New("smtps always uses TLS; leave the parameter tls out")
	case tls == "none", !query.Has("tls") && s.Security != TLS && s.loopback():
		s.Security = Plain
	case query.Has("tls") && tls != "required":
		return fmt.Errorf("its parameter tls is %q; write required or none", tls)
	}
	return nil
}

// loopback reports whether the server is on this machine.
func (s *Server) loopback() bool {
	ip, err := netip.ParseAddr(s.Host)
	return s.Host == "localhost" || err == nil && ip.IsLoopback()
}

// Address returns host and port.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// CheckAddress checks a mail address, which may have a name: "Ops <ops@example.com>".
func CheckAddress(text string) error {
	if !safetext.IsVisible(text) {
		return errors.New("it has characters that cannot be seen")
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return errors.New("it is not a mail address; write for example ops@example.com")
	}
	if !strings.Contains(a.Address[strings.LastIndexByte(a.Address, '@')+1:], ".") && !strings.HasSuffix(a.Address, "@localhost") {
		return errors.New("its domain has no dot; write for example ops@example.com")
	}
	return nil
}
