package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

var tokenTests = map[string]func(*suite){
	"OperatorTokens":            (*suite).tokens,
	"NamesOfTokensAreUnique":    (*suite).tokenNames,
	"TokensWithOneNameAtOnce":   (*suite).tokenRace,
	"OperatorTokensAreLimited":  (*suite).tokensLimited,
	"OperatorTokensAreUsed":     (*suite).tokensUsed,
	"OperatorTokensThatAreNone": (*suite).noTokens,
}

// newToken stores a token that lasts an hour. n makes its ID.
func (s *suite) newToken(n int, name string) (callbackd.OperatorToken, error) {
	id := fmt.Sprintf("%012d", n)
	t := callbackd.OperatorToken{ID: id, Hash: callbackd.HashOfToken(callbackd.OperatorTokenText(id, "secret")), Name: name,
		Role: callbackd.RoleRead, CreatedAt: s.at.UTC(), ExpiresAt: s.at.Add(time.Hour).UTC()}
	return t, s.CreateToken(s.ctx(), t)
}

func (s *suite) tokens() {
	first, err := s.newToken(2, "first")
	s.must(err)
	s.at = s.at.Add(time.Second)
	next, err := s.newToken(1, "second")
	s.must(err)
	s.reopen()
	all, err := s.ListTokens(s.ctx())
	s.must(err)
	s.equal("the tokens after a restart, oldest first", all, []callbackd.OperatorToken{first, next})

	at := s.at.UTC()
	revoked, err := s.RevokeToken(s.ctx(), next.ID, at)
	s.must(err)
	next.RevokedAt = at
	s.equal("the token that was revoked", *revoked, next)
	again, err := s.RevokeToken(s.ctx(), next.ID, at.Add(time.Minute))
	s.must(err)
	s.equal("the token that was revoked before", *again, next)
	got, err := s.Token(s.ctx(), next.ID)
	s.must(err)
	s.equal("the stored token", *got, next)
}

func (s *suite) tokenNames() {
	first, err := s.newToken(1, "ci")
	s.must(err)
	s.must(s.CreateToken(s.ctx(), first)) // a repeat, after a commit that was not answered
	s.kind(second(s.newToken(2, "ci")), callbackd.KindConflict)
	s.must(second(s.RevokeToken(s.ctx(), first.ID, s.at)))
	_, err = s.newToken(3, "ci")
	s.must(err)
	s.at = s.at.Add(time.Hour) // it has expired by then
	_, err = s.newToken(4, "ci")
	s.must(err)
}

func (s *suite) tokenRace() {
	var wg sync.WaitGroup
	var made atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			_, err := s.newToken(i, "one")
			switch {
			case err == nil:
				made.Add(1)
			case callbackd.KindOf(err) != callbackd.KindConflict:
				s.Error(err)
			}
		})
	}
	wg.Wait()
	s.equal("the tokens with one name", made.Load(), int32(1))
}

func (s *suite) tokensLimited() {
	create := func(from int) (err error) {
		for i := range callbackd.MaxOperatorTokens {
			s.at = s.at.Add(time.Millisecond)
			_, failed := s.newToken(from+i, fmt.Sprint("token ", from+i))
			err = errors.Join(err, failed)
		}
		return err
	}
	s.must(create(0))
	s.kind(second(s.newToken(999, "one more")), callbackd.KindLimited)
	s.at = s.at.Add(time.Hour)
	s.must(create(1000))
	s.at = s.at.Add(time.Hour)
	s.must(second(s.newToken(2000, "the last")))
	all, err := s.ListTokens(s.ctx())
	s.must(err)
	s.equal("how many tokens are stored", len(all), callbackd.MaxOperatorTokens+1)
	s.equal("the oldest one", all[0].ID, fmt.Sprintf("%012d", 1000))
}

func (s *suite) tokensUsed() {
	t, err := s.newToken(1, "t")
	s.must(err)
	later := s.at.Add(time.Minute).UTC()
	s.must(s.UseTokens(s.ctx(), map[string]time.Time{t.ID: later, "none": later}))
	s.must(s.UseTokens(s.ctx(), map[string]time.Time{t.ID: s.at}))
	s.must(s.UseTokens(s.ctx(), nil))
	s.reopen()
	got, err := s.Token(s.ctx(), t.ID)
	s.must(err)
	t.LastUsedAt = later
	s.equal("the token that was used", *got, t)
}

func (s *suite) noTokens() {
	for _, id := range []string{"", "none", "\x00", "\xff"} {
		s.kind(second(s.Token(s.ctx(), id)), callbackd.KindNotFound)
		s.kind(second(s.RevokeToken(s.ctx(), id, s.at)), callbackd.KindNotFound)
	}
}
