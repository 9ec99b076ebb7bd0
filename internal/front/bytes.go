package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"callbackd"
)

// budget is bytes in memory for all visitors: one visitor has at most the
// share, and the last eighth is the operator's.
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

// take takes n bytes for a visitor or says why not. A visitor that holds
// nothing is not refused for its own share.
func (b *budget) acquire(who string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byClient == nil {
		b.byClient = map[string]int64{}
	}
	limit := b.total
	if who != Operator {
		limit -= b.total / 8
		if b.byClient[who] > 0 && b.byClient[who]+n > b.share {
			return callbackd.Errorf(callbackd.KindLimited, "The %s of this API key that are under way hold %d MiB, which is the limit; wait for them.", b.name, b.share>>20)
		}
	}
	if b.held+n > limit {
		return callbackd.Errorf(callbackd.KindUnavailable, "callbackd holds as many bytes of %s as it may; try again", b.name)
	}
	b.held += n
	b.byClient[who] += n
	return nil
}

func (b *budget) release(who string, n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.byClient[who] -= n; b.byClient[who] <= 0 {
		delete(b.byClient, who)
	}
}

const (
	firstRead = 4 << 10
	// free is what a body may hold without being counted: the limits of
	// connections and calls bound it.
	uncounted = 16 << 10
)

// ErrTooLarge is what ReadBody returns for a body above the limit.
var ErrTooLarge = errors.New("the body is too large")

// ReadBody reads a body up to max bytes. Memory grows with what arrives; a
// declared length above the limit is refused before anything is read. Until
// the body is there, the connection of a visitor that proved nothing can be
// taken back.
func ReadBody(w http.ResponseWriter, r *http.Request, max int64) ([]byte, error) {
	if r.ContentLength > max {
		w.Header().Set("Connection", "close")
		return nil, ErrTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	c := connOf(r)
	if c != nil && c.request.kind == Unauthenticated {
		c.setActive(false)
		defer c.setActive(true)
	}
	return ReadAll(r, http.MaxBytesReader(w, r.Body, max), r.ContentLength)
}

// ReadAll reads src, which is what the request's body becomes, in memory that
// counts as the request's. declared is its length when that is known.
func ReadAll(r *http.Request, src io.Reader, declared int64) ([]byte, error) {
	size := firstRead
	if declared >= 0 {
		size = int(min(int64(size), declared+1))
	}
	buf, held := make([]byte, 0, size), 0
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		var tooLarge *http.MaxBytesError
		switch {
		case err == io.EOF:
			return buf, nil
		case errors.As(err, &tooLarge):
			return nil, ErrTooLarge
		case err != nil:
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
	if err := c.f.bodies.acquire(c.request.who, int64(n)); err != nil {
		c.f.refused.Add(1)
		return err
	}
	c.request.bodies += int64(n)
	return nil
}

// Hold counts n bytes of an answer until the handler returns.
func HoldBytes(w http.ResponseWriter, n int) error {
	c := connUnder(w)
	if c == nil || n <= uncounted {
		return nil
	}
	if err := c.f.answers.acquire(c.request.who, int64(n)); err != nil {
		c.f.refused.Add(1)
		return err
	}
	c.request.answers += int64(n)
	return nil
}

// Sent gives back what [Hold] took so far, for an answer that goes on.
func ReleaseBytes(w http.ResponseWriter) {
	if c := connUnder(w); c != nil {
		c.f.answers.release(c.request.who, c.request.answers)
		c.request.answers = 0
	}
}

const (
	// stalled ends an answer of which the reader did not take piece bytes in
	// this time.
	pieceTimeout = 15 * time.Second
	pieceSize    = 64 << 10
)

// writer gives every piece of a large answer its own deadline, so that a
// reader that takes nothing loses its connection, and one that reads slowly
// but steadily gets everything.
type writer struct {
	http.ResponseWriter
	c       *conn
	written int
}

// connUnder is the connection under a ResponseWriter, however it was wrapped;
// nil in a server without a Front.
func connUnder(w http.ResponseWriter) *conn {
	for {
		switch u := w.(type) {
		case *writer:
			return u.c
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

// extend gives the reader of a large answer time for the next piece.
func (w *writer) extend() {
	if w.written > uncounted {
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(pieceTimeout))
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
