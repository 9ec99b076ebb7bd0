package storetest

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

func (s *suite) login(name string, link bool, lasts time.Duration) store.Login {
	s.Helper()
	l := store.Login{Hash: sha256.Sum256([]byte(name)), Key: s.key.ID, Link: link, Proof: sha256.Sum256([]byte("proof of " + name)), CreatedAt: s.at.UTC(), ExpiresAt: s.at.Add(lasts).UTC()}
	s.must(s.CreateLogin(s.ctx(), l))
	return l
}

func (s *suite) logins() {
	l := s.login("browser", false, time.Hour)
	s.reopen()
	got, err := s.Login(s.ctx(), l.Hash, s.at)
	s.must(err)
	s.equal("the login after a restart", *got, l)
	_, err = s.Login(s.ctx(), l.Hash, l.ExpiresAt)
	s.kind(err, callbackd.KindNotFound)
	s.equal("whether it has expired a moment before its end and at its end", []bool{got.Expired(l.ExpiresAt.Add(-1)), got.Expired(l.ExpiresAt)}, []bool{false, true})

	taken, err := s.TakeLogin(s.ctx(), l.Hash)
	s.must(err)
	s.equal("the login that was taken", *taken, l)
	s.kind(second(s.TakeLogin(s.ctx(), l.Hash)), callbackd.KindNotFound)
	s.reopen()
	_, err = s.Login(s.ctx(), l.Hash, s.at)
	s.kind(err, callbackd.KindNotFound)

	void := s.login("void", false, -time.Second)
	s.login("next", false, time.Hour)
	_, err = s.Login(s.ctx(), void.Hash, s.at.Add(-time.Hour))
	s.kind(err, callbackd.KindNotFound) // it was removed, not only refused
}

// A link signs in one browser only, also when several use it at the same time.
func (s *suite) links() {
	l := s.login("link", true, time.Minute)
	_, err := s.Login(s.ctx(), l.Hash, s.at)
	s.kind(err, callbackd.KindNotFound)
	var wg sync.WaitGroup
	var in atomic.Int32
	for range 8 {
		wg.Go(func() {
			if got, err := s.TakeLogin(s.ctx(), l.Hash); err == nil {
				in.Add(1)
				if *got != l {
					s.Errorf("the link is %+v, was %+v", *got, l)
				}
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		s.Errorf("one link signed in %d browsers, want 1", in.Load())
	}
}

// loginsLimited shows that a sign-in beyond the limit ends the oldest one of its
// key.
func (s *suite) loginsLimited() {
	other := store.Login{Hash: [32]byte{1}, Key: s.newKey("other").ID, CreatedAt: s.at, ExpiresAt: s.at.Add(time.Hour)}
	s.must(s.CreateLogin(s.ctx(), other))
	var all []store.Login
	for i := range store.MaxLogins + 2 {
		s.at = s.at.Add(time.Millisecond)
		all = append(all, s.login(fmt.Sprint("browser ", i), false, time.Hour))
	}
	for _, l := range all[:2] {
		s.kind(second(s.Login(s.ctx(), l.Hash, s.at)), callbackd.KindNotFound)
	}
	for _, l := range append(all[2:], other) {
		s.must(second(s.Login(s.ctx(), l.Hash, s.at)))
	}
}

// customerLinks shows that a link for a customer is stored with what it allows, leads to a
// login with the same, is used up once, and counts apart from other logins.
func (s *suite) customerLinks() {
	link := callbackd.ConsoleLink{Role: callbackd.ConsoleDeveloper, ReturnTo: "https://app.example.com/x", Lasts: 90 * time.Minute}
	l := store.NewCustomerLink([32]byte{7}, s.key.ID, link, s.at)
	s.must(s.CreateLogin(s.ctx(), l))
	s.reopen()
	s.kind(second(s.Login(s.ctx(), l.Hash, s.at)), callbackd.KindNotFound)
	taken, err := s.TakeLogin(s.ctx(), l.Hash)
	s.must(err)
	s.equal("the link that was taken", *taken, l)
	s.kind(second(s.TakeLogin(s.ctx(), l.Hash)), callbackd.KindNotFound)
	holder := s.login("holder", false, time.Hour)
	for i := range store.MaxLogins + 1 {
		in := store.Login{Hash: [32]byte{1, byte(i)}, Key: s.key.ID, Customer: link, CreatedAt: s.at.Add(time.Duration(i) * time.Millisecond).UTC(), ExpiresAt: s.at.Add(time.Hour).UTC()}
		s.must(s.CreateLogin(s.ctx(), in))
		got, err := s.Login(s.ctx(), in.Hash, s.at)
		s.must(err)
		s.equal("the login by a link", *got, in)
	}
	s.must(second(s.Login(s.ctx(), holder.Hash, s.at)))
	page, err := s.ListAudit(s.ctx(), store.AuditQuery{Key: s.key.ID, Action: callbackd.AuditLinkCreated, Limit: 9})
	s.must(err)
	s.equal("the entry of the link", string(page.Entries[0].After), `{"lasts":"1h30m","return_to":"https://app.example.com/x","role":"developer"}`)
	page, err = s.ListAudit(s.ctx(), store.AuditQuery{Key: s.key.ID, Action: callbackd.AuditLinkUsed, Limit: 1})
	s.must(err)
	s.equal("entries of its use", len(page.Entries), 1)
}
