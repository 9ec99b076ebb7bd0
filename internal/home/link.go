package home

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"callbackd/internal/system"
)

// link is a connection to another node. It has one call at a time.
type link struct {
	net.Conn
	raw       syscall.RawConn
	in        *bufio.Reader
	idleSince time.Time
	reads     bool // the call changes nothing; guarded by the peer's mu
}

// keepAlive makes TCP notice a machine that is gone while a call waits for hours.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// dial connects to the node and makes it prove its identity. Another program may have its
// address by now, and must not see what clients send.
func (p *peer) dial(ctx context.Context) (*link, error) {
	l, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.prove(ctx, p); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (p *peer) connect(ctx context.Context) (*link, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, in: bufio.NewReaderSize(c, 4<<10)}
	if l.raw, err = c.(*net.TCPConn).SyscallConn(); err != nil {
		c.Close()
		return nil, err
	}
	return l, nil
}

// dialFrames connects to the node for frames. A node of a version without them takes the
// request for a ping: it proves itself too, and the connection is one for single calls.
func (p *peer) dialFrames(ctx context.Context) (*link, *frameClient, error) {
	l, err := p.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	target := framesPath + rand.Text()
	res, key, err := l.ask(ctx, p, target, target)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		return l, nil, nil
	}
	var frames *frameConn
	if err == nil {
		calls, answers := frameKeys(key, target, res.Header.Get(nonceHeader), p.node)
		frames, err = newFrameConn(l.Conn, l.in, maxFrame, answers, calls)
	}
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return nil, &frameClient{frameConn: frames, peer: p, key: key, calls: map[uint64]waitingCall{}}, nil
}

var (
	errStranger = errors.New("what answers there is not the node, or has another keyset or another time")
	errNotReady = errors.New("the node says that it is not ready")
)

// Paths of requests that are about the connection. A nonce follows. The number is the
// version of the frames.
const (
	pingPath   = "/ping/"
	framesPath = "/frames/1/"
)

// prove pings the node over this connection.
func (l *link) prove(ctx context.Context, p *peer) error {
	nonce := rand.Text()
	_, _, err := l.ask(ctx, p, pingPath+nonce, nonce)
	return err
}

// ask has the node prove over this connection that it is the node, and ready. It
// returns the key that both have.
func (l *link) ask(ctx context.Context, p *peer, target, nonce string) (*http.Response, *nodeKey, error) {
	deadline, _ := ctx.Deadline()
	l.SetDeadline(deadline)
	b := append([]byte("GET "), target...)
	b = append(b, " HTTP/1.1\r\nHost: node\r\n"+hopHeader+": "...)
	b = p.router.signer.header(b, hop{at: p.router.Now().Unix(), node: p.node}, http.MethodGet, target)
	b = append(b, "\r\n\r\n"...)
	if _, err := l.Write(b); err != nil {
		return nil, nil, err
	}
	res, err := http.ReadResponse(l.in, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, nil, err
	}
	key := p.router.signer.verify(proofText(nonce, p.node), res.Header.Get(proofHeader))
	switch {
	case key == nil:
		return nil, nil, errStranger
	case res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusSwitchingProtocols:
		return nil, nil, errNotReady
	}
	p.heard.Store(time.Now().UnixNano())
	return res, key, l.SetDeadline(time.Time{})
}

// isSilent reports whether nothing has arrived on an idle connection: neither its end nor
// an unexpected answer.
func (l *link) isSilent() bool {
	return system.IsSilent(l.raw) && l.in.Buffered() == 0
}
