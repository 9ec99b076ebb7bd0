package sender

import (
	"net/http"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"
)

// credential is one way in which the requests of a callback sign in.
type credential struct {
	of       *callbackd.Callback // for the redactor
	header   callbackd.Secret    // Authorization, when it does not change; empty for none
	tokens   *tokenSource        // makes Authorization; nil without OAuth 2.0
	identity *egress.Identity    // nil: TLS as usual
	ends     time.Time           // of an old one; zero for the present one
	redactor atomic.Pointer[tokenRedactor]
}

// tokenRedactor masks the secrets of a callback and one access token.
type tokenRedactor struct {
	of *token
	*redactor
}

// credentials returns those of a callback, the present ones first. There are none when it
// does not sign in.
func (s *Sender) credentials(cb *callbackd.Callback) ([]*credential, error) {
	if cb.Policy.Auth == nil {
		return nil, nil
	}
	present, err := s.credential(cb, cb.Policy.Auth)
	if err != nil || cb.OldAuth.Auth == nil {
		return []*credential{present}, err
	}
	old, err := s.credential(cb, cb.OldAuth.Auth)
	if err != nil {
		return nil, err
	}
	old.ends = cb.OldAuth.EndsAt
	return []*credential{present, old}, nil
}

func (s *Sender) credential(cb *callbackd.Callback, a *callbackd.Auth) (*credential, error) {
	c := &credential{of: cb}
	switch {
	case a.OAuth2 != nil:
		c.tokens = s.tokens.of(*a.OAuth2, s)
	case a.Basic != nil:
		c.header = a.Basic.Header()
	case a.Bearer != nil:
		c.header = a.Bearer.Header()
	}
	var err error
	if t := a.TLS; t != nil {
		c.identity, err = egress.NewIdentity(t.Cert, t.Key.Reveal(), t.CA, t.ServerName)
	}
	return c, err
}

// redactorFor returns the redactor for what comes back after a request with the token.
func (c *credential) redactorFor(t *token) *redactor {
	r := c.redactor.Load()
	if r == nil || r.of != t {
		r = &tokenRedactor{t, newRedactor(c.of, t.header())}
		c.redactor.Store(r)
	}
	return r.redactor
}

// signedIn sends a request with the present credentials. When those are refused, it sends
// it once more with the old ones while they are in force.
func (a *attempt) signedIn(credentials []*credential, req *egress.Request) {
	if !a.sendAs(credentials[0], req) || len(credentials) == 1 || !a.start.Before(credentials[1].ends) {
		return
	}
	first, old := *a.res, credentials[1]
	a.again()
	if a.sendAs(old, req) || a.res.Fault == callbackd.FaultAuth {
		*a.res = first
		return
	}
	if a.res.Success() {
		a.res.Error = "the new credentials of policy.auth were refused; the old ones, which end at " + humanize.Time(old.ends) + ", were used"
	}
}

// again forgets the result so far: the exchange is repeated within the attempt.
func (a *attempt) again() { *a.res = callbackd.Result{StartedAt: a.res.StartedAt} }

// sendAs sends a request with a credential, and reports whether the credential was refused.
// When the receiver refuses an access token that was not fetched just now, the request is
// sent once more with a new one.
func (a *attempt) sendAs(c *credential, req *egress.Request) (refused bool) {
	with := *req
	with.Identity = c.identity
	if c.tokens == nil {
		if c.header != "" {
			with.Fields = authorized(req, c.header)
		}
		a.exchange(&with)
		return a.refused()
	}
	t, fresh, err := c.tokens.get(a.ctx, a.deadline, nil)
	for err == nil {
		a.redact, with.Fields = c.redactorFor(t), authorized(req, t.header())
		a.exchange(&with)
		if a.res.Status != http.StatusUnauthorized || fresh {
			return a.refused()
		}
		a.again()
		t, _, err = c.tokens.get(a.ctx, a.deadline, t)
		fresh = true
	}
	a.res.Fault, a.res.Error = err.fault, callbackd.Clip(err.text, maxErrorKept)
	return err.refused
}

// refused reports whether the receiver refused the credentials of the last exchange: with
// 401, or in TLS because of the client certificate.
func (a *attempt) refused() bool { return a.res.Status == http.StatusUnauthorized || a.noCert }

// authorized returns the fields of a request with the header Authorization.
func authorized(req *egress.Request, value callbackd.Secret) []egress.Field {
	fields := req.Fields[:len(req.Fields):len(req.Fields)]
	return append(fields, egress.Field{Name: "Authorization", Value: value.Reveal()})
}
