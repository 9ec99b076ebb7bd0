package sender

import (
	"errors"
	"sync"

	"callbackd"
)

// minShared is the least size of an event's data for which attempts share a body, in
// bytes. For smaller data a separate body, in memory that is used again, is cheaper.
const minShared = 8 << 10

// bodies holds the bodies that are being sent. Callbacks with the same payload and fields share
// the body of an event, so that it is in memory once.
type bodies struct {
	mu   sync.Mutex
	sent map[bodyOf]*sharedBody
}

type bodyOf struct {
	event   callbackd.EventID
	fields  string
	payload string
}

type sharedBody struct {
	users int
	once  sync.Once
	body  []byte
	err   error
}

// smallBodies holds the memory of bodies of small data.
var smallBodies = sync.Pool{New: func() any { return new([]byte) }}

// maxSmallBody is the largest memory that is used again. A payload may be large.
const maxSmallBody = 2 * minShared

// of returns the body of an event with the chosen fields and a payload. The caller calls
// done when it no longer uses the body.
func (b *bodies) of(ev *callbackd.Event, fields *callbackd.Fields, payload []byte) (body []byte, done func(), err error) {
	if len(ev.Data) < minShared {
		room := smallBodies.Get().(*[]byte)
		body, err = appendBody((*room)[:0], chosen(ev, fields), payload)
		return body, func() {
			if cap(body) <= maxSmallBody {
				*room = body
			}
			smallBodies.Put(room)
		}, err
	}
	id := bodyOf{ev.ID, fields.String(), string(payload)}
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
		if !built { // Body panicked
			done()
		}
	}()
	s.once.Do(func() {
		s.err = errNotBuilt // for other users, when Body panics
		s.body, s.err = Body(ev, fields, payload)
	})
	built = true
	return s.body, done, s.err
}

var errNotBuilt = errors.New("the body could not be built")
