package front

import (
	"context"
	"net/http"
	"runtime"
	"sync"

	"callbackd"
)

// answerSlots limits how many large answers are built at a time. Each client has few
// slots. Its account has few too, however many API keys it has. So a client with many
// requests does not delay others.
type answerSlots struct {
	all    chan struct{}
	mu     sync.Mutex
	byName map[string]*slots
}

// slots holds the slots of one client or of one account.
type slots struct {
	users int
	busy  chan struct{}
}

func (s *answerSlots) init() {
	s.all, s.byName = make(chan struct{}, maxSlots), map[string]*slots{}
}

// acquire waits for a slot of the client, then for one of its account, then for one of
// all slots. So only a few answers of one account wait together with those of others.
func (s *answerSlots) acquire(ctx context.Context, client, account string) (release func(), err error) {
	releaseClient, err := s.acquireOf(ctx, client)
	if err != nil || client == Operator {
		return releaseClient, err
	}
	releaseAccount, err := s.acquireOf(ctx, "\x00account "+account) // cannot be an API key
	if err != nil {
		releaseClient()
		return nil, err
	}
	select {
	case s.all <- struct{}{}:
		return func() { <-s.all; releaseAccount(); releaseClient() }, nil
	case <-ctx.Done():
		releaseAccount()
		releaseClient()
		return nil, busy(ctx)
	}
}

// acquireOf waits for a slot of one client or account.
func (s *answerSlots) acquireOf(ctx context.Context, name string) (release func(), err error) {
	s.mu.Lock()
	own := s.byName[name]
	if own == nil {
		own = &slots{busy: make(chan struct{}, slotsOf(name, runtime.GOMAXPROCS(0)))}
		s.byName[name] = own
	}
	own.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(s.byName, name)
		}
	}
	select {
	case own.busy <- struct{}{}:
		return func() { <-own.busy; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, busy(ctx)
	}
}

func busy(ctx context.Context) error {
	return callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "callbackd is busy; try again")
}

// BeginAnswer waits until a large answer may be built for the client, whose API
// key belongs to the account. [EndAnswer], or the end of the handler, releases it.
func BeginAnswer(r *http.Request, account string) error {
	c := connOf(r)
	if c == nil || c.request.endAnswer != nil {
		return nil
	}
	release, err := c.f.slots.acquire(r.Context(), c.request.client, account)
	if err == nil {
		c.request.endAnswer = release
	}
	return err
}

// EndAnswer says that the answer is built and is being sent.
func EndAnswer(w http.ResponseWriter) {
	if c := connUnder(w); c != nil && c.request.endAnswer != nil {
		c.request.endAnswer()
		c.request.endAnswer = nil
	}
}
