package api

import (
	"bytes"
	"errors"
	"net/http"
	"os"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"
)

// errNoBody refuses a call that must have a body.
var errNoBody = callbackd.Invalid("The body is empty. Send a JSON object.")

// body reads a request's body, up to MaxBody, without unpacking it.
func (c *call) body(w http.ResponseWriter) ([]byte, error) {
	if c.sent != nil {
		return *c.sent, nil
	}
	b, err := front.ReadBody(w, c.Request, callbackd.MaxBody)
	if _, ok := errors.AsType[*callbackd.Error](err); ok {
		return nil, err // there is no room for it
	}
	switch {
	case errors.Is(err, front.ErrTooLarge):
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The body is larger than %s bytes.", humanize.Number(callbackd.MaxBody))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, callbackd.Errorf(callbackd.KindSlow, "The body did not arrive in time. Send it again.")
	case err != nil:
		return nil, callbackd.Invalid("The body did not arrive completely.")
	}
	b = withoutMark(b)
	c.sent = &b
	return b, nil
}

// withoutMark returns a text without the byte order mark that .NET and Windows write
// before UTF-8.
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// text reads a body as JSON in every form in which clients send it: with any content
// type, as a form, and compressed or not. A repeated body may have other bytes, such as
// the time in gzip's header or the boundary of a form, but it has the same text.
func (c *call) text(w http.ResponseWriter) (request.Body, error) {
	if c.unpacked != nil {
		return *c.unpacked, nil
	}
	b, err := c.body(w)
	if err != nil {
		return request.Body{}, err
	}
	if b, err = c.unpack(w, b); err != nil {
		return request.Body{}, err
	}
	body, err := request.ReadBody(c.Header.Get("Content-Type"), b)
	if err != nil {
		return request.Body{}, err
	}
	c.unpacked = &body
	return body, nil
}

// object reads a body as one object and returns its text as well. The text is
// nil when there is no body.
func (c *call) object(w http.ResponseWriter) (strictjson.Value, request.Object, error) {
	body, err := c.text(w)
	if err != nil {
		return nil, request.Object{}, err
	}
	return body.Object()
}
