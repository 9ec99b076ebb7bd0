package mail_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/mail"
	"callbackd/internal/mail/mailtest"
)

// sender returns a sender for a URL in which %s is the address of a server.
func sender(t *testing.T, s *mailtest.Server, url string, to ...string) *mail.Sender {
	t.Helper()
	server, err := mail.ParseURL(fmt.Sprintf(url, s.Addr))
	if err != nil {
		t.Fatal(err)
	}
	return &mail.Sender{Server: server, From: "Callbackd <callbackd@example.com>", To: append([]string{"ops@example.com"}, to...), Roots: s.Roots}
}

var hello = mail.Message{ID: "inc_1.2", After: "inc_1.1", Subject: "[callbackd] hello", Text: "One line.\n\nAnother.\n"}

const secure = "smtps://ops:pass-w0rd%%40mail@%s"

func TestAMailIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		options mailtest.Options
		url     string
	}{
		"TLS":                     {mailtest.Options{TLS: true, SignIn: true}, secure},
		"STARTTLS":                {mailtest.Options{StartTLS: true, SignIn: true}, "smtp://ops:pass-w0rd%%40mail@%s?tls=required"},
		"no TLS on this machine":  {mailtest.Options{SignIn: true}, "smtp://ops:pass-w0rd%%40mail@%s"},
		"no TLS, nobody signs in": {mailtest.Options{}, "smtp://%s?tls=none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, c.options)
			if err := sender(t, s, c.url, "Second <second@example.com>").Send(t.Context(), hello); err != nil {
				t.Fatal(err)
			}
			mails := s.Mails()
			if len(mails) != 2 || mails[0].To != "ops@example.com" || mails[1].To != "second@example.com" {
				t.Fatalf("%d mails came: %+v", len(mails), mails)
			}
			m := mails[0]
			if m.From != "callbackd@example.com" || m.Subject != hello.Subject || strings.TrimRight(m.Text, "\n") != strings.TrimRight(hello.Text, "\n") {
				t.Errorf("the mail is %+v", m)
			}
			for name, want := range map[string]string{"Message-Id": "<inc_1.2@example.com>", "References": "<inc_1.1@example.com>", "Auto-Submitted": "auto-generated", "To": "<ops@example.com>"} {
				if got := m.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// What people chose cannot add a header, a part or an address.
func TestNamesAddNoHeaders(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true})
	m := hello
	m.Subject = "Zoë \r\nBcc: victim@example.com\r\n\r\nbody\x00\x1b[31m" + strings.Repeat("x", 500)
	m.Text = "a\r\n.\r\nMAIL FROM:<x@example.com>\n" + strings.Repeat("é", 5000) + "\n"
	if err := sender(t, s, "smtps://%s").Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	mails := s.Mails()
	if len(mails) != 1 || mails[0].Header.Get("Bcc") != "" || mails[0].To != "ops@example.com" {
		t.Fatalf("the mails are %+v", mails)
	}
	if got := mails[0].Subject; !strings.HasPrefix(got, "Zoë \ufffd Bcc: victim@example.com") || len([]rune(got)) != 201 {
		t.Errorf("the subject is %q", got)
	}
	if got := mails[0].Text; !strings.HasPrefix(got, "a\ufffd\n.\ufffd\nMAIL FROM:<x@example.com>\n") || !strings.Contains(got, strings.Repeat("é", 5000)) {
		t.Errorf("the text is %.100q", got)
	}
	for line := range strings.Lines(mails[0].Raw) {
		if len(line) > 998+2 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

func TestAMailThatIsNotSentSaysWhy(t *testing.T) {
	expired := mailtest.Certificate(t, time.Now().Add(-time.Hour), "127.0.0.1")
	elsewhere := mailtest.Certificate(t, time.Now().Add(time.Hour), "other.example")
	for name, c := range map[string]struct {
		options mailtest.Options
		url     string
		spoil   func(*mailtest.Server, *mail.Sender)
		says    string
		refused bool
	}{
		"a certificate that nobody trusts": {mailtest.Options{TLS: true}, secure, func(_ *mailtest.Server, s *mail.Sender) {
			s.Roots = mailtest.Start(t, mailtest.Options{}).Roots
		}, "certificate signed by unknown authority", false},
		"a certificate that has ended":    {mailtest.Options{TLS: true, Cert: &expired}, secure, nil, "expired", false},
		"a certificate for another host":  {mailtest.Options{TLS: true, Cert: &elsewhere}, secure, nil, "127.0.0.1", false},
		"STARTTLS with such a one":        {mailtest.Options{StartTLS: true, Cert: &elsewhere}, "smtp://%s?tls=required", nil, "127.0.0.1", false},
		"a server without STARTTLS":       {mailtest.Options{}, "smtp://%s?tls=required", nil, "STARTTLS", false},
		"TLS where there is none":         {mailtest.Options{}, "smtps://%s", nil, "TLS", false},
		"a wrong password":                {mailtest.Options{TLS: true, SignIn: true}, "smtps://ops:wr0ng-secret@%s", nil, "535", false},
		"no password where one is needed": {mailtest.Options{TLS: true, SignIn: true}, "smtps://%s", nil, "authenticate first", true},
		"an answer 4xx": {mailtest.Options{TLS: true}, "smtps://%s", func(m *mailtest.Server, _ *mail.Sender) {
			m.Answer(func(string) error { return mailtest.Code(451, "come back later") })
		}, "come back later", false},
		"an answer 5xx": {mailtest.Options{TLS: true}, "smtps://%s", func(m *mailtest.Server, _ *mail.Sender) {
			m.Answer(func(string) error { return mailtest.Code(550, "no such user") })
		}, "no such user", true},
		"a server that hangs": {mailtest.Options{TLS: true}, "smtps://%s", func(m *mailtest.Server, s *mail.Sender) {
			m.Hang()
			s.Timeout = 200 * time.Millisecond
		}, "the mail server did not finish within", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := mailtest.Start(t, c.options)
			s := sender(t, server, c.url)
			if c.spoil != nil {
				c.spoil(server, s)
			}
			err := s.Send(t.Context(), hello)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the error is %v, want one with %q", err, c.says)
			}
			var refused *mail.Refused
			if errors.As(err, &refused) != c.refused {
				t.Errorf("refused for good: %v, want %v: %v", !c.refused, c.refused, err)
			}
			if text := err.Error(); strings.Contains(text, "wr0ng-secret") {
				t.Errorf("the error shows the password: %s", text)
			}
			if n := len(server.Mails()); n != 0 {
				t.Errorf("%d mails were sent, want none", n)
			}
		})
	}
}

// A server that takes connections and says nothing does not hold the sender.
func TestAServerThatSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, url := range []string{"smtp://", "smtps://"} {
		server, err := mail.ParseURL(url + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s := &mail.Sender{Server: server, From: "a@example.com", To: []string{"b@example.com"}, Timeout: 100 * time.Millisecond}
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "did not finish within") {
			t.Errorf("%s: the error is %v", url, err)
		}
	}
}

// One wrong address does not take the mail from the others.
func TestAnAddressThatIsRefusedIsNotTheOthers(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true})
	s.Answer(func(to string) error {
		if strings.HasPrefix(to, "gone") {
			return mailtest.Code(550, "no such user")
		}
		return nil
	})
	err := sender(t, s, "smtps://%s", "gone@example.com", "third@example.com").Send(t.Context(), hello)
	var partly *mail.Partly
	if !errors.As(err, &partly) || !strings.Contains(err.Error(), "gone@example.com") {
		t.Errorf("the error is %v", err)
	}
	if n := len(s.Mails()); n != 2 {
		t.Errorf("%d copies were sent, want 2", n)
	}
}

func TestCheckSendsNothing(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	if err := sender(t, s, secure).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := sender(t, s, "smtps://ops:wrong@%s").Check(t.Context()); err == nil {
		t.Error("a wrong password is taken")
	}
	if n := s.Tries(); n != 0 {
		t.Errorf("%d mails were begun", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sender(t, s, secure).Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after a stop the error is %v", err)
	}
}

func TestURLsOfMailServers(t *testing.T) {
	for text, want := range map[string]mail.Server{
		"smtps://mail.example":                       {Host: "mail.example", Port: 465, Security: mail.TLS},
		"smtps://u:p%40%3A@mail.example:1465/":       {Host: "mail.example", Port: 1465, User: "u", Password: "p@:", Security: mail.TLS},
		"smtp://u@mail.example":                      {Host: "mail.example", Port: 587, User: "u"},
		"smtp://mail.example:25?tls=none":            {Host: "mail.example", Port: 25, Security: mail.Plain},
		"smtp://u:p@127.0.0.1:1025":                  {Host: "127.0.0.1", Port: 1025, User: "u", Password: "p", Security: mail.Plain},
		"smtp://[::1]:1025":                          {Host: "::1", Port: 1025, Security: mail.Plain},
		"smtp://localhost:25?tls=required":           {Host: "localhost", Port: 25},
		"smtp://mail.example?tls=required":           {Host: "mail.example", Port: 587},
		"smtp://localhost.evil.example:587":          {Host: "localhost.evil.example", Port: 587},
		"smtps://u%0d%0aQUIT:p%0d%0a@mail.example:1": {Host: "mail.example", Port: 1, User: "u\r\nQUIT", Password: "p\r\n", Security: mail.TLS},
	} {
		if got, err := mail.ParseURL(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                                      "not the URL",
		"mail.example:587":                      "not the URL",
		"smtps://":                              "not the URL",
		"smtps://u:hidden@x/path":               "not the URL",
		"smtps://u:hidden@x#f":                  "not the URL",
		"smtps://u:hid%zzden@mail.example":      "not the URL",
		"https://u:hidden@mail.example":         "neither smtps",
		"smtps://mail.example:0":                "port 0",
		"smtps://mail.example:70000":            "port 70000",
		"smtps://mail.example?tls=none":         "always uses TLS",
		"smtp://mail.example?tls=maybe":         "required or none",
		"smtp://mail.example?starttls=1":        "starttls",
		"smtp://u:hidden@mail.example?tls=none": "everybody on the way",
		"smtps://:hidden@mail.example":          "no user",
	} {
		_, err := mail.ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: the error is %v, want one with %q", text, err, says)
		}
	}
	s, _ := mail.ParseURL("smtps://u:hidden@mail.example")
	if shown := fmt.Sprintf("%v %+v %#v", s, s, &s); strings.Contains(shown, "hidden") || !strings.Contains(shown, callbackd.Mask) {
		t.Errorf("printing a server shows %s", shown)
	}
}

func TestMailAddresses(t *testing.T) {
	for _, good := range []string{"a@example.com", "Ops <ops@example.com>", "Zoë <zoe@example.com>", "root@localhost"} {
		if err := mail.CheckAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ops", "a@b", "a@example.com\r\nBcc: x@example.com", "a@example.com, b@example.com", "<a@example.com"} {
		if mail.CheckAddress(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
