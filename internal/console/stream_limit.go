package console

import (
	"sync"

	"callbackd"
)

// Limits of live streams that are open at the same time.
const (
	maxKeyStreams      = 8   // of one API key
	maxAllStreams      = 256 // of all API keys together
	maxOperatorStreams = 32  // of the operator, on top of those
)

// streamLimiter counts the live streams of each API key and of the operator, so
// that none can take the streams of others.
type streamLimiter struct {
	mu       sync.Mutex
	byKey    map[callbackd.KeyID]int // key 0 is the operator
	ofAnyKey int
}

// acquire counts a stream until release is called.
func (l *streamLimiter) acquire(p principal) (release func(), err error) {
	key, most := p.keyFilter(), maxKeyStreams
	if p.isOperator() {
		most = maxOperatorStreams
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[callbackd.KeyID]int{}
	}
	if l.byKey[key] >= most || key != 0 && l.ofAnyKey >= maxAllStreams {
		return nil, callbackd.Errorf(callbackd.KindLimited, "Too many live pages are open. Close some of them, or use the list of deliveries.")
	}
	l.add(key, 1)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.add(key, -1)
	}, nil
}

func (l *streamLimiter) add(key callbackd.KeyID, n int) {
	l.byKey[key] += n
	if l.byKey[key] == 0 {
		delete(l.byKey, key)
	}
	if key != 0 {
		l.ofAnyKey += n
	}
}
