package console

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
)

// Sizes of forms, in bytes.
const (
	maxForm       = 256 << 10 // enough for the largest setting of a callback
	maxSignInForm = 16 << 10  // of a visitor who is not logged in
)

// readBody reads the whole body of a form, up to max bytes, before the form is
// parsed.
func readBody(w http.ResponseWriter, r *http.Request, max int64) error {
	raw, err := front.ReadBody(w, r, max)
	if errors.Is(err, front.ErrTooLarge) {
		return callbackd.Errorf(callbackd.KindTooLarge, "The form is larger than %s bytes. Shorten its texts.", humanize.Number(max))
	}
	if _, ok := errors.AsType[*callbackd.Error](err); ok {
		return err
	}
	if err != nil {
		return errFormCut
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

var errFormCut = callbackd.Errorf(callbackd.KindInvalid, "The form arrived incomplete. Send it again.")

// enterAnonymous counts a request of a visitor who is not logged in against the limits of
// the visitor's address.
func enterAnonymous(w http.ResponseWriter, r *http.Request) error {
	if err := front.BeginCall(r, "from "+remote(r), front.Unauthenticated); err != nil {
		return err
	}
	return readBody(w, r, maxSignInForm)
}

// enterLoggedIn counts a request of a logged-in user against the limits of their key. The
// operator has separate limits, and so can still use the console when all others are
// refused.
func enterLoggedIn(w http.ResponseWriter, req *userRequest) error {
	who, account, kind := front.Operator, "", front.KindOf(req.Request)
	if !req.isOperator() {
		if err := front.Reserved(req.Request); err != nil {
			return err
		}
		who, account = req.key.APIKey, req.key.Account
	}
	if err := front.BeginCall(req.Request, who, kind); err != nil {
		return err
	}
	if kind == front.Read {
		return front.BeginAnswer(req.Request, account)
	}
	return readBody(w, req.Request, maxForm)
}

// allowChange counts a change of a callback against the limit of its key. The
// operator's changes are not limited.
func (c *Console) allowChange(req *userRequest, key callbackd.KeyID) error {
	if req.isOperator() {
		return nil
	}
	return c.Tests.AllowChange(key, c.now())
}
