package console

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/front"
	"callbackd/internal/request"
)

// authPage is the page on which the sign-in of a callback is tried and rotated.
type authPage struct {
	base
	CB          *callbackd.Callback
	SignIn      []string
	OldAuthEnds time.Time
	Test        *callbackd.AuthTest // nil when nothing was tried
	F           typed
	Errors      formErrors
}

// keepChoice is one choice of how long an old secret stays valid.
type keepChoice struct{ Value, Label string }

var keepChoices = []keepChoice{{"24h", "24 hours"}, {"7d", "7 days"}, {"1h", "1 hour"}, {"0s", "0 seconds: it ends at once"}}

func (c *Console) newAuthPage(req *userRequest, cb *callbackd.Callback) *authPage {
	p := &authPage{base: c.base(req, "callbacks", "Sign-in"), CB: cb, SignIn: signInTexts(cb), F: typed{}, Errors: formErrors{}}
	if cb.OldAuth.InForce(c.now()) {
		p.OldAuthEnds = cb.OldAuth.EndsAt
	}
	p.F.fillAuth(cb.Policy.Auth)
	return p
}

func (c *Console) authPage(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "callback-auth", c.newAuthPage(req, cb))
}

// testAuth tries the sign-in and shows what came back. It counts as a test-send, as in the
// API.
func (c *Console) testAuth(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	if cb.Policy.Auth == nil {
		return callbackd.Errorf(callbackd.KindConflict, "The callback does not sign in, so there is nothing to try.")
	}
	if err := c.Tests.AllowTest(cb.Key, c.now()); err != nil {
		return err
	}
	p := c.newAuthPage(req, cb)
	test := c.TestAuth(req.Context(), cb)
	p.Test = &test
	return c.render(w, http.StatusOK, "callback-auth", p)
}

// rotateAuth gives the callback other credentials and keeps the old ones for a while.
func (c *Console) rotateAuth(w http.ResponseWriter, req *userRequest) error {
	cb, key, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := c.newAuthPage(req, cb)
	if p.F, err = readForm(req.Request, append([]string{"keep"}, callbacks.AuthFormFields...)...); err != nil {
		return err
	}
	var keep time.Duration
	p.F.read(p.Errors, request.Duration("keep", &keep, 0, callbacks.MaxKeep).Required())
	auth, problems := callbacks.ReadAuthForm(request.Values(p.F.values()))
	p.Errors.addAll(problems)
	if len(p.Errors) > 0 {
		return c.render(w, http.StatusBadRequest, "callback-auth", p)
	}
	if err := c.allowChange(req, cb.Key); err != nil {
		return err
	}
	now := c.now()
	stored, err := c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		if err := callbacks.RotateAuth(stored, auth, now.Add(keep), now); err != nil {
			return err
		}
		return callbacks.Admit(key, stored, c.RequireHTTPS)
	})
	if err != nil {
		if internal := p.Errors.add("", err); internal != nil {
			return internal
		}
		return c.render(w, front.Status(err), "callback-auth", p)
	}
	c.Dispatcher.CallbackChanged(stored.ID)
	return redirect(w, req, link("callbacks", stored.ID, "auth"), "auth-rotated")
}
