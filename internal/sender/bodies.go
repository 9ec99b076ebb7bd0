package sender

import (
	"errors"
	"sync"

	"callbackd"
)

// minShared is the size of an event's data from which on attempts share the
// body they send: below it a body of their own is cheaper.
const minShared = 8 << 10

// bodies is the bodies that are being sent. Callbacks with the same payload get
// the same body of an event, and it is in memory once.
type bodies struct {
	mu   sync.Mutex
	sent map[bodyOf]*sharedBody
}

type bodyOf struct {
	event   callbackd.EventID
	payload string
}

type sharedBody struct {
	users int
	once  sync.Once
	body  []byte
	err   error
}

// of returns the body of an event with a payload; done ends the use.
func (b *bodies) of(ev *callbackd.Event, payload []byte) (body []byte, done func(), err error) {
	if len(ev.Data) < minShared {
		body, err = Body(ev, payload)
		return body, func() {}, err
	}
	id := bodyOf{ev.ID, string(payload)}
	b.mu.Lock()
	s := b.sent[id]
	if s == nil {
		if b.sent == nil {
			b.sent = map[bodyOf]*sharedBody{}
		}
		s = &sharedBody{}
		b.sent[id] = s
	}
	s.users++
	b.mu.Unlock()
	done = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(b.sent, id)
		}
	}
	built := false
	defer func() {
		if !built { // it panics
			done()
		}
	}()
	s.once.Do(func() {
		s.err = errNotBuilt // for others, when it panics
		s.body, s.err = Body(ev, payload)
	})
	built = true
	return s.body, done, s.err
}

var errNotBuilt = errors.New("the body could not be built")
