package home

import (
	"context"
	"net/http"
	"sync"
	"time"

	"callbackd"
)

// callTimeout is how long a node may take to answer a call that it got in a frame. It is
// longer than any change takes: a test-send answers after a whole attempt.
const callTimeout = 2 * time.Minute

// frameClient sends calls to another node over one connection.
type frameClient struct {
	*frameConn
	peer *peer
	key  *nodeKey // that its frames are sealed with

	mu      sync.Mutex
	calls   map[uint64]waitingCall
	last    uint64 // number of a call
	leaving bool   // the node takes no more calls, or the connection has ended
}

// waitingCall is a call without an answer.
type waitingCall struct {
	answer chan string // has room for the one frame that answers; empty: there is none
	since  time.Time
}

// takeFrames returns the connection that carries frames to the node. It is nil when the
// node knows no frames, or while another call connects.
func (p *peer) takeFrames(ctx context.Context) (*frameClient, error) {
	p.used.Store(time.Now().UnixNano())
	p.mu.Lock()
	c, connects := p.frames, p.connects || p.noFrames
	switch {
	case p.state == away:
		p.mu.Unlock()
		return nil, errAway
	case c != nil || connects:
		p.mu.Unlock()
		return c, nil
	}
	p.connects = true
	p.dials++
	p.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, c, err := p.dialFrames(limited)
	if err != nil && ctx.Err() == nil { // the node failed; the caller did not give up
		p.setAway(err)
	}
	if l != nil {
		p.put(l)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connects = false
	p.dials--
	if p.state == away {
		err = errAway
	}
	switch {
	case err != nil:
		if c != nil {
			c.fail(err)
		}
	case c == nil:
		p.noFrames = true
	default:
		p.frames = c
		p.carriers[c] = true
		p.router.work.Go(c.receive)
	}
	return c, err
}

// forward has the node answer a call.
func (c *frameClient) forward(w http.ResponseWriter, r *http.Request, key callbackd.KeyID, b *body) result {
	number, answer, err := c.begin()
	if err != nil {
		return unreachable
	}
	defer c.end(number)
	room := buffers.Get().(*[]byte)
	*room = appendCall(appendFrame((*room)[:0], frameCall, number), c.peer.hop(r, key), r, b.start)
	frame, err := c.send(*room, false)
	buffers.Put(room)
	if err != nil {
		return unreachable
	}
	select {
	case text := <-answer:
		switch {
		case text != "":
			return passOnFrame(w, text)
		case !c.mayHaveSent(frame):
			return unreachable
		}
		c.cancel(number)
		return unanswered
	case <-r.Context().Done():
		c.cancel(number)
		panic(http.ErrAbortHandler)
	}
}

// cancel tells the node that an answer is not needed. When that cannot be sent, the node
// makes an answer that is dropped.
func (c *frameClient) cancel(number uint64) {
	_, _ = c.send(appendFrame(nil, frameCancel, number), false)
}

// passOnFrame gives the client the answer of the home.
func passOnFrame(w http.ResponseWriter, text string) result {
	p := parser{rest: text[1:]}
	p.uvarint() // the number of the call
	switch text[0] {
	case frameNotHome:
		return refused
	case frameRefused:
		return unreachable
	case frameBroken:
		return unanswered
	}
	status, header := p.uint16(), p.fields()
	if p.failed || status < 200 || status > 999 {
		return unanswered
	}
	h := w.Header()
	for name, values := range header {
		h[name] = values
	}
	w.WriteHeader(status)
	if p.rest == "" {
		return answered
	}
	if _, err := w.Write([]byte(p.rest)); err != nil {
		panic(http.ErrAbortHandler) // so that the client does not take a part for the whole
	}
	return answered
}

// begin gives a call its number.
func (c *frameClient) begin() (number uint64, answer <-chan string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return 0, nil, errAway
	}
	if len(c.calls) >= maxCalls {
		return 0, nil, errFull
	}
	c.last++
	own := make(chan string, 1)
	c.calls[c.last] = waitingCall{own, time.Now()}
	return c.last, own, nil
}

// end forgets a call. The last one of a node that stops closes the connection.
func (c *frameClient) end(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, number)
	c.closeLast()
}

// closeLast closes the connection when the node stops and no call is under way. c.mu is
// held.
func (c *frameClient) closeLast() {
	if c.leaving && len(c.calls) == 0 {
		c.fail(errAway)
	}
}

// answer gives a call its answer, if the call still waits for one.
func (c *frameClient) answer(number uint64, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call, ok := c.calls[number]; ok {
		delete(c.calls, number)
		call.answer <- text
		c.closeLast()
	}
}

// leave makes this connection take no more calls.
func (c *frameClient) leave() {
	c.peer.mu.Lock()
	if c.peer.frames == c {
		c.peer.frames = nil
	}
	c.peer.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.closeLast()
}

// receive reads answers until the connection ends.
func (c *frameClient) receive() {
	defer func() {
		c.leave()
		c.breakOff(func(waitingCall) bool { return true })
		c.peer.mu.Lock()
		defer c.peer.mu.Unlock()
		delete(c.peer.carriers, c)
	}()
	for {
		text, err := c.read()
		if err != nil {
			c.fail(err)
			return
		}
		c.peer.heard.Store(time.Now().UnixNano())
		if text[0] == frameGoodbye {
			c.leave()
			continue
		}
		frame := string(text)
		p := parser{rest: frame[1:]}
		c.answer(p.uvarint(), frame)
	}
}

// breakOff ends the chosen calls without an answer.
func (c *frameClient) breakOff(chosen func(waitingCall) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number, call := range c.calls {
		if chosen(call) {
			delete(c.calls, number)
			call.answer <- ""
		}
	}
	c.closeLast()
}

// expire ends calls that have been waiting for too long.
func (c *frameClient) expire(now time.Time) {
	c.breakOff(func(call waitingCall) bool { return now.Sub(call.since) > callTimeout })
}

// isWaiting reports whether a call is under way.
func (c *frameClient) isWaiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) > 0
}
