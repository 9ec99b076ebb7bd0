package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/view"
)

// rotateAuth gives a callback other credentials and keeps the old ones for a while.
func (a *API) rotateAuth(w http.ResponseWriter, c *call) error {
	ev, err := c.eventParam()
	if err != nil {
		return err
	}
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	keep := callbacks.DefaultKeep
	auth, err := callbacks.ReadAuth(body, request.Duration("keep", &keep, 0, callbacks.MaxKeep))
	if err != nil {
		return err
	}
	now := time.Now()
	if err := a.Tests.AllowChange(c.key.ID, now); err != nil {
		return err
	}
	show := func(cb *callbackd.Callback) ([]byte, error) { return marshal(view.Policy(cb, c.key.APIKey, now)) }
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), c.key.ID, ev, c.nameParam(), func(cb *callbackd.Callback) error {
		next := *cb
		next.Policy.Auth = auth
		if err := callbacks.UnmaskAuth(cb, &next); err != nil {
			return err
		}
		cb.RotateAuth(next.Policy.Auth, now.Add(keep), now)
		if err := a.admit(c, cb); err != nil {
			return err
		}
		return callbacks.Check(cb)
	})
	if err != nil {
		return c.missing(err, ev)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	a.advise(w, cb)
	answer(w, http.StatusOK, view.Policy(cb, c.key.APIKey, now))
	return nil
}

// testAuth tries how a callback signs in. It counts as a test-send, because it tells what a
// host answers.
func (a *API) testAuth(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	if cb.Policy.Auth == nil {
		return callbackd.Errorf(callbackd.KindConflict, "The callback has no policy.auth, so there is nothing to try. POST /v1/callbacks/%s/auth/rotate sets it.", cb.Event)
	}
	if err := a.Tests.AllowTest(c.key.ID, time.Now()); err != nil {
		return err
	}
	answer(w, http.StatusOK, view.AuthTest(a.TestAuth(c.Context(), cb)))
	return nil
}
