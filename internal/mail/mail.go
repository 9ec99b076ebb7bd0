// Package mail sends plain mails through an SMTP server.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/safetext"

	gomail "github.com/wneessen/go-mail"
)

// DefaultTimeout is how long one mail, or one check, may take.
const DefaultTimeout = time.Minute

// stageTimeout bounds each step of an exchange with the server.
const stageTimeout = 20 * time.Second

// Message is a mail to everybody in Sender.To.
type Message struct {
	ID      string // unique: the same mail sent twice has the same ID. Letters, digits, "." and "-"
	After   string // ID of the mail that this one belongs to; may be empty
	Subject string
	Text    string // plain text, with "\n" at the end of each line
}

// Sender sends mails.
type Sender struct {
	Server
	From string
	To   []string
	// Roots are the certificate authorities to trust; nil: the system's.
	Roots *x509.CertPool
	// Timeout is how long one mail may take; 0: DefaultTimeout.
	Timeout time.Duration
}

// Refused is an error of a server that refused a mail for good. Other mails may succeed.
type Refused struct{ err error }

// Error is part of error.
func (r *Refused) Error() string { return r.err.Error() }

// Unwrap returns what the server said.
func (r *Refused) Unwrap() error { return r.err }

// Partly is an error of a mail that was sent, but not to all addresses.
type Partly struct{ err error }

// Error is part of error.
func (p *Partly) Error() string { return p.err.Error() }

// Unwrap returns what the server said.
func (p *Partly) Unwrap() error { return p.err }

// Send sends a mail, one copy to each address, so that nobody loses it because of somebody
// else's address. It fails with *Partly when it sent a part of the copies, and with *Refused
// when the server refused all of them for good.
func (s *Sender) Send(ctx context.Context, m Message) error {
	var copies []*gomail.Msg
	for _, to := range s.To {
		c, err := s.compose(&m, to)
		if err != nil {
			return err
		}
		copies = append(copies, c)
	}
	return s.connected(ctx, func(c *gomail.Client) error { return s.sendAll(c, copies) })
}

// sendAll sends the copies of a mail on a connection.
func (s *Sender) sendAll(c *gomail.Client, copies []*gomail.Msg) error {
	var errs []error
	sent, refused := 0, 0
	for _, m := range copies {
		err := c.Send(m)
		var said *gomail.SendError
		switch {
		case err == nil, m.IsDelivered(): // it may fail to get ready for the next one
			sent++
			continue
		case errors.As(err, &said) && said.ErrorCode() >= permanent:
			refused++
		}
		errs = append(errs, s.redact(err))
	}
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return nil
	case sent > 0:
		return &Partly{err}
	case refused == len(copies):
		return &Refused{err}
	}
	return err
}

// permanent is the least code of an answer that will be the same the next time.
const permanent = 500

// Check connects and signs in as for a mail, and sends none.
func (s *Sender) Check(ctx context.Context) error {
	return s.connected(ctx, func(*gomail.Client) error { return nil })
}

// connected calls f with a connection that is ready for mails.
func (s *Sender) connected(ctx context.Context, f func(*gomail.Client) error) error {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the mail server did not finish within %s", callbackd.FormatDuration(timeout)))
	defer cancel()
	c, err := gomail.NewClient(s.Host, s.options(ctx)...)
	if err != nil {
		return s.redact(err)
	}
	if err := c.DialWithContext(ctx); err != nil {
		return s.because(ctx, err)
	}
	defer c.Close()
	if err := f(c); err != nil {
		return s.because(ctx, err)
	}
	return nil
}

// because returns an error with the reason why the exchange was broken off, if it was.
func (s *Sender) because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %w", cause, s.redact(err))
	}
	return s.redact(err)
}

func (s *Sender) options(ctx context.Context) []gomail.Option {
	config := &tls.Config{ServerName: s.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	policy := gomail.NoTLS
	if s.Security == StartTLS {
		policy = gomail.TLSMandatory
	}
	o := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTLSConfig(config), gomail.WithTLSPolicy(policy), gomail.WithTimeout(stageTimeout),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(dialing, network, address)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { conn.Close() }) // also ends an exchange that hangs
			if s.Security != TLS {
				return conn, nil
			}
			secure := tls.Client(conn, config)
			if err := secure.HandshakeContext(dialing); err != nil {
				conn.Close()
				return nil, err
			}
			return secure, nil
		}),
	}
	if s.User == "" {
		return o
	}
	// The library does not see the TLS of its dialer, and is told not to ask for it. Without
	// TLS a password goes to this machine only.
	how := gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc)
	return append(o, how, gomail.WithUsername(s.User), gomail.WithPassword(s.Password.Reveal()))
}

// maxSubject is how many characters of a subject are sent.
const maxSubject = 200

// compose returns a copy of a mail to one address.
func (s *Sender) compose(m *Message, to string) (*gomail.Msg, error) {
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := out.From(s.From); err != nil {
		return nil, fmt.Errorf("the sender %q is not a mail address: %w", s.From, err)
	}
	if err := out.To(to); err != nil {
		return nil, fmt.Errorf("%q is not a mail address: %w", to, err)
	}
	domain := s.From[strings.LastIndexByte(s.From, '@')+1:]
	domain = strings.TrimSuffix(domain, ">")
	out.SetMessageIDWithValue(m.ID + "@" + domain)
	if m.After != "" {
		out.SetGenHeader(gomail.HeaderInReplyTo, "<"+m.After+"@"+domain+">")
		out.SetGenHeader(gomail.HeaderReferences, "<"+m.After+"@"+domain+">")
	}
	out.SetDate()
	out.SetGenHeader("Auto-Submitted", "auto-generated") // so that no holiday notice answers
	out.Subject(safetext.Clip(safetext.Line(m.Subject), maxSubject))
	out.SetBodyString(gomail.TypeTextPlain, safetext.Replace(m.Text))
	return out, nil
}

// redacted is an error without the password.
type redacted struct {
	text string
	error
}

// Error is part of error.
func (r redacted) Error() string { return r.text }

// Unwrap returns the error as it came.
func (r redacted) Unwrap() error { return r.error }

// redact removes the password from an error, which may repeat what was sent.
func (s *Sender) redact(err error) error {
	text, password := err.Error(), s.Password.Reveal()
	if password == "" {
		return err
	}
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte("\x00" + s.User + "\x00" + password))} {
		text = strings.ReplaceAll(text, secret, callbackd.Mask)
	}
	return redacted{text, err}
}
