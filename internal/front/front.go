// Package front limits what clients of the server use: connections, memory for
// bodies and answers, and concurrent calls. It also finds out a client's address
// behind a proxy.
//
// Nothing is allocated in advance: memory grows with the bytes that arrive, and
// an idle connection can be closed for a new one. Every limit leaves a reserve:
// file descriptors for the sender and the store, and connections and memory for
// the operator.
package front

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/obs"
	"callbackd/internal/system"
)

// Defaults and bounds of [Options].
const (
	DefaultMaxConns = 8192
	minConns        = 16
	// memoryOfConn is the memory of a connection with an active request,
	// without its body and its answer, in bytes.
	memoryOfConn = 48 << 10
	minBudget    = 64 << 20
	maxBudget    = 1 << 30
)

// Options holds the options of a Front. The zero value has default limits.
type Options struct {
	// MaxConns is the largest number of connections; 0 stands for
	// DefaultMaxConns, or fewer when memory or descriptors are short.
	MaxConns int
	// Descriptors is how many file descriptors are reserved for the sender and
	// the store. At most half of the process's limit is reserved.
	Descriptors int
	// Memory is how many bytes the process may use; 0 when that is not known.
	Memory int64
	// Trusted are the address ranges of proxies whose headers name the client.
	Trusted []netip.Prefix
	Log     *slog.Logger
}

// Front holds the limits of one server and how much of them is used. Make it with
// [New].
type Front struct {
	options Options
	conns   conns
	calls   calls
	bodies  budget
	answers budget
	slots   answerSlots
	closed  atomic.Int64
	refused atomic.Int64
	limits  atomic.Pointer[limits]
}

// New makes a Front.
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
	o.Log = obs.Limit(o.Log, time.Minute, refusedWarning, connsWarning, filesWarning, descriptorsWarning)
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

// maxConns returns how many connections are allowed now. It reads the limit of
// file descriptors once a second, because that can change while the process runs.
func (f *Front) maxConns() int {
	now := time.Now().Unix()
	if l := f.limits.Load(); l != nil && l.at == now {
		return l.n
	}
	n := f.options.MaxConns
	if files := system.OpenFiles(); files < math.MaxInt32 {
		n = min(n, int(files)-min(f.options.Descriptors, int(files)/2))
	}
	n = max(n, minConns)
	f.limits.Store(&limits{now, n})
	return n
}

// limits holds the limit of connections at a time, in seconds since 1970.
type limits struct {
	at int64
	n  int
}

// Counts holds the figures of a Front for metrics.
type Counts struct {
	Connections, Closed, Refused int64
	BodyBytes, AnswerBytes       int64
}

// Counts returns the present figures.
func (f *Front) Counts() Counts {
	f.conns.mu.Lock()
	n := int64(f.conns.n)
	f.conns.mu.Unlock()
	return Counts{n, f.closed.Load(), f.refused.Load(), f.bodies.used(), f.answers.used()}
}

type connKey struct{}

// ConnContext adds the connection to the context of its requests. It is the
// ConnContext of the http.Server.
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

// Handler serves requests within the limits. essential tells which requests may
// use the operator's reserve, before it is known who makes them.
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
		out.extend() // for bytes that the server has not written yet
	})
}

func (f *Front) refuse(w http.ResponseWriter, err error) {
	f.refused.Add(1)
	f.options.Log.Warn(refusedWarning, "error", err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Retry-After", "1")
	h.Set("Connection", "close")
	w.WriteHeader(Status(err))
	json.NewEncoder(w).Encode(map[string]string{"message": callbackd.Sentence(err)})
}

// checkReserve returns an error when only the operator's reserve of connections
// is left.
func (c *conn) checkReserve() error {
	if c.onlyReserveLeft() {
		return callbackd.Errorf(callbackd.KindUnavailable, "callbackd serves as many requests as it can; try again later")
	}
	return nil
}

// Reserved returns an error when only the operator's reserve of connections is
// left. Requests of anybody else must then be refused.
func Reserved(r *http.Request) error {
	if c := connOf(r); c != nil {
		return c.checkReserve()
	}
	return nil
}

// Warnings that repeat while a limit is reached. Each is logged once a minute.
const (
	refusedWarning     = "requests are refused: a limit is reached"
	connsWarning       = "the limit of connections is reached; each new one closes the longest idle one"
	filesWarning       = "no more connections, to avoid too many open files; each new one closes the longest idle one. Raise LimitNOFILE or ulimit -n"
	descriptorsWarning = "too many open files: none is left for a new connection. Raise LimitNOFILE or ulimit -n"
)
