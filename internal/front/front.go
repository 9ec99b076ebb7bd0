// Package front bounds what visitors consume before and while a handler works
// for them: connections, bytes of bodies and answers in memory, and calls
// under way. It also says who a visitor is when a proxy stands between.
//
// Nothing is paid for in advance: memory grows with the bytes that arrive, and
// what a silent visitor holds can be taken back. Every bound leaves a reserve:
// descriptors for the sender and the store, connections and bytes for the
// operator.
package front

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"callbackd"
)

// Defaults and bounds of [Options].
const (
	DefaultMaxConns = 8192
	minConns        = 16
	// memoryOfConn is what a connection with a request under way costs in
	// memory, without its body and its answer.
	memoryOfConn = 48 << 10
	minBudget    = 64 << 20
	maxBudget    = 1 << 30
)

// Options of a Front. The zero value has every limit at its default.
type Options struct {
	// MaxConns is the most connections at a time; 0: DefaultMaxConns, or
	// fewer where memory or descriptors are short.
	MaxConns int
	// Descriptors are left to the sender and the store; at most half of
	// those that the process may have.
	Descriptors int
	// Memory is what the process may use, in bytes; 0: not known.
	Memory int64
	// Trusted are the addresses of proxies whose word about visitors counts.
	Trusted []netip.Prefix
	Log     *slog.Logger
}

// Front holds the limits of one server.
type Front struct {
	options Options
	conns   conns
	calls   calls
	bodies  budget
	answers budget
	slots   answerSlots
	closed  atomic.Int64
	refused atomic.Int64
	warner  warner
	limits  atomic.Pointer[limits]
}

// New makes the limits.
func New(o Options) *Front {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
		if o.Memory > 0 {
			o.MaxConns = int(min(DefaultMaxConns, max(minConns, o.Memory/memoryOfConn)))
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Front{options: o}
	// A quarter each for bodies and answers; half of that for one key.
	total := int64(maxBudget)
	if o.Memory > 0 {
		total = min(maxBudget, max(minBudget, o.Memory/4))
	}
	f.bodies = budget{total: total, share: total / 2, name: "bodies"}
	f.answers = budget{total: total, share: total / 2, name: "answers"}
	f.calls.maxWrites, f.calls.maxByAddress = max(minConns, o.MaxConns/8), max(minConns, o.MaxConns/4)
	f.conns.f = f
	f.slots.init()
	return f
}

// limit is how many connections there may be now. The limit of descriptors is
// asked each second: it can be changed while the process runs.
func (f *Front) maxConns() int {
	now := time.Now().Unix()
	if l := f.limits.Load(); l != nil && l.at == now {
		return l.n
	}
	n := f.options.MaxConns
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil && r.Cur < math.MaxInt32 {
		n = min(n, int(r.Cur)-min(f.options.Descriptors, int(r.Cur)/2))
	}
	n = max(n, minConns)
	f.limits.Store(&limits{now, n})
	return n
}

// limits is the limit of connections as it was at a second.
type limits struct {
	at int64
	n  int
}

// Counts are the figures of a Front for metrics.
type Counts struct {
	Connections, Closed, Refused int64
	BodyBytes, AnswerBytes       int64
}

// Counts returns the figures as they are now.
func (f *Front) Counts() Counts {
	f.conns.mu.Lock()
	n := int64(f.conns.n)
	f.conns.mu.Unlock()
	return Counts{n, f.closed.Load(), f.refused.Load(), f.bodies.used(), f.answers.used()}
}

type connKey struct{}

// ConnContext makes a connection known to the requests on it; for http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		switch u := c.(type) {
		case *conn:
			return context.WithValue(ctx, connKey{}, u)
		case interface{ NetConn() net.Conn }:
			c = u.NetConn()
		default:
			return ctx
		}
	}
}

// connOf returns the connection of a request; nil in a server without a Front.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// Handler serves requests within the limits. essential tells which requests
// may use the operator's reserve before it is known who makes them.
func (f *Front) Handler(h http.Handler, essential func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOf(r)
		if c == nil {
			h.ServeHTTP(w, r)
			return
		}
		err := c.begin(r)
		defer c.end()
		if err == nil && !essential(r) {
			err = c.checkReserve()
		}
		if err != nil {
			f.refuse(w, err)
			return
		}
		out := &writer{ResponseWriter: w, c: c}
		h.ServeHTTP(out, r)
		out.extend() // for what the server has not written yet
	})
}

func (f *Front) refuse(w http.ResponseWriter, err error) {
	f.refused.Add(1)
	f.warner.warn(f.options.Log, "requests are refused: too many are under way", "error", err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Retry-After", "1")
	h.Set("Connection", "close")
	status := http.StatusServiceUnavailable
	if callbackd.KindOf(err) == callbackd.KindLimited {
		status = http.StatusTooManyRequests
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": strings.TrimSuffix(err.Error(), ".") + "."})
}

// reserved fails when only the operator's reserve of connections is left.
func (c *conn) checkReserve() error {
	if c.onlyReserveLeft() {
		return callbackd.Errorf(callbackd.KindUnavailable, "callbackd serves as many requests as it can; try again")
	}
	return nil
}

// Reserved fails when only the operator's reserve is left, so that a request
// of anybody else is to be refused.
func Reserved(r *http.Request) error {
	if c := connOf(r); c != nil {
		return c.checkReserve()
	}
	return nil
}

// quiet lets a message through once a minute.
type warner struct {
	mu   sync.Mutex
	next time.Time
	left int
}

func (q *warner) warn(log *slog.Logger, message string, args ...any) {
	q.mu.Lock()
	now := time.Now()
	if now.Before(q.next) {
		q.left++
		q.mu.Unlock()
		return
	}
	left := q.left
	q.next, q.left = now.Add(time.Minute), 0
	q.mu.Unlock()
	log.Warn(message, append(args, "not_said", left)...)
}
