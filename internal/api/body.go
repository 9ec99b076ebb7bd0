package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/strictjson"
)

func invalid(format string, args ...any) error {
	return callbackd.Errorf(callbackd.KindInvalid, format, args...)
}

// body reads a request's body up to MaxBody.
func (c *call) body(w http.ResponseWriter) ([]byte, error) {
	var buf bytes.Buffer
	if n := c.ContentLength; n > 0 && n <= callbackd.MaxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(w, c.Body, callbackd.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The body is larger than %d bytes.", callbackd.MaxBody)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, invalid("The body did not arrive whole.")
	}
	return buf.Bytes(), nil
}

// object reads a body as one JSON object.
func (c *call) object(w http.ResponseWriter) ([]strictjson.Member, error) {
	b, err := c.body(w)
	if err != nil {
		return nil, err
	}
	m, err := strictjson.Object(b)
	if err != nil {
		return nil, invalid("The body %v.", err)
	}
	return m, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return fmt.Sprint(strings.ToValidUTF8(s[:n], ""), "…")
	}
	return s
}
