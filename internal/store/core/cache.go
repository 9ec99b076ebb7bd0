package core

import (
	"bytes"
	"strings"
	"sync"
	"unsafe"

	"callbackd"
	"callbackd/internal/store/memo"
)

// Sizes of the cache. A callback takes about 750 bytes, so that 100,000 fit.
const (
	maxCallbackBytes = 96 << 20
	maxCachedKeys    = 1 << 16 // at least half of them are held
)

// cache holds keys and callbacks as they are stored. Its values are shared and
// never changed.
//
// After its commit a change drops the entries that it may have changed, also when the
// commit was not answered. [Driver.Refresh] drops what another process changed. The
// result of a read that overlaps a drop is not cached, because it may be from before the
// change.
type cache struct {
	mu        sync.Mutex
	drops     uint64 // counts drops of callbacks
	callbacks *memo.Sized[callbackd.CallbackID, *callbackd.Callback]
	keyDrops  uint64
	keys      *memo.Cache[string, *callbackd.Key]
	keysByID  *memo.Cache[callbackd.KeyID, *callbackd.Key]
}

func newCache() cache {
	return cache{
		callbacks: newCallbackCache(),
		keys:      memo.New[string, *callbackd.Key](maxCachedKeys),
		keysByID:  memo.New[callbackd.KeyID, *callbackd.Key](maxCachedKeys),
	}
}

func newCallbackCache() *memo.Sized[callbackd.CallbackID, *callbackd.Callback] {
	return memo.NewSized[callbackd.CallbackID](maxCallbackBytes, sizeOf)
}

// sizeOf estimates the bytes that a callback takes in memory.
func sizeOf(cb *callbackd.Callback) int {
	const fixed = 700        // the struct, the entry of the map, and what is allocated apart
	const parsed = 8         // bytes for each byte of a filter or of fields
	const signsIn = 16 << 10 // bytes of credentials at most
	n := fixed + len(cb.URL) + len(cb.Name) + len(cb.Payload) + parsed*(len(cb.Policy.Filter.String())+len(cb.Policy.Fields.String()))
	for _, h := range cb.Headers {
		n += int(unsafe.Sizeof(h)) + len(h.Name) + len(h.Value)
	}
	for _, s := range cb.Secrets[min(1, len(cb.Secrets)):] {
		n += int(unsafe.Sizeof(s)) + len(s.Value)
	}
	if cb.Policy.Auth != nil || cb.OldAuth.Auth != nil {
		n += signsIn
	}
	return n
}

// noPayload is shared by all callbacks without extra members.
var noPayload = []byte("{}")

// compact lets the texts of a callback that was just read share one piece of memory. The garbage
// collector visits each piece of each callback in the cache, of which there may be 100,000.
func compact(cb *callbackd.Callback) *callbackd.Callback {
	texts := []*string{&cb.Name, &cb.Session, &cb.URL, &cb.Method}
	for i := range cb.Secrets {
		texts = append(texts, (*string)(&cb.Secrets[i].Value))
	}
	size := 0
	for _, t := range texts {
		size += len(*t)
	}
	var all strings.Builder
	all.Grow(size)
	for _, t := range texts {
		at := all.Len()
		all.WriteString(*t)
		*t = all.String()[at:]
	}
	if bytes.Equal(cb.Payload, noPayload) {
		cb.Payload = noPayload
	}
	return cb
}

// DropCallbacks drops callbacks from the cache.
func (s *Store) DropCallbacks(ids ...callbackd.CallbackID) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.drops++
	for _, id := range ids {
		s.cache.callbacks.Drop(id)
	}
}

// CallbackProven notes that a callback is proven in one version, without a read from the
// database: each new callback comes to that.
func (s *Store) CallbackProven(id callbackd.CallbackID, version int64) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.drops++
	if cb, ok := s.cache.callbacks.Get(id); ok && cb.Version == version {
		proven := *cb
		proven.Proven = true
		s.cache.callbacks.Put(id, &proven)
	} else {
		s.cache.callbacks.Drop(id)
	}
}

// DropKeys drops all keys from the cache.
func (s *Store) DropKeys() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.keyDrops++
	s.cache.keys = memo.New[string, *callbackd.Key](maxCachedKeys)
	s.cache.keysByID = memo.New[callbackd.KeyID, *callbackd.Key](maxCachedKeys)
}

// DropAll drops the whole cache.
func (s *Store) DropAll() {
	s.DropKeys()
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.drops++
	s.cache.callbacks = newCallbackCache()
}

// callback returns a cached callback, and the count of drops to put it with.
func (c *cache) callback(id callbackd.CallbackID) (cb *callbackd.Callback, drops uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cb, ok = c.callbacks.Get(id)
	return cb, c.drops, ok
}

// putCallback caches a callback that was read after so many drops.
func (c *cache) putCallback(cb *callbackd.Callback, drops uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drops == drops {
		c.callbacks.Put(cb.ID, cb)
	}
}

// key returns a cached key by its text, or by its ID when that is not 0.
func (c *cache) key(apiKey string, id callbackd.KeyID) (k *callbackd.Key, drops uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id != 0 {
		k, ok = c.keysByID.Get(id)
	} else {
		k, ok = c.keys.Get(apiKey)
	}
	return k, c.keyDrops, ok
}

// putKey caches a key that was read after so many drops.
func (c *cache) putKey(k *callbackd.Key, drops uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keyDrops == drops {
		c.keys.Put(k.APIKey, k)
		c.keysByID.Put(k.ID, k)
	}
}
