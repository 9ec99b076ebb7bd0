package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/request"
)

// tokenRow is an operator token in the list.
type tokenRow struct {
	callbackd.OperatorToken
	now time.Time
}

// State is the token's state in a word.
func (t tokenRow) State() string { return t.OperatorToken.State(t.now) }

type tokensPage struct {
	base
	Rows   []tokenRow
	F      typed
	Errors formErrors
	// Created is the token whose Text is shown; nil unless one was just made.
	Created *callbackd.OperatorToken
	Text    string
}

func (c *Console) tokensPage(req *userRequest) (*tokensPage, error) {
	p := &tokensPage{base: c.base(req, "tokens", "Operator tokens"), Errors: formErrors{}}
	tokens, err := c.Store.ListTokens(req.Context())
	for _, t := range slices.Backward(tokens) {
		p.Rows = append(p.Rows, tokenRow{t, c.now()})
	}
	return p, err
}

func (c *Console) tokens(w http.ResponseWriter, req *userRequest) error {
	p, err := c.tokensPage(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "tokens", p)
}

// createToken shows the list with the text of the new token. It does not redirect, because
// the text is shown once and an address would keep it.
func (c *Console) createToken(w http.ResponseWriter, req *userRequest) error {
	f, err := readForm(req.Request, "name", "role", "expires_after")
	if err != nil {
		return err
	}
	token, text, errs := c.newToken(f)
	if len(errs) == 0 {
		if err := errs.add("", c.Store.CreateToken(req.Context(), token)); err != nil {
			return err
		}
	}
	p, err := c.tokensPage(req) // after the token was created, so that it is listed
	if err != nil {
		return err
	}
	if len(errs) > 0 {
		p.F, p.Errors = f, errs
		return c.render(w, http.StatusBadRequest, "tokens", p)
	}
	p.Created, p.Text = &token, text.Reveal()
	return c.render(w, http.StatusOK, "tokens", p)
}

// newToken makes the token of a form and returns what is wrong with the form.
func (c *Console) newToken(f typed) (callbackd.OperatorToken, callbackd.Secret, formErrors) {
	errs, role, lifetime := formErrors{}, callbackd.TokenRole(""), callbackd.DefaultTokenLifetime
	errs.addAll(request.Values(f.values()).ReadAll(
		request.Choice("role", &role, callbackd.TokenRoles).Required(),
		request.Duration("expires_after", &lifetime, callbackd.MinTokenLifetime, callbackd.MaxTokenLifetime),
	))
	token, text, err := apikey.NewToken(strings.TrimSpace(f["name"]), role, lifetime, c.now())
	errs.add("name", err)
	return token, text, errs
}

// tokenPage is a page about one operator token.
type tokenPage struct {
	base
	Token *callbackd.OperatorToken
}

// tokenFromPath returns the operator token that the path names.
func (c *Console) tokenFromPath(req *userRequest) (*callbackd.OperatorToken, error) {
	token, err := c.Store.Token(req.Context(), req.PathValue("token"))
	if callbackd.KindOf(err) == callbackd.KindNotFound && err != nil {
		return nil, errPageNotFound
	}
	return token, err
}

func (c *Console) revokeTokenPage(w http.ResponseWriter, req *userRequest) error {
	token, err := c.tokenFromPath(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "token-revoke", &tokenPage{c.base(req, "tokens", "Revoke operator token"), token})
}

func (c *Console) revokeToken(w http.ResponseWriter, req *userRequest) error {
	token, err := c.tokenFromPath(req)
	if err != nil {
		return err
	}
	if _, err := c.Store.RevokeToken(req.Context(), token.ID, c.now().UTC().Truncate(time.Millisecond)); err != nil {
		return err
	}
	return redirect(w, req, link("tokens"), "token-revoked")
}
