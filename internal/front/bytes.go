package front

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"callbackd"
)

// budget limits bytes in memory. One client may hold at most its share, and the
// last eighth is reserved for the operator.
type budget struct {
	total, share int64
	name         string
	mu           sync.Mutex
	held         int64
	byClient     map[string]int64
}

func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// acquire counts n bytes for a client, or returns an error that says which limit
// is reached. A client that holds nothing may exceed its share.
func (b *budget) acquire(client string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byClient == nil {
		b.byClient = map[string]int64{}
	}
	limit := b.total
	if client != Operator {
		limit -= b.total / 8
		if b.byClient[client] > 0 && b.byClient[client]+n > b.share {
			return callbackd.Errorf(callbackd.KindLimited, "The %s of this API key that are being transferred hold %d MiB, which is the limit; wait until some are done.", b.name, b.share>>20)
		}
	}
	if b.held+n > limit {
		return callbackd.Errorf(callbackd.KindUnavailable, "callbackd has no memory left for more %s; try again later", b.name)
	}
	b.held += n
	b.byClient[client] += n
	return nil
}

func (b *budget) release(client string, n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.byClient[client] -= n; b.byClient[client] <= 0 {
		delete(b.byClient, client)
	}
}

const (
	firstRead = 4 << 10
	// uncounted is how many bytes a body or an answer may hold without being
	// counted. The limits of connections and calls bound them.
	uncounted = 16 << 10
)

// ErrTooLarge is the error of ReadBody for a body above the limit.
var ErrTooLarge = errors.New("the body is too large")

// ReadBody reads a body of up to max bytes. Memory grows with the bytes that
// arrive, and a declared length above the limit is refused before anything is read.
// While the body arrives, the connection of an unauthenticated client counts as
// idle, so that it can be closed for a new one.
func ReadBody(w http.ResponseWriter, r *http.Request, max int64) ([]byte, error) {
	if r.ContentLength > max {
		w.Header().Set("Connection", "close")
		return nil, ErrTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	defer asUnread(r)()
	if r.ContentLength >= 0 {
		return ReadAll(r, r.Body, r.ContentLength)
	}
	return ReadAll(r, http.MaxBytesReader(w, r.Body, max), r.ContentLength)
}

// FirstByte returns the first byte of a body that was not read yet, and leaves it there; 0 when
// there is none. It waits for the byte as ReadBody does.
func FirstByte(r *http.Request) byte {
	if r.Body == nil || r.Body == http.NoBody {
		return 0
	}
	defer asUnread(r)()
	first := make([]byte, 1)
	n, _ := io.ReadFull(r.Body, first) // whoever reads the body gets the error
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
	return first[0]
}

// asUnread lets the connection of an unauthenticated client count as idle until the result is
// called.
func asUnread(r *http.Request) func() {
	c := connOf(r)
	if c == nil || c.request.kind != Unauthenticated {
		return func() {}
	}
	c.setActive(false)
	return func() { c.setActive(true) }
}

// ReadAll reads src, which is the request's body or derived from it, and counts the
// memory for the request. declared is the length of src, or negative when it is not
// known.
func ReadAll(r *http.Request, src io.Reader, declared int64) ([]byte, error) {
	size := firstRead
	if declared >= 0 {
		size = int(min(int64(size), declared+1))
	}
	buf, held := make([]byte, 0, size), 0
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, ErrTooLarge
			}
			return nil, err
		}
		if len(buf) < cap(buf) {
			continue
		}
		next := 2 * cap(buf)
		if declared > int64(len(buf)) {
			next = min(next, int(declared)+1)
		}
		if next > uncounted {
			if err := holdBody(r, next-held); err != nil {
				return nil, err
			}
			held = next
		}
		buf = append(make([]byte, 0, next), buf...)
	}
}

// holdBody counts n more bytes of a body until the handler returns.
func holdBody(r *http.Request, n int) error {
	c := connOf(r)
	if c == nil {
		return nil
	}
	if err := c.f.bodies.acquire(c.request.client, int64(n)); err != nil {
		c.f.refused.Add(1)
		return err
	}
	c.request.bodies += int64(n)
	return nil
}

// HoldBytes counts n bytes of an answer until the handler returns.
func HoldBytes(w http.ResponseWriter, n int) error {
	c := connUnder(w)
	if c == nil || n <= uncounted {
		return nil
	}
	if err := c.f.answers.acquire(c.request.client, int64(n)); err != nil {
		c.f.refused.Add(1)
		return err
	}
	c.request.answers += int64(n)
	return nil
}

// ReleaseBytes ends the count of [HoldBytes], for an answer that goes on.
func ReleaseBytes(w http.ResponseWriter) {
	if c := connUnder(w); c != nil {
		c.f.answers.release(c.request.client, c.request.answers)
		c.request.answers = 0
	}
}

const (
	// pieceTimeout is how long a client may take to read pieceSize bytes of an
	// answer.
	pieceTimeout = 15 * time.Second
	pieceSize    = 64 << 10
)

// writer gives every piece of a large answer its own deadline. A client that reads
// nothing loses its connection, and one that reads slowly gets everything.
type writer struct {
	http.ResponseWriter
	c       *conn
	written int
	timeout time.Duration // of a piece; 0 means pieceTimeout
}

// PieceTimeout sets how long the client may take to read a piece of this answer, in
// place of 15 s. A stream uses it, whose reader may be idle for a while. It does
// nothing in a server without a Front.
func PieceTimeout(w http.ResponseWriter, timeout time.Duration) {
	if out := writerUnder(w); out != nil {
		out.timeout = timeout
	}
}

// connUnder returns the connection of a ResponseWriter, however it was wrapped; nil
// in a server without a Front.
func connUnder(w http.ResponseWriter) *conn {
	if out := writerUnder(w); out != nil {
		return out.c
	}
	return nil
}

// writerUnder returns the writer inside a ResponseWriter, however it was wrapped; nil
// in a server without a Front.
func writerUnder(w http.ResponseWriter) *writer {
	for {
		switch u := w.(type) {
		case *writer:
			return u
		case interface{ Unwrap() http.ResponseWriter }:
			w = u.Unwrap()
		default:
			return nil
		}
	}
}

// Write is part of http.ResponseWriter.
func (w *writer) Write(p []byte) (n int, err error) {
	for err == nil && n < len(p) {
		w.written += min(pieceSize, len(p)-n)
		w.extend()
		var m int
		m, err = w.ResponseWriter.Write(p[n:min(len(p), n+pieceSize)])
		n += m
	}
	return n, err
}

// extend gives the client time to read the next piece of a large answer.
func (w *writer) extend() {
	if w.written > uncounted {
		deadline := time.Now().Add(cmp.Or(w.timeout, pieceTimeout))
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
