package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxTrailers is how many bytes may follow a chunked body.
const maxTrailers = 4 << 10

// errMalformed is an answer that is not HTTP/1.0 or 1.1 (RFC 9112).
var errMalformed = errors.New("malformed HTTP answer")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

// head is the status line and the header of an answer.
type head struct {
	status  int
	minor   byte // of HTTP/1
	headers http.Header
}

// readHead reads a head by the rules of RFC 9112, sections 4 and 5. Lines that two readers
// could read differently are errors: a name with a space, a line without a colon, a
// control character.
func readHead(br *bufio.Reader) (h head, err error) {
	lines := textproto.NewReader(br)
	line, err := lines.ReadLine()
	if err != nil {
		return h, unexpected(err)
	}
	h.headers = http.Header{}
	if err := h.statusLine(line); err != nil {
		return h, err
	}
	return h, h.fields(lines)
}

// statusLine reads "HTTP/1.1 200 OK"; the reason and the space before it may
// be missing.
func (h *head) statusLine(line string) error {
	version, rest, ok := strings.Cut(line, " ")
	if !ok || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return malformed("it begins with %q, and not with HTTP/1.1 or HTTP/1.0 and a status", line)
	}
	code, reason, _ := strings.Cut(rest, " ")
	if len(code) != 3 || code[0] < '1' || strings.Trim(code, "0123456789") != "" || !httpguts.ValidHeaderFieldValue(reason) {
		return malformed("its status line is %q", line)
	}
	h.status, _ = strconv.Atoi(code)
	h.minor = version[len(version)-1]
	return nil
}

func (h *head) fields(lines *textproto.Reader) error {
	name := ""
	for {
		line, err := lines.ReadLine()
		switch {
		case err != nil:
			return unexpected(err)
		case line == "":
			return nil
		case line[0] == ' ' || line[0] == '\t': // a folded line, obsolete (section 5.2)
			line = strings.Trim(line, " \t")
			if name == "" || !httpguts.ValidHeaderFieldValue(line) {
				return malformed("the header line %q", line)
			}
			values := h.headers[name]
			values[len(values)-1] += " " + line
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
			return malformed("the header line %q", line)
		}
		name = textproto.CanonicalMIMEHeaderKey(key)
		h.headers[name] = append(h.headers[name], value)
	}
}

// unexpected turns io.EOF in the middle of an answer into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// response returns the answer with its body, framed as RFC 9112, section 6.3, says. When
// the framing is ambiguous, the connection is closed afterwards: another reader on the
// way may have found another end of the body.
func (h *head) response(c *conn) (*http.Response, error) {
	length, err := contentLength(h.headers["Content-Length"])
	if err != nil {
		return nil, err
	}
	codings := tokens(h.headers["Transfer-Encoding"])
	body := &answerBody{c: c, src: http.NoBody}
	resp := &http.Response{StatusCode: h.status, Header: h.headers, Body: body}
	resp.Close = h.minor == '0' || has(h.headers["Connection"], "close") || h.ambiguous(codings)
	coded := len(codings) > 0
	switch {
	case h.status/100 == 1: // 101: the bytes that follow are not HTTP
		resp.Close = true
	case h.status == http.StatusNotModified:
		resp.Close = resp.Close || coded
	case h.status == http.StatusNoContent:
		resp.Close = resp.Close || coded || length > 0
	case coded && codings[len(codings)-1] == "chunked":
		body.src = &chunks{c: c, src: httputil.NewChunkedReader(c.br)}
	case coded || length < 0: // until the end of the connection
		resp.Close = true
		body.src = c.br
	default:
		body.counted = counted{src: c.br, left: length}
		body.src = &body.counted
	}
	return resp, nil
}

// ambiguous reports whether two readers could find different ends of the body.
func (h *head) ambiguous(codings []string) bool {
	lengths := len(h.headers["Content-Length"])
	return len(codings) > 1 || lengths > 1 || len(codings) > 0 && lengths > 0
}

// contentLength returns the one length that all values state; -1 when there is none.
func contentLength(values []string) (int64, error) {
	length := int64(-1)
	for _, text := range tokens(values) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strings.Trim(text, "0123456789") != "" || length >= 0 && n != length {
			return 0, malformed("Content-Length is %q", strings.Join(values, ", "))
		}
		length = n
	}
	if length < 0 && len(values) > 0 {
		return 0, malformed("Content-Length is empty")
	}
	return length, nil
}

// tokens is the members of a header that is a list, in lower case.
func tokens(values []string) []string {
	var out []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.ToLower(strings.Trim(t, " \t")); t != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

func has(values []string, token string) bool {
	for _, t := range tokens(values) {
		if t == token {
			return true
		}
	}
	return false
}

// idleTime is how long the connection may wait for its next use: less than
// what the receiver says in Keep-Alive, so that a request does not meet the
// end of the connection.
func idleTime(h http.Header) time.Duration {
	for _, t := range tokens(h["Keep-Alive"]) {
		if text, ok := strings.CutPrefix(t, "timeout="); ok {
			if n, err := strconv.ParseUint(text, 10, 16); err == nil {
				return min(idleTimeout, time.Duration(n)*time.Second-keepAliveMargin)
			}
		}
	}
	return idleTimeout
}

// counted is a body of a known length.
type counted struct {
	src  io.Reader
	left int64
}

// Read is part of io.Reader.
func (b *counted) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// chunks is a chunked body. The trailers after the last chunk are read and dropped.
type chunks struct {
	c   *conn
	src io.Reader
}

// Read is part of io.Reader.
func (b *chunks) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err != io.EOF {
		return n, err
	}
	b.c.room = maxTrailers
	trailers := head{headers: http.Header{}}
	if err := trailers.fields(textproto.NewReader(b.c.br)); err != nil {
		return n, err
	}
	return n, io.EOF
}
