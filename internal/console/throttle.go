package console

import (
	"net/http"
	"sync"
	"time"

	"callbackd/internal/front"
)

// Tries to sign in, for each address and for each API key: some at once,
// then one every few seconds. A try that was right costs nothing.
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

// leave gives the tries back.
func (t *throttle) leave(names ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if d, ok := t.doors[name]; ok {
			t.doors[name] = door{d.tries + 1, d.at}
		}
	}
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

// remote is whom a request comes from.
func remote(r *http.Request) string { return front.ClientGroup(r) }
