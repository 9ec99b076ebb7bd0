package api

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
)

// codings lists the supported values of Content-Encoding.
const codings = "gzip, deflate"

// coding returns the codings in Content-Encoding. It is empty when the body is not
// encoded.
func coding(h http.Header) string {
	var names []string
	for name := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// unsupported returns the error for a coding that is not supported. The answer's
// Accept-Encoding lists those that are (RFC 9110, section 15.5.16).
func unsupported(w http.ResponseWriter, coding, accepted string) error {
	w.Header().Set("Accept-Encoding", accepted)
	if accepted == "identity" {
		return callbackd.Errorf(callbackd.KindUnsupported, "Content-Encoding %q is not supported here; send the body without one.", callbackd.Clip(coding, 60))
	}
	return callbackd.Errorf(callbackd.KindUnsupported, "Content-Encoding %q is not supported; send the body without one, or with one of %s.", callbackd.Clip(coding, 60), accepted)
}

// unpack decodes the request's Content-Encoding. The result has the same limit as a body
// that is not encoded.
func (c *call) unpack(w http.ResponseWriter, body []byte) ([]byte, error) {
	name := coding(c.Header)
	if name == "" || len(body) == 0 {
		return body, nil
	}
	var from io.Reader
	var err error
	switch name {
	case "gzip", "x-gzip":
		from, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		from = inflate(body)
	default:
		return nil, unsupported(w, name, codings)
	}
	var out []byte
	if err == nil {
		out, err = front.ReadAll(c.Request, io.LimitReader(from, callbackd.MaxBody+1), -1)
	}
	if _, ok := errors.AsType[*callbackd.Error](err); ok {
		return nil, err // there is no room for it
	}
	switch {
	case err != nil:
		return nil, callbackd.Invalid("The body is not what its Content-Encoding %q says: %s.", name, unpackFault(err))
	case len(out) > callbackd.MaxBody:
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The body is larger than %s bytes when it is unpacked.", humanize.Number(callbackd.MaxBody))
	}
	return withoutMark(out), nil
}

// inflate reads both formats that clients call deflate: zlib's, which HTTP means, and the
// bare one.
func inflate(body []byte) io.Reader {
	if r, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
		return r
	}
	return flate.NewReader(bufio.NewReader(bytes.NewReader(body)))
}

func unpackFault(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends in the middle"
	}
	_, text, _ := strings.Cut(fmt.Sprint(err), ": ") // without the package's name
	return text
}
