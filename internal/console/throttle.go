package console

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"callbackd/internal/front"
)

// Wrong tries to sign in, for each address and for each API key: some at once,
// then one every few seconds. What is beyond that is told to wait. A right
// secret always passes: guessing one would take longer than the world lasts,
// and whoever knows an API key, or shares an address, could keep others out.
const (
	doorTries  = 10
	doorRefill = 3 * time.Second
	maxDoors   = 10_000
)

// throttle counts tries by name. When it has seen very many names it forgets
// those that are full again, and then everybody.
type throttle struct {
	mu    sync.Mutex
	doors map[string]door
}

type door struct {
	tries float64 // left
	at    time.Time
}

func (d door) left(now time.Time) float64 {
	return min(doorTries, d.tries+now.Sub(d.at).Seconds()/doorRefill.Seconds())
}

// enter takes a try from every name, or none and says how long to wait.
func (t *throttle) enter(now time.Time, names ...string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	left := make([]float64, len(names))
	for i, name := range names {
		left[i] = doorTries
		if d, ok := t.doors[name]; ok {
			left[i] = d.left(now)
		}
		if left[i] < 1 {
			wait = max(wait, time.Duration((1-left[i])*float64(doorRefill)).Truncate(time.Second)+time.Second)
		}
	}
	if wait > 0 {
		return wait
	}
	for i, name := range names {
		t.doors[name] = door{left[i] - 1, now}
	}
	return 0
}

func (t *throttle) forget(now time.Time) {
	if t.doors != nil && len(t.doors) < maxDoors {
		return
	}
	kept := map[string]door{}
	for name, d := range t.doors {
		if d.left(now) < doorTries && len(kept) < maxDoors/2 {
			kept[name] = d
		}
	}
	t.doors = kept
}

// refusals writes refused sign-ins to the log: the first at once, then at most
// one line in a while that says how many there were.
type refusals struct {
	mu    sync.Mutex
	next  time.Time
	since int // not said yet
}

const refusalsEach = 10 * time.Second

func (f *refusals) warn(now time.Time, log *slog.Logger, r *http.Request, as string, throttled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since++; now.Before(f.next) {
		return
	}
	log.Warn("sign-in to the console refused", "as", as, "from", front.ClientAddr(r), "told_to_wait", throttled, "tries", f.since)
	f.next, f.since = now.Add(refusalsEach), 0
}

// remote is whom a request comes from.
func remote(r *http.Request) string { return front.ClientNetwork(r) }
