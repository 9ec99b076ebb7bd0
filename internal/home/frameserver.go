package home

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"callbackd"
)

const (
	// maxIdleWorkers limits the memory of stacks after many calls at a time.
	maxIdleWorkers = 64
	// goodbyeTime is how long a node that stops waits for the other one to close a
	// connection without calls. Until then that node may not have read the goodbye.
	goodbyeTime = time.Second
)

// frameServer answers calls that another node sends over one connection.
type frameServer struct {
	*frameConn
	s      *Server
	node   callbackd.NodeID // that the other node means
	remote string
	ctx    context.Context // of the calls
	cancel context.CancelFunc
	ended  chan struct{} // closed after the last call
	work   chan framedCall
	all    sync.WaitGroup // workers

	mu    sync.Mutex
	calls map[uint64]context.CancelFunc
	idle  int // workers
}

// framedCall is a call that arrived.
type framedCall struct {
	ctx    context.Context
	cancel context.CancelFunc
	number uint64
	text   string
}

// serveFrames answers a request for frames, and then calls until the connection ends.
func (s *Server) serveFrames(from http.Hijacker, h hop, target, proof string) {
	conn, buffered, err := from.Hijack()
	if err != nil {
		return // the connection has ended
	}
	defer conn.Close()
	if buffered.Reader.Buffered() > 0 { // nothing may come before the keys are known
		return
	}
	if own, ok := conn.(*serverConn); ok {
		conn = own.Conn
	}
	nonce := rand.Text()
	calls, answers := frameKeys(h.signedWith, target, nonce, h.node)
	frames, err := newFrameConn(conn, conn, maxCallFrame, calls, answers)
	if err != nil {
		return
	}
	f := &frameServer{frameConn: frames, s: s, node: h.node, remote: conn.RemoteAddr().String(), ended: make(chan struct{}),
		work: make(chan framedCall), calls: map[uint64]context.CancelFunc{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	// The first call comes at once. A program that repeats the request of another node
	// does not have the keys, so it cannot send one.
	conn.SetDeadline(time.Now().Add(frameTimeout))
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: callbackd-frames\r\n"+
		proofHeader+": "+proof+"\r\n"+nonceHeader+": "+nonce+"\r\n\r\n"); err != nil {
		return
	}
	s.mu.Lock()
	s.frames[f] = true
	if s.leaving.Load() {
		f.sayGoodbye()
	}
	s.mu.Unlock()
	f.receive()
	s.mu.Lock()
	delete(s.frames, f)
	s.mu.Unlock()
}

// receive reads calls until the connection ends.
func (f *frameServer) receive() {
	defer close(f.ended)
	defer f.all.Wait()
	defer close(f.work)
	defer f.cancel()
	for first := true; ; first = false {
		text, err := f.read()
		if err == nil && first {
			err = f.SetReadDeadline(time.Time{})
		}
		if err == nil {
			err = f.take(text)
		}
		if err != nil {
			f.fail(err)
			return
		}
	}
}

// take handles a frame.
func (f *frameServer) take(text []byte) error {
	number, n := binary.Uvarint(text[1:])
	if n <= 0 {
		return errFrame
	}
	switch text[0] {
	case frameCancel:
		f.mu.Lock()
		defer f.mu.Unlock()
		if cancel := f.calls[number]; cancel != nil {
			cancel()
		}
		return nil
	case frameCall:
		return f.begin(number, string(text[1+n:]))
	}
	return errFrame
}

// begin gives a call to an idle worker, or to a new one.
func (f *frameServer) begin(number uint64, text string) error {
	ctx, cancel := context.WithCancel(f.ctx)
	f.mu.Lock()
	_, twice := f.calls[number]
	full := len(f.calls) >= maxCalls
	if !twice && !full {
		f.calls[number] = cancel
	}
	f.mu.Unlock()
	switch {
	case twice:
		cancel()
		return errFrame
	case full: // calls that were canceled may still be under way
		cancel()
		return f.reply(frameRefused, number)
	}
	c := framedCall{ctx, cancel, number, text}
	select {
	case f.work <- c:
	default:
		f.all.Go(func() { f.serveAll(c) })
	}
	return nil
}

// reply sends a frame without a text. The reader of calls uses it, so it does not wait.
func (f *frameServer) reply(kind byte, number uint64) error {
	_, err := f.send(appendFrame(nil, kind, number), false)
	return err
}

// serveAll answers a call, and then others on the same goroutine, whose stack has grown
// already.
func (f *frameServer) serveAll(c framedCall) {
	for ok := true; ok; {
		f.serve(c)
		f.mu.Lock()
		stay := f.idle < maxIdleWorkers
		if stay {
			f.idle++
		}
		f.mu.Unlock()
		if !stay {
			return
		}
		c, ok = <-f.work
		f.mu.Lock()
		f.idle--
		f.mu.Unlock()
	}
}

// serve answers one call.
func (f *frameServer) serve(c framedCall) {
	defer c.cancel()
	room := buffers.Get().(*[]byte)
	defer buffers.Put(room)
	w := &answerWriter{header: http.Header{}, out: (*room)[:0], number: c.number}
	f.answer(f.s.front.RelayContext(c.ctx, f.Conn), w, c.text)
	if cap(w.out) <= keptRoom {
		*room = w.out
	}
	_, err := f.send(w.out, true)
	f.mu.Lock()
	delete(f.calls, c.number)
	f.mu.Unlock()
	if err != nil {
		f.fail(err)
	}
}

// answer writes the frame that answers a call.
func (f *frameServer) answer(ctx context.Context, w *answerWriter, text string) {
	s := f.s
	call, ok := parseCall(text)
	at, err := url.ParseRequestURI(call.target)
	switch {
	case !ok || err != nil || !call.hop.isFresh(s.router.Now()):
		w.refuse(frameRefused)
		return
	case f.node != s.router.Self() || s.leaving.Load() || !s.router.Find(call.hop.key).Here:
		w.refuse(frameNotHome)
		return
	}
	r := (&http.Request{Method: call.method, URL: at, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: call.header, Body: http.NoBody,
		Host: call.host, RequestURI: call.target, RemoteAddr: f.remote}).WithContext(ctx)
	if call.body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(call.body)), int64(len(call.body))
	}
	defer func() {
		if v := recover(); v != nil {
			w.refuse(frameBroken)
			if v != http.ErrAbortHandler {
				s.logPanic(v)
			}
		}
	}()
	s.front.Relayed(w, r, s.here, call.hop.client, call.hop.secure)
	w.finish()
}

// sayGoodbye has the other node send no more calls. What it has sent is answered, or
// refused as not taken.
func (f *frameServer) sayGoodbye() {
	go f.reply(frameGoodbye, 0) // so that a node that reads nothing delays no other one
}

// endFrames waits for the calls under way, until ctx ends, and for the other nodes to
// close their connections.
func (s *Server) endFrames(ctx context.Context) {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.frames))
	s.mu.Unlock()
	for _, f := range open {
		f.waitEnd(ctx)
	}
}

// waitEnd waits for the end of the connection. A node that does not close one without
// calls has stopped itself, or does not read.
func (f *frameServer) waitEnd(ctx context.Context) {
	defer f.fail(http.ErrServerClosed)
	tick := time.NewTicker(lingerTime)
	defer tick.Stop()
	for quiet := time.Duration(0); quiet < goodbyeTime; quiet += lingerTime {
		select {
		case <-f.ended:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		if len(f.calls) > 0 {
			quiet = 0
		}
		f.mu.Unlock()
	}
}

// logPanic logs the panic of a handler, as http.Server does.
func (s *Server) logPanic(v any) {
	if s.http.ErrorLog != nil {
		s.http.ErrorLog.Printf("panic serving a call of another node: %v\n%s", v, debug.Stack())
	}
}

// answerWriter makes the frame that answers a call.
type answerWriter struct {
	number   uint64
	header   http.Header
	status   int
	out      []byte
	tooLarge bool
}

// Header is part of http.ResponseWriter.
func (w *answerWriter) Header() http.Header { return w.header }

// WriteHeader is part of http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if w.status != 0 || status < 200 { // an answer has one head
		return
	}
	w.status = status
	w.out = appendFrame(w.out[:0], frameAnswer, w.number)
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(status))
	w.out = appendFields(w.out, w.header)
}

// Write is part of http.ResponseWriter.
func (w *answerWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.tooLarge = w.tooLarge || len(w.out)+len(b) > maxFrame; w.tooLarge {
		return 0, errFrame
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// finish ends the answer when the handler has returned.
func (w *answerWriter) finish() {
	w.WriteHeader(http.StatusOK)
	if w.tooLarge || len(w.out) > maxFrame {
		w.refuse(frameBroken)
	}
}

// refuse makes the frame one that has no answer in it.
func (w *answerWriter) refuse(kind byte) { w.out = appendFrame(w.out[:0], kind, w.number) }
