package console

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"callbackd"
	"callbackd/internal/front"
)

// Sizes of forms.
const (
	maxForm     = 256 << 10 // a callback's setting and some air
	maxDoorForm = 16 << 10  // of somebody who is not signed in
)

// readBody reads the body of a form whole before anything is made of it, up
// to max bytes.
func readBody(w http.ResponseWriter, r *http.Request, max int64) error {
	raw, err := front.ReadBody(w, r, max)
	if errors.Is(err, front.ErrTooLarge) {
		return callbackd.Errorf(callbackd.KindTooLarge, "The form is larger than %d bytes", max)
	}
	if _, ok := errors.AsType[*callbackd.Error](err); ok {
		return err
	}
	if err != nil {
		return callbackd.Errorf(callbackd.KindInvalid, "The form did not arrive whole")
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// outside counts the request of somebody who is not signed in.
func outside(w http.ResponseWriter, r *http.Request) error {
	if err := front.BeginCall(r, "from "+remote(r), front.Unauthenticated); err != nil {
		return err
	}
	return readBody(w, r, maxDoorForm)
}

// inside counts the request of a visitor. The operator is let in when nobody
// else is.
func inside(w http.ResponseWriter, v *visit) error {
	who, account, kind := front.Operator, "", front.KindOf(v.Request)
	if !v.operator() {
		if err := front.Reserved(v.Request); err != nil {
			return err
		}
		who, account = v.key.APIKey, v.key.Account
	}
	if err := front.BeginCall(v.Request, who, kind); err != nil {
		return err
	}
	if kind == front.Read {
		return front.BeginAnswer(v.Request, account)
	}
	return readBody(w, v.Request, maxForm)
}

// allowChange counts a change of a callback. The operator's are not limited.
func (c *Console) allowChange(v *visit, key callbackd.KeyID) error {
	if v.operator() {
		return nil
	}
	return c.Tests.AllowChange(key, c.now())
}
