package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/strictjson"
)

func invalid(format string, args ...any) error {
	return callbackd.Errorf(callbackd.KindInvalid, format, args...)
}

// body reads a request's body up to MaxBody, as it comes.
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
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The body is larger than %d bytes.", callbackd.MaxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, callbackd.Errorf(callbackd.KindSlow, "The body did not arrive in time; send it again.")
	case err != nil:
		return nil, invalid("The body did not arrive whole.")
	}
	b = withoutMark(b)
	c.sent = &b
	return b, nil
}

// withoutMark is a text without the byte order mark that the writers of .NET and
// Windows put before UTF-8.
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// text reads a body as JSON, in any way in which clients send one: whatever its
// content type is called, or a form; as it is or packed. The same body sent
// again may differ in its bytes, by the time that gzip notes or by the boundary
// of a form, and does not differ in its text.
func (c *call) text(w http.ResponseWriter) ([]byte, error) {
	if c.asJSON != nil {
		return *c.asJSON, nil
	}
	b, err := c.body(w)
	if err != nil {
		return nil, err
	}
	if b, err = c.unpack(w, b); err != nil {
		return nil, err
	}
	fields, isForm, err := readForm(c.Header.Get("Content-Type"), b)
	if err == nil && isForm {
		c.form = fields
		b, err = formJSON(fields)
	}
	if err != nil {
		return nil, err
	}
	c.asJSON = &b
	return b, nil
}

// object reads a body as one object. PHP's empty array is an empty object. It
// returns the object's text as well; both are nil when there is no body.
func (c *call) object(w http.ResponseWriter) (strictjson.Value, []strictjson.Member, error) {
	b, err := c.text(w)
	if err != nil {
		return nil, nil, err
	}
	if text := bytes.TrimSpace(b); len(text) == 0 || string(text) == "null" {
		return nil, nil, nil
	}
	text, members, err := strictjson.LenientObject(b)
	if err != nil {
		return nil, nil, invalid("The body %v.", err)
	}
	return text, members, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return fmt.Sprint(strings.ToValidUTF8(s[:n], ""), "…")
	}
	return s
}
