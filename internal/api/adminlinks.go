package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/front"
	"callbackd/internal/store"
	"callbackd/wire"
)

// createLink makes a link to the console of the key. The answer alone has it.
func (a *API) createLink(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	var link callbackd.ConsoleLink
	if err := body.Strict("A link").Read(apikey.LinkFields(&link)...); err != nil {
		return err
	}
	if err := callbackd.CheckReturnTo(link.ReturnTo, a.ReturnOrigins); err != nil {
		return err
	}
	now := time.Now()
	if !c.key.InForce(now) {
		return callbackd.Errorf(callbackd.KindConflict, "The API key %s is %s, so a link would not sign in.", c.key.APIKey, c.key.State(now))
	}
	token, hash := apikey.NewLinkToken()
	login := store.NewCustomerLink(hash, c.key.ID, link, now)
	show := func(l *store.Login) ([]byte, error) {
		return marshal(wire.ConsoleLink{APIKey: c.key.APIKey, URL: callbackd.CustomerURL(a.reachedAt(c.Request), token), Role: string(l.Customer.Role), ReturnTo: l.Customer.ReturnTo,
			ExpiresAt: l.ExpiresAt, ExpiresIn: callbackd.FormatDuration(l.Customer.Lasts)})
	}
	if err := a.Store.CreateLogin(once(c, http.StatusCreated, show), login); err != nil {
		return err
	}
	out, err := show(&login)
	if err != nil {
		return err
	}
	answerRaw(w, http.StatusCreated, out)
	return nil
}

// reachedAt returns the URL at which people reach the server: the public one, or that of the
// call.
func (a *API) reachedAt(r *http.Request) string {
	if a.Public != nil {
		return a.Public.String()
	}
	scheme := "http"
	if front.Secure(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
