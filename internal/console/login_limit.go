package console

import (
	"net/http"
	"time"

	"callbackd/internal/front"
)

// Wrong attempts to sign in are limited for each address and for each API key.
// The right secret always passes. It cannot be guessed within any limit, and otherwise
// anybody who knows an API key or shares an address could keep its owner from signing in.
const (
	loginBurst = 10
	loginRate  = 1.0 / 3 // a second
)

// takeAttempt counts a wrong attempt to sign in from the address of the request
// and with each of the names. When one of them has no attempt left, it counts
// nothing and returns how long to wait. as says in the log what was tried.
func (c *Console) takeAttempt(r *http.Request, as string, names ...string) (wait time.Duration) {
	wait = c.loginLimit.Take(c.now(), append(names, "from "+remote(r))...)
	c.logRefusal(r, as, wait > 0)
	return wait
}

const (
	refusedSignIn = "sign-in to the console refused"
	// refusalInterval is the shortest time between two log lines about refused
	// sign-ins.
	refusalInterval = 10 * time.Second
)

// logRefusal logs a refused sign-in. The console's log leaves out those that
// follow within refusalInterval, and counts them.
func (c *Console) logRefusal(r *http.Request, as string, limited bool) {
	c.Log.Warn(refusedSignIn, "as", as, "from", front.ClientAddr(r), "limited", limited)
}

// remote names the address of a request for a limit. An IPv6 /64 counts as one.
func remote(r *http.Request) string { return front.ClientNetwork(r) }
