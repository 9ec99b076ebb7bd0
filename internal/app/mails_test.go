package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/mail"
	"callbackd/internal/mail/mailtest"
	"callbackd/internal/store"
)

// mailed returns the settings of a server that sends its mails to s.
func mailed(t *testing.T, dir string, s *mailtest.Server) Config {
	t.Helper()
	server, err := mail.ParseURL("smtps://ops:pass-w0rd%40mail@" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := config(dir)
	c.Mail = &mail.Sender{Server: server, From: "callbackd@example.com", To: []string{"ops@example.com"}, Roots: s.Roots}
	return c
}

// mails steps the watcher and the mails until the server has taken n mails.
func (w *watched) mails(s *mailtest.Server, n int) []mailtest.Mail {
	w.t.Helper()
	w.until(fmt.Sprintf("mail %d", n), func() bool {
		w.mail()
		return len(s.Mails()) >= n
	})
	if got := s.Mails(); len(got) != n {
		w.t.Fatalf("%d mails came, want %d: %+v", len(got), n, got)
	}
	return s.Mails()
}

func (w *watched) mail() {
	w.t.Helper()
	if err := w.watcher.Mail(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// lose opens an incident about each of the nodes.
func (w *watched) lose(nodes ...string) {
	for _, n := range nodes {
		w.watcher.NodeLost(n, callbackd.NodesOfName{Newest: 1, N: 1})
	}
	w.watcher.Flush(w.t.Context())
}

// The operator gets one mail when a callback of any key begins to fail, and one when it has
// recovered. Names that people chose stay on their line.
func TestTheOperatorIsToldByMail(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	w := startWatched(t, mailed(t, t.TempDir(), s))
	defer receiver.Close()
	key, _ := w.client("acme")
	if err := w.store.ChangeKey(t.Context(), "acme", func(k *callbackd.Key) error {
		k.Name = "Zoë\r\nBcc: victim@example.com\n\nAccount: other"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	register(t, key, receiver.URL, nil, []string{"0s", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "15s"}, callbackd.Complete)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	first := w.mails(s, 1)[0]
	if want := "[callbackd] CALLBACK:FAILING, acme Zoë\ufffd Bcc: victim@example.com Account: other"; first.Subject != want {
		t.Errorf("the subject is %q, want %q", first.Subject, want)
	}
	for _, want := range []string{"The callback default for SESSION:COMPLETE to http://127.0.0.1:", "\nAccount:   acme\nAPI key:   Zoë\ufffd Bcc: victim@example.com Account: other\nIncident:  inc_"} {
		if !strings.Contains(first.Text, want) {
			t.Errorf("%q is not in the mail:\n%s", want, first.Text)
		}
	}
	failing.Store(false)
	if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: "T"}); err != nil {
		t.Fatal(err)
	}
	last := w.mails(s, 2)[1]
	if !strings.HasPrefix(last.Subject, "[callbackd] CALLBACK:RECOVERED, acme") || !strings.Contains(last.Text, "\nEnded: ") {
		t.Errorf("the last mail is %q:\n%s", last.Subject, last.Text)
	}
	if got, want := last.Header.Get("In-Reply-To"), first.Header.Get("Message-Id"); got != want {
		t.Errorf("the end answers %q, want %q", got, want)
	}
}

// A mail that cannot be sent is tried again, also after a restart, and comes once. The status
// and the metrics say that it fails.
func TestAMailOutlastsItsServerAndARestart(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	s.Answer(func(string) error { return mailtest.Code(451, "come back later") })
	c := mailed(t, t.TempDir(), s)
	w := startWatched(t, c)
	w.lose("b")
	w.until("a try", func() bool { w.mail(); return s.Tries() > 0 })
	if n := s.Tries(); n != 1 {
		t.Errorf("%d tries were made at once", n)
	}
	w.lose("c") // waits too: the server does not work
	w.mail()
	if n := s.Tries(); n != 1 {
		t.Errorf("%d tries were made at once, the second about another incident", n)
	}
	f, err := w.store.Figures(t.Context())
	if want := (callbackd.IncidentCounts{Open: 2, Mails: 2, MailsFailing: 1}); err != nil || f.Incidents != want {
		t.Errorf("the figures are %+v, %v, want %+v", f.Incidents, err, want)
	}
	w.until("a third try", func() bool { w.mail(); return s.Tries() > 2 })
	if err := w.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Answer(nil)
	ahead := w.ahead.Load()
	w = startWatched(t, c)
	w.ahead.Store(ahead)
	subjects := ""
	for _, m := range w.mails(s, 2) {
		subjects += m.Text
	}
	for _, want := range []string{"the node b expired", "the node c expired"} {
		if strings.Count(subjects, want) != 1 {
			t.Errorf("%q is not in the mails once: %s", want, subjects)
		}
	}
	for _, i := range w.incidents(store.AllKeys) {
		if i.Told[callbackd.ToMail] != i.Stage || i.Mail != (callbackd.Mailing{}) {
			t.Errorf("the incident is %+v", i)
		}
	}
}

// When more begins than the limit of mails, what was held back comes in one mail.
func TestMailsAreLimited(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	w := startWatched(t, mailed(t, t.TempDir(), s))
	var nodes []string
	for n := range 25 {
		nodes = append(nodes, fmt.Sprintf("node-%02d", n))
	}
	w.lose(nodes...)
	w.mail()
	if n := len(s.Mails()); n != 10 {
		t.Errorf("%d mails were sent at once, want 10", n)
	}
	last := w.mails(s, 11)[10]
	if last.Subject != "[callbackd] 15 incidents" || strings.Count(last.Text, "\n- NODE:LOST: The lease of the node node-") != 15 {
		t.Errorf("the summary is %q:\n%s", last.Subject, last.Text)
	}
}

// Neither what is muted nor what another node sends is sent.
func TestMutedAndClaimedMailsAreNotSent(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	w := startWatched(t, mailed(t, t.TempDir(), s))
	w.lose("muted", "claimed", "free")
	for _, i := range w.incidents(store.AllKeys) {
		if _, err := w.store.ChangeIncident(t.Context(), store.AllKeys, i.ID, func(i *callbackd.Incident) error {
			switch i.Name {
			case "muted":
				i.Mute(w.watcher.Now().Add(24*time.Hour), w.watcher.Now())
			case "claimed":
				i.Mail.Claim(w.watcher.Now())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.mail()
	if got := s.Mails(); len(got) != 1 || !strings.Contains(got[0].Text, "free") {
		t.Errorf("the mails are %+v", got)
	}
	if got := w.mails(s, 2)[1]; !strings.Contains(got.Text, "claimed") {
		t.Errorf("after the claim ended came %+v", got)
	}
}

// A mail that the server refuses for good does not keep the others waiting.
func TestARefusedMailDoesNotHoldTheOthers(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	var tries atomic.Int64
	s.Answer(func(string) error {
		if tries.Add(1) == 1 {
			return mailtest.Code(554, "this looks like spam")
		}
		return nil
	})
	w := startWatched(t, mailed(t, t.TempDir(), s))
	w.lose("a", "b")
	w.mail()
	if n := len(s.Mails()); n != 1 {
		t.Errorf("%d mails were sent, want 1", n)
	}
	w.mails(s, 2)
}

// A mail server that hangs holds neither the search for incidents nor a stop.
func TestAMailServerThatHangsHoldsNothing(t *testing.T) {
	s := mailtest.Start(t, mailtest.Options{TLS: true, SignIn: true})
	s.Hang()
	w := startWatched(t, mailed(t, t.TempDir(), s))
	w.lose("a")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.watcher.Mail(ctx) }()
	w.until("the mail to hang", func() bool { return s.Tries() > 0 })
	w.lose("b")
	if n := len(w.incidents(store.AllKeys)); n != 2 {
		t.Errorf("there are %d incidents, want 2", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
