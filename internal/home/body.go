package home

import (
	"bytes"
	"io"
	"net/http"

	"callbackd/internal/front"
)

// maxInMemory is the largest body that is read before the call is forwarded, in bytes. A
// larger one is sent as it arrives, after the home has asked for it.
const maxInMemory = 16 << 10

// body is the body of a call.
type body struct {
	start  []byte    // the part that was read
	rest   io.Reader // the part that was not; nil when start is all of it
	length int64     // of the whole body; -1 when it is not known
	opened bool      // part of rest was sent, so this node cannot answer the call any more
}

// readBody reads a small body, and the start of one of unknown length. An error of the
// client's connection is returned by the next read of rest.
func readBody(r *http.Request) *body {
	b := &body{rest: r.Body, length: r.ContentLength}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return &body{}
	}
	if r.ContentLength > maxInMemory {
		return b
	}
	size := r.ContentLength
	if size < 0 {
		size = maxInMemory + 1
	}
	b.start = make([]byte, size)
	n, err := front.ReadStart(r, b.start)
	b.start = b.start[:n]
	switch {
	case err == io.EOF, int64(n) == r.ContentLength: // all of it
		b.rest, b.length = nil, int64(n)
	case err != nil:
		b.rest = failing{err}
	}
	return b
}

// failing is the rest of a body that did not arrive completely.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// isLarge reports whether the home must ask for the body.
func (b *body) isLarge() bool { return b.rest != nil }

// restore gives the call its whole body again, so that this node can answer it.
func (b *body) restore(r *http.Request) {
	if len(b.start) == 0 && b.rest == r.Body {
		return
	}
	var whole io.Reader = bytes.NewReader(b.start)
	if b.rest != nil {
		whole = io.MultiReader(whole, b.rest)
	}
	r.Body = restored{whole, r.Body}
}

// restored is a body of which a part was read before.
type restored struct {
	io.Reader
	io.Closer
}

// whole returns the body from its beginning.
func (b *body) whole() io.Reader {
	if b.rest == nil {
		return bytes.NewReader(b.start)
	}
	return io.MultiReader(bytes.NewReader(b.start), b.rest)
}
