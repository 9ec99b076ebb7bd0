package front

import (
	"context"
	"net/http"
	"runtime"
	"sync"

	"callbackd"
)

// Kind is what a call costs.
type Kind int

// Kinds of calls. Each has its own limit for one visitor.
const (
	Write           Kind = iota // small answer: publishes, changes
	Read                        // an answer as large as a page
	Unauthenticated             // named an API key and proved nothing
	proxied                     // came over a trusted proxy; counted by address
)

// KindOf is what a call costs by its method. HEAD makes the same page as GET,
// and throws it away.
func KindOf(r *http.Request) Kind {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return Read
	}
	return Write
}

// Calls of one visitor that may be under way at a time.
const (
	MaxReads           = 64
	MaxUnauthenticated = 16
	// maxBuilding is how many answers are made at a time for all visitors.
	maxSlots = 8
)

// buildingOf is how many answers are made at a time for one visitor: they take
// half of the processors at most, so that the small calls of others, which
// come to the same processors, do not wait for them.
func slotsOf(who string, processors int) int {
	if who == Operator {
		return maxSlots
	}
	return min(max(1, processors/2), maxSlots/2)
}

// calls counts calls under way by visitor.
type calls struct {
	maxWrites    int // of Write
	maxByAddress int // of one address behind a trusted proxy
	mu           sync.Mutex
	active       map[callKey]int
}

type callKey struct {
	client string
	kind   Kind
}

// subject is who has the limit.
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

func (c *calls) begin(who string, k Kind) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == nil {
		c.active = map[callKey]int{}
	}
	key := callKey{who, k}
	if limit := c.limit(k); c.active[key] >= limit {
		return callbackd.Errorf(callbackd.KindLimited, "%d calls of this %s are under way, which is the limit; wait for their answers.", limit, k.subject())
	}
	c.active[key]++
	return nil
}

func (c *calls) end(who string, k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := callKey{who, k}
	if c.active[key]--; c.active[key] <= 0 {
		delete(c.active, key)
	}
}

// Operator is the name of the operator as a visitor; its bytes come from a
// reserve.
const Operator = "\x00operator" // no API key

// Enter counts a call of a visitor until its handler returns; Limited when
// too many are under way.
func BeginCall(r *http.Request, who string, k Kind) error {
	c := connOf(r)
	if c == nil {
		return nil
	}
	v := &c.request
	v.leaveCall(c.f)
	f := c.f
	if v.who != who { // what was taken so far moves with the name
		f.bodies.release(v.who, v.bodies)
		f.answers.release(v.who, v.answers)
		v.bodies, v.answers = 0, 0
	}
	v.who = who
	if who == Operator {
		return nil
	}
	if err := f.calls.begin(who, k); err != nil {
		f.refused.Add(1)
		return err
	}
	v.kind, v.entered = k, true
	return nil
}

// Waits says that a call waits for something to happen, under a limit of its
// own: it does not count among those under way any more.
func EndCall(r *http.Request) {
	if c := connOf(r); c != nil {
		c.request.leaveCall(c.f)
	}
}

// workshop limits how many large answers are made at a time. A visitor has
// few places, and so has its account whatever number of keys it has, so that
// one that asks for much does not stand before others.
type answerSlots struct {
	all chan struct{}
	mu  sync.Mutex
	of  map[string]*slots
}

// bench is the places of one visitor, or of one account.
type slots struct {
	users int
	seats chan struct{}
}

func (w *answerSlots) init() {
	w.all, w.of = make(chan struct{}, maxSlots), map[string]*slots{}
}

// take waits for a place: first among the calls of the visitor, then among the
// visitors of its account, then among all. So of each that is beside others
// few wait in a row.
func (w *answerSlots) take(ctx context.Context, who, account string) (done func(), err error) {
	leave, err := w.sit(ctx, who)
	if err != nil || who == Operator {
		return leave, err
	}
	leaveAccount, err := w.sit(ctx, "\x00account "+account) // no API key
	if err != nil {
		leave()
		return nil, err
	}
	select {
	case w.all <- struct{}{}:
		return func() { <-w.all; leaveAccount(); leave() }, nil
	case <-ctx.Done():
		leaveAccount()
		leave()
		return nil, busy(ctx)
	}
}

// sit waits for a place of one name.
func (w *answerSlots) sit(ctx context.Context, name string) (leave func(), err error) {
	w.mu.Lock()
	b := w.of[name]
	if b == nil {
		b = &slots{seats: make(chan struct{}, slotsOf(name, runtime.GOMAXPROCS(0)))}
		w.of[name] = b
	}
	b.users++
	w.mu.Unlock()
	forget := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if b.users--; b.users == 0 {
			delete(w.of, name)
		}
	}
	select {
	case b.seats <- struct{}{}:
		return func() { <-b.seats; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, busy(ctx)
	}
}

func busy(ctx context.Context) error {
	return callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "callbackd is busy; try again")
}

// Build waits until a large answer may be made for the visitor, whose API key
// is one of the account. The place is given back by [Built], or with the end of
// the handler.
func BeginAnswer(r *http.Request, account string) error {
	c := connOf(r)
	if c == nil || c.request.done != nil {
		return nil
	}
	done, err := c.f.slots.take(r.Context(), c.request.who, account)
	if err == nil {
		c.request.done = done
	}
	return err
}

// Built says that the answer is made and is on its way.
func EndAnswer(w http.ResponseWriter) {
	if c := connUnder(w); c != nil && c.request.done != nil {
		c.request.done()
		c.request.done = nil
	}
}
