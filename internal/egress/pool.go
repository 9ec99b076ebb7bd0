package egress

import (
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"

	"callbackd/internal/system"
)

// Limits of idle connections.
const (
	maxIdle        = 4096 // in all
	maxIdlePerHost = 256
	idleTimeout    = 90 * time.Second
	// keepAliveMargin is how much earlier than the receiver's Keep-Alive says
	// callbackd closes a connection.
	keepAliveMargin = time.Second
)

// poolKey identifies the receiver of a connection, and as whom callbackd speaks to it.
type poolKey struct{ scheme, addr, identity string }

// idlePool holds the idle connections of each receiver, the last used one last.
type idlePool struct {
	mu    sync.Mutex
	hosts map[poolKey][]*conn
	n     int
	timer *time.Timer // closes expired connections; nil when empty
}

// isExpired reports whether an idle connection must be closed.
func (c *conn) isExpired(now time.Time) bool {
	return now.Sub(c.idleSince) >= c.idleFor || !now.Before(c.retireAt)
}

// take returns a connection that is idle and open, or nil.
func (p *idlePool) take(key poolKey) *conn {
	for {
		c := p.pop(key)
		if c == nil {
			return nil
		}
		if !c.isExpired(time.Now()) && c.isSilent() {
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
	if !p.add(c) {
		c.close()
	}
}

func (p *idlePool) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n >= maxIdle || len(p.hosts[c.key]) >= maxIdlePerHost {
		return false
	}
	if p.hosts == nil {
		p.hosts = map[poolKey][]*conn{}
	}
	p.hosts[c.key] = append(p.hosts[c.key], c)
	p.n++
	if p.timer == nil {
		p.timer = time.AfterFunc(sweepEvery, p.expire)
	}
	return true
}

// sweepEvery is how often expired connections are closed.
const sweepEvery = idleTimeout / 6

// expire closes expired connections.
func (p *idlePool) expire() {
	now := time.Now()
	closeEach(p.remove(func(c *conn) bool { return c.isExpired(now) }))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	if p.n > 0 {
		p.timer = time.AfterFunc(sweepEvery, p.expire)
	}
}

// closeAll closes every connection, with the close notification of TLS.
func (p *idlePool) closeAll() {
	closeEach(p.remove(func(*conn) bool { return true }))
}

// remove removes and returns the chosen connections.
func (p *idlePool) remove(chosen func(*conn) bool) (out []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, list := range p.hosts {
		kept := list[:0]
		for _, c := range list {
			if chosen(c) {
				out = append(out, c)
			} else {
				kept = append(kept, c)
			}
		}
		clear(list[len(kept):])
		p.set(key, kept)
	}
	p.n -= len(out)
	return out
}

// closeEach closes connections in parallel: TLS writes a close notification, which may
// wait for a receiver that does not read.
func closeEach(conns []*conn) {
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(c.close)
	}
	all.Wait()
}

// isSilent reports whether nothing has arrived on an idle connection: neither its end nor an
// unrequested answer, which the next attempt would take for its own.
func (c *conn) isSilent() bool {
	if t, ok := c.Conn.(*tls.Conn); ok {
		// Bytes that TLS has buffered are returned in spite of the deadline.
		t.SetReadDeadline(pastDeadline)
		if n, err := t.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return c.raw == nil || system.IsSilent(c.raw)
}
