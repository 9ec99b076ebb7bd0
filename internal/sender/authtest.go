package sender

import (
	"context"
	"net/http"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// TestAuth tries the present credentials of a callback: it fetches a new access token, and
// makes the TLS handshake with the receiver. It sends the receiver no request.
func (s *Sender) TestAuth(ctx context.Context, cb *callbackd.Callback) (out callbackd.AuthTest) {
	set := s.settings.of(cb, s)
	if set.err != nil || set.credentials == nil {
		return out
	}
	c := set.credentials[0]
	if c.tokens != nil {
		out.Token = testToken(ctx, c.tokens)
	}
	if set.target.Scheme == "https" {
		out.TLS = s.testTLS(ctx, cb, set, c)
	}
	return out
}

func testToken(ctx context.Context, tokens *tokenSource) *callbackd.TokenTest {
	t, err := tokens.anew(ctx)
	if err != nil {
		return &callbackd.TokenTest{Status: err.status, Error: callbackd.Clip(strings.TrimPrefix(err.text, noTokenText), maxErrorKept)}
	}
	return &callbackd.TokenTest{Status: http.StatusOK, Type: "Bearer", Life: t.life, Scope: t.scope}
}

func (s *Sender) testTLS(ctx context.Context, cb *callbackd.Callback, set *setting, c *credential) *callbackd.TLSTest {
	var res callbackd.Result
	begin := time.Now()
	a := attempt{Sender: s, ctx: ctx, start: begin, deadline: begin.Add(cb.Policy.WithDefaults().Timeout), redact: set.redact, res: &res}
	limited, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	if err := s.transport.Handshake(limited, &egress.Request{URL: set.target, Identity: c.identity}, &a.trace); err != nil {
		a.fail(err)
	}
	return &callbackd.TLSTest{Error: res.Error, CertEnds: a.trace.CertEnds}
}
