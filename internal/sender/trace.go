package sender

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"callbackd"
)

// trace collects the timings of one exchange. The transport may call it from
// a dial that outlives the exchange, hence the lock.
type trace struct {
	mu                sync.Mutex
	start             time.Time
	dns, connect, tls time.Time
	t                 callbackd.Timings
	address           string
	reused            bool
}

func (t *trace) locked(f func(now time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(time.Now())
}

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { t.locked(func(now time.Time) { t.dns = now }) },
		DNSDone:  func(httptrace.DNSDoneInfo) { t.locked(func(now time.Time) { t.t.DNS = now.Sub(t.dns) }) },
		ConnectStart: func(_, addr string) {
			t.locked(func(now time.Time) { t.connect, t.address = now, addr })
		},
		ConnectDone: func(_, _ string, _ error) {
			t.locked(func(now time.Time) { t.t.Connect = now.Sub(t.connect) })
		},
		TLSHandshakeStart: func() { t.locked(func(now time.Time) { t.tls = now }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			t.locked(func(now time.Time) { t.t.TLS = now.Sub(t.tls) })
		},
		GotConn: func(i httptrace.GotConnInfo) {
			t.locked(func(time.Time) { t.address, t.reused = i.Conn.RemoteAddr().String(), i.Reused })
		},
		GotFirstResponseByte: func() {
			t.locked(func(now time.Time) { t.t.FirstByte = now.Sub(t.start) })
		},
	}
}

func (t *trace) into(res *callbackd.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	res.Timings, res.Address, res.Reused = t.t, t.address, t.reused
	if t.reused { // a dial that lost the race to a returned connection
		res.Timings.DNS, res.Timings.Connect, res.Timings.TLS = 0, 0, 0
	}
}
