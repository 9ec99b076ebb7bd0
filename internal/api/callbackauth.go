package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/view"
)

// rotation is what a call that rotates says, apart from the new value.
type rotation struct {
	event callbackd.EventType
	name  string
	at    time.Time
	until time.Time // the old value stays in force until then
}

// rotation reads a call that rotates, and counts it as a change. read reads the new value
// from the body, together with the field that it is given.
func (a *API) rotation(w http.ResponseWriter, c *call, read func(request.Object, request.Field) error) (r rotation, err error) {
	if r.event, r.name, err = c.callbackParam(); err != nil {
		return r, err
	}
	_, body, err := c.object(w)
	if err != nil {
		return r, err
	}
	keep := callbacks.DefaultKeep
	if err := read(body, request.Duration("keep", &keep, 0, callbacks.MaxKeep)); err != nil {
		return r, err
	}
	r.at = time.Now()
	r.until = r.at.Add(keep)
	return r, a.Tests.AllowChange(c.key.ID, r.at)
}

// rotateAuth gives a callback other credentials and keeps the old ones for a while.
func (a *API) rotateAuth(w http.ResponseWriter, c *call) error {
	var auth *callbackd.Auth
	r, err := a.rotation(w, c, func(body request.Object, keep request.Field) (err error) {
		auth, err = callbacks.ReadAuth(body, keep)
		return err
	})
	if err != nil {
		return err
	}
	show := func(cb *callbackd.Callback) ([]byte, error) { return marshal(view.Policy(cb, c.key.APIKey, r.at)) }
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), c.key.ID, r.event, r.name, func(cb *callbackd.Callback) error {
		if err := callbacks.RotateAuth(cb, auth, r.until, r.at); err != nil {
			return err
		}
		return a.admit(c, cb)
	})
	if err != nil {
		return c.missing(err, r.event)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	a.advise(w, cb)
	answer(w, http.StatusOK, view.Policy(cb, c.key.APIKey, r.at))
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
		return callbackd.Errorf(callbackd.KindConflict, "The callback has no policy.auth, so there is nothing to try. POST %s sets it.", cb.Path("/auth/rotate"))
	}
	if err := a.Tests.AllowTest(c.key.ID, time.Now()); err != nil {
		return err
	}
	answer(w, http.StatusOK, view.AuthTest(a.TestAuth(c.Context(), cb)))
	return nil
}
