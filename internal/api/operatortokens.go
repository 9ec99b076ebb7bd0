package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/request"
	"callbackd/internal/view"
	"callbackd/wire"
)

func (a *API) listTokens(w http.ResponseWriter, c *call) error {
	tokens, err := a.Store.ListTokens(c.Context())
	if err != nil {
		return err
	}
	out, now := wire.OperatorTokenList{Data: []wire.OperatorToken{}}, time.Now()
	for i := range tokens {
		out.Data = append(out.Data, view.OperatorToken(&tokens[i], now))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) createToken(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	name, role, lifetime := "", callbackd.TokenRole(""), callbackd.DefaultTokenLifetime
	err = body.Strict("An operator token").Read(
		request.Text("name", &name, callbackd.MaxName).Required(),
		request.Choice("role", &role, callbackd.TokenRoles).Required(),
		request.Duration("expires_after", &lifetime, callbackd.MinTokenLifetime, callbackd.MaxTokenLifetime),
	)
	if err != nil {
		return err
	}
	now := time.Now()
	token, text, err := apikey.NewToken(name, role, lifetime, now)
	if err != nil {
		return err
	}
	show := func(t *callbackd.OperatorToken) ([]byte, error) {
		out := view.OperatorToken(t, now)
		out.Token = text.Reveal()
		return marshal(out)
	}
	if err := a.Store.CreateToken(once(c, http.StatusCreated, show), token); err != nil {
		return err
	}
	out, err := show(&token)
	if err != nil {
		return err
	}
	answerRaw(w, http.StatusCreated, out)
	return nil
}

func (a *API) revokeToken(w http.ResponseWriter, c *call) error {
	now := time.Now()
	show := func(t *callbackd.OperatorToken) ([]byte, error) { return marshal(view.OperatorToken(t, now)) }
	token, err := a.Store.RevokeToken(once(c, http.StatusOK, show), c.PathValue("id"), now.UTC().Truncate(time.Millisecond))
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, view.OperatorToken(token, now))
	return nil
}
