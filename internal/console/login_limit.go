package console

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"callbackd/internal/front"

	"golang.org/x/time/rate"
)

// Wrong attempts to sign in are limited for each address and for each API key.
// The right secret always passes: it cannot be guessed within any limit, and
// whoever knows an API key or shares an address could otherwise keep others
// out.
const (
	loginBurst      = 10
	loginRefill     = 3 * time.Second // one more attempt
	maxLoginBuckets = 10_000
)

// loginLimiter limits wrong attempts by name. At maxLoginBuckets it forgets the
// names that have their full burst again, and then others.
type loginLimiter struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// take takes an attempt from each name. When one has none left, it takes none
// and returns how long to wait.
func (l *loginLimiter) take(now time.Time, names ...string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now)
	for _, name := range names {
		if l.buckets[name] == nil {
			l.buckets[name] = rate.NewLimiter(rate.Every(loginRefill), loginBurst)
		}
		if left := l.buckets[name].TokensAt(now); left < 1 {
			missing := time.Duration((1 - left) * float64(loginRefill))
			wait = max(wait, missing.Truncate(time.Second)+time.Second)
		}
	}
	if wait > 0 {
		return wait
	}
	for _, name := range names {
		l.buckets[name].AllowN(now, 1)
	}
	return 0
}

func (l *loginLimiter) forget(now time.Time) {
	if l.buckets != nil && len(l.buckets) < maxLoginBuckets {
		return
	}
	kept := map[string]*rate.Limiter{}
	for name, b := range l.buckets {
		if b.TokensAt(now) < loginBurst && len(kept) < maxLoginBuckets/2 {
			kept[name] = b
		}
	}
	l.buckets = kept
}

// refusalLog writes refused sign-ins to the log: the first at once, then one
// line with their number at most every refusalsEach.
type refusalLog struct {
	mu    sync.Mutex
	next  time.Time
	count int // since the last line
}

const refusalsEach = 10 * time.Second

func (l *refusalLog) warn(now time.Time, log *slog.Logger, r *http.Request, as string, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if now.Before(l.next) {
		return
	}
	log.Warn("sign-in to the console refused", "as", as, "from", front.ClientAddr(r), "limited", limited, "attempts", l.count)
	l.next, l.count = now.Add(refusalsEach), 0
}

// remote names the address of a request for a limit. An IPv6 /64 counts as one.
func remote(r *http.Request) string { return front.ClientNetwork(r) }
