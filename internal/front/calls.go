package front

import (
	"net/http"
	"sync"

	"callbackd"
)

// Kind is a class of calls with a common limit.
type Kind int

// Kinds of calls. Each has its own limit for one client.
const (
	Write           Kind = iota // small answer: publishing, changing
	Read                        // answer as large as a page
	Unauthenticated             // names an API key without a signature
	proxied                     // through a trusted proxy; counted by address
)

// KindOf returns the kind of a call by its method. HEAD counts as a read, because
// it builds the same page as GET.
func KindOf(r *http.Request) Kind {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return Read
	}
	return Write
}

// Limits of the active calls of one client.
const (
	MaxReads           = 64
	MaxUnauthenticated = 16
	// maxSlots is how many large answers are built at a time for all clients.
	maxSlots = 8
)

// slotsOf returns how many large answers are built at a time for one client. They
// use at most half of the processors, so that small calls of others do not wait.
func slotsOf(client string, processors int) int {
	if client == Operator {
		return maxSlots
	}
	return min(max(1, processors/2), maxSlots/2)
}

// calls counts the active calls of each client.
type calls struct {
	maxWrites    int // of one client
	maxByAddress int // behind a trusted proxy
	mu           sync.Mutex
	active       map[callKey]int
}

type callKey struct {
	client string
	kind   Kind
}

// subject returns what the limit belongs to, for messages.
func (k Kind) subject() string {
	if k == proxied {
		return "address"
	}
	return "API key"
}

func (c *calls) limit(k Kind) int {
	switch k {
	case Read:
		return MaxReads
	case Unauthenticated:
		return MaxUnauthenticated
	case proxied:
		return c.maxByAddress
	}
	return c.maxWrites
}

func (c *calls) begin(client string, k Kind) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == nil {
		c.active = map[callKey]int{}
	}
	key := callKey{client, k}
	if limit := c.limit(k); c.active[key] >= limit {
		return callbackd.Errorf(callbackd.KindLimited, "%d calls of this %s are active, which is the limit; wait for their answers.", limit, k.subject())
	}
	c.active[key]++
	return nil
}

func (c *calls) end(client string, k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := callKey{client, k}
	if c.active[key]--; c.active[key] <= 0 {
		delete(c.active, key)
	}
}

// Operator is the client name of the operator, who has a reserve.
const Operator = "\x00operator" // cannot be an API key

// BeginCall counts a call of a client until its handler returns. Its error is
// Limited when the client has too many active calls.
func BeginCall(r *http.Request, client string, k Kind) error {
	c := connOf(r)
	if c == nil {
		return nil
	}
	f, req := c.f, &c.request
	req.endCall(f)
	if req.client != client { // the bytes held so far do not belong to the new client
		f.bodies.release(req.client, req.bodies)
		f.answers.release(req.client, req.answers)
		req.bodies, req.answers = 0, 0
	}
	req.client = client
	if client == Operator {
		return nil
	}
	if err := f.calls.begin(client, k); err != nil {
		f.refused.Add(1)
		return err
	}
	req.kind, req.counted = k, true
	return nil
}

// EndCall ends the count of a call before its handler returns. Calls that wait for
// something to happen use it; they have a limit of their own.
func EndCall(r *http.Request) {
	if c := connOf(r); c != nil {
		c.request.endCall(c.f)
	}
}
