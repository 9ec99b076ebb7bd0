package egress

import (
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// Limits of connections that wait for their next use.
const (
	maxIdle        = 4096 // in all
	maxIdlePerHost = 256
	idleTimeout    = 90 * time.Second
)

// poolKey is who a connection speaks to.
type poolKey struct{ scheme, addr string }

// idlePool holds idle connections, the last used of a receiver on top.
type idlePool struct {
	mu    sync.Mutex
	hosts map[poolKey][]*conn
	n     int
	timer *time.Timer // closes what has waited too long; nil when empty
}

// take returns a connection that is idle and open, or nil.
func (p *idlePool) take(key poolKey) *conn {
	for {
		c := p.pop(key)
		if c == nil {
			return nil
		}
		if time.Since(c.idleSince) < idleTimeout && c.quiet() {
			return c
		}
		c.close()
	}
}

func (p *idlePool) pop(key poolKey) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.hosts[key]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	p.set(key, list[:len(list)-1])
	p.n--
	return c
}

func (p *idlePool) set(key poolKey, list []*conn) {
	if len(list) == 0 {
		delete(p.hosts, key)
		return
	}
	p.hosts[key] = list
}

func (p *idlePool) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n >= maxIdle || len(p.hosts[c.key]) >= maxIdlePerHost {
		c.Close()
		return
	}
	if p.hosts == nil {
		p.hosts = map[poolKey][]*conn{}
	}
	p.hosts[c.key] = append(p.hosts[c.key], c)
	p.n++
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTimeout, p.expire)
	}
}

// expire closes what has waited too long. The oldest of a receiver are at
// the bottom.
func (p *idlePool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for key, list := range p.hosts {
		i := 0
		for i < len(list) && now.Sub(list[i].idleSince) >= idleTimeout {
			list[i].Close()
			list[i] = nil
			i++
		}
		p.n -= i
		p.set(key, list[i:])
	}
	p.timer = nil
	if p.n > 0 {
		p.timer = time.AfterFunc(idleTimeout/3, p.expire)
	}
}

func (p *idlePool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.hosts {
		for _, c := range list {
			c.Close()
		}
	}
	p.hosts, p.n = nil, 0
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// quiet tells whether nothing has arrived on an idle connection: neither its
// end nor an answer nobody asked for, which the next attempt would take for
// its own.
func (c *conn) quiet() bool {
	raw := c.Conn
	if t, ok := raw.(*tls.Conn); ok {
		// What TLS has read already is answered before the deadline counts.
		t.SetReadDeadline(time.Unix(1, 0))
		if n, err := t.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		raw = t.NetConn()
	}
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && quiet
}
