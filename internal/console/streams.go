package console

import (
	"sync"

	"callbackd"
)

// streams counts live pages, those of each API key and the operator's by
// themselves: nobody can take the places of others.
type streams struct {
	mu    sync.Mutex
	of    map[callbackd.KeyID]int // 0: the operator's
	byKey int                     // of all API keys
}

// enter takes a place until leave is called.
func (s *streams) enter(v *visit) (leave func(), err error) {
	key, most := callbackd.KeyID(0), operators
	if !v.operator() {
		key, most = v.key.ID, maxStreams
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[callbackd.KeyID]int{}
	}
	if s.of[key] >= most || key != 0 && s.byKey >= allStreams {
		return nil, callbackd.Errorf(callbackd.KindLimited, "Too many live pages are open; close some, or look at the list.")
	}
	s.count(key, 1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count(key, -1)
	}, nil
}

func (s *streams) count(key callbackd.KeyID, n int) {
	if s.of[key] += n; s.of[key] == 0 {
		delete(s.of, key)
	}
	if key != 0 {
		s.byKey += n
	}
}
