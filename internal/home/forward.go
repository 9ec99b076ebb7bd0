package home

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/front"
)

// result says how forwarding a call ended.
type result int

const (
	answered    result = iota // or the client is gone
	unreachable               // the home has not taken the call
	refused                   // the node is not the key's home
	unanswered                // the call was sent, and may have taken effect
	broken                    // the client's body ended early, so the call has no effect
)

// forward has the node answer a call and passes the answer on. A small change goes in a
// frame. Anything else may be long, in bytes or in time, and gets a connection of its own.
func (p *peer) forward(w http.ResponseWriter, r *http.Request, key callbackd.KeyID, b *body) result {
	if !reads(r) && !b.isLarge() {
		c, err := p.takeFrames(r.Context())
		if err != nil {
			return unreachable
		}
		if c != nil {
			return c.forward(w, r, key, b)
		}
	}
	return p.forwardAlone(w, r, key, b)
}

// forwardAlone sends a call over a connection of its own.
func (p *peer) forwardAlone(w http.ResponseWriter, r *http.Request, key callbackd.KeyID, b *body) result {
	l, err := p.take(r.Context(), reads(r))
	if err != nil {
		return unreachable
	}
	stop := context.AfterFunc(r.Context(), func() { l.Close() })
	res, result := p.exchange(l, r, key, b)
	keep := false
	if res != nil {
		p.heard.Store(time.Now().UnixNano())
		if result == answered {
			err = p.passOn(w, r, res)
		} else {
			_, err = io.Copy(io.Discard, res.Body)
		}
		keep = err == nil && !res.Close && b.isSent()
	}
	canceled := !stop()
	if keep && !canceled {
		p.put(l)
	} else {
		p.drop(l)
	}
	if result != broken && (canceled || err != nil && result == answered) {
		panic(http.ErrAbortHandler) // so that the client does not take a part for the whole
	}
	return result
}

// exchange sends a call and reads the head of its answer. res is nil without an answer.
func (p *peer) exchange(l *link, r *http.Request, key callbackd.KeyID, b *body) (res *http.Response, _ result) {
	if err := p.send(l, r, key, b); err != nil {
		return nil, unreachable // the home does not act on a part of a call
	}
	res, err := http.ReadResponse(l.in, r)
	if b.isLarge() {
		if err != nil {
			return nil, unreachable // the home did not get the body, so the call took no effect
		}
		if res.StatusCode == http.StatusContinue {
			b.opened = true
			if !sendRest(l, b) {
				return nil, broken
			}
			res, err = http.ReadResponse(l.in, r)
		}
	}
	switch {
	case err != nil:
		return nil, unanswered
	case b.opened:
		return res, answered
	case res.Header.Get(notHome) != "":
		return res, refused
	case res.Header.Get(hopHeader) == "":
		return res, unreachable // refused before any handler saw the call
	}
	return res, answered
}

// hop returns what the node is told about a call.
func (p *peer) hop(r *http.Request, key callbackd.KeyID) hop {
	return hop{at: p.router.Now().Unix(), node: p.node, key: key, client: front.ClientAddr(r), secure: front.Secure(r)}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 32<<10); return &b }}

// send writes the head of a call, and its body when that is small.
func (p *peer) send(l *link, r *http.Request, key callbackd.KeyID, b *body) error {
	room := buffers.Get().(*[]byte)
	defer buffers.Put(room)
	target := r.URL.RequestURI()
	h := p.hop(r, key)
	out := append((*room)[:0], r.Method...)
	out = append(out, ' ')
	out = append(out, target...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, r.Host...)
	out = append(out, "\r\n"+hopHeader+": "...)
	out = p.router.signer.header(out, h, r.Method, target)
	out = append(out, "\r\n"...)
	for name, value := range endToEnd(r.Header) {
		out = append(out, name...)
		out = append(out, ": "...)
		out = append(out, value...)
		out = append(out, "\r\n"...)
	}
	switch {
	case b.isLarge() && b.length < 0:
		out = append(out, "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"...)
	case b.isLarge():
		out = append(out, "Expect: 100-continue\r\nContent-Length: "...)
		out = strconv.AppendInt(out, b.length, 10)
		out = append(out, "\r\n"...)
	case b.length > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead:
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, b.length, 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "\r\n"...)
	if !b.isLarge() {
		out = append(out, b.start...)
	}
	*room = out
	_, err := l.Write(out)
	return err
}

// perConnection has the headers that concern one connection only, and those that send
// writes by itself.
var perConnection = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true, "Host": true, hopHeader: true,
}

// endToEnd yields the headers that are not only for one connection.
func endToEnd(h http.Header) iter.Seq2[string, string] {
	named := h["Connection"]
	return func(yield func(name, value string) bool) {
		for name, values := range h {
			if perConnection[name] || len(named) > 0 && isNamed(named, name) {
				continue
			}
			for _, v := range values {
				if !yield(name, v) {
					return
				}
			}
		}
	}
}

// isNamed reports whether a header is named in Connection.
func isNamed(connection []string, name string) bool {
	for _, v := range connection {
		for token := range strings.SplitSeq(v, ",") {
			if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(token)) == name {
				return true
			}
		}
	}
	return false
}

// isSent reports whether no part of the body is left to be sent on the connection.
func (b *body) isSent() bool { return !b.isLarge() || b.opened }

// sendRest sends a large body. It returns false when the body ends early. When the home
// reads no further, its answer says why.
func sendRest(l *link, b *body) bool {
	from := &noting{Reader: b.whole()}
	out := bufio.NewWriter(l)
	var err error
	if b.length >= 0 {
		_, err = io.CopyN(out, from, b.length)
	} else {
		chunks := httputil.NewChunkedWriter(out)
		if _, err = io.Copy(chunks, from); err == nil {
			_, err = out.WriteString("0\r\n\r\n")
		}
	}
	if from.err != nil {
		b.start, b.rest = nil, failing{from.err}
		return false
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		l.SetReadDeadline(time.Now().Add(answerTime))
	}
	return true
}

// noting notes the error of a Reader.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(b []byte) (int, error) {
	m, err := n.Reader.Read(b)
	if err != io.EOF {
		n.err = err
	}
	return m, err
}

// answerTime limits the wait for the answer of a home that did not read all of the body.
const answerTime = time.Second

// streamTimeout is how long the reader of a stream may read nothing, as at the home.
const streamTimeout = 2 * time.Minute

// passOn gives the client the answer of the home. It fails when the answer breaks off, or
// the client is gone.
func (p *peer) passOn(w http.ResponseWriter, r *http.Request, res *http.Response) error {
	h := w.Header()
	for name, values := range res.Header {
		if !perConnection[name] || name == "Content-Length" {
			h[name] = values
		}
	}
	if res.Close && r.ContentLength != 0 { // the rest of the body is not read
		h.Set("Connection", "close")
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		front.PieceTimeout(w, streamTimeout)
		w.WriteHeader(res.StatusCode)
		err := copyAll(&flusher{w, http.NewResponseController(w)}, res.Body)
		if err != nil && p.router.ending.Load() {
			res.Close = true // the stream ends well
			return nil
		}
		return err
	}
	w.WriteHeader(res.StatusCode)
	return copyAll(w, res.Body)
}

// copyAll copies with a buffer that is used again.
func copyAll(w io.Writer, from io.Reader) error {
	room := buffers.Get().(*[]byte)
	defer buffers.Put(room)
	_, err := io.CopyBuffer(onlyWriter{w}, from, (*room)[:cap(*room)])
	return err
}

// onlyWriter hides ReadFrom, which would make io.CopyBuffer ignore the buffer.
type onlyWriter struct{ io.Writer }

// flusher sends each piece of a stream at once.
type flusher struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// Write is part of io.Writer.
func (f *flusher) Write(b []byte) (int, error) {
	// The error means that the server has no write deadline to extend.
	_ = f.control.SetWriteDeadline(time.Now().Add(streamTimeout))
	n, err := f.w.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}
