// Package memo is the small cache of the drivers.
package memo

// Cache holds the entries that were used most recently. It has two halves: when the
// recent half is full, the older half is dropped. So it holds at least half of max
// entries and at most max.
type Cache[K comparable, V any] struct {
	max           int
	recent, older map[K]V
}

// New returns a cache for at most max entries.
func New[K comparable, V any](max int) *Cache[K, V] {
	return &Cache[K, V]{max: max, recent: map[K]V{}}
}

// Get returns an entry.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	if v, ok := c.recent[k]; ok {
		return v, true
	}
	v, ok := c.older[k]
	if ok {
		c.Put(k, v)
	}
	return v, ok
}

// Put adds or replaces an entry.
func (c *Cache[K, V]) Put(k K, v V) {
	if len(c.recent) >= c.max/2 {
		c.older, c.recent = c.recent, make(map[K]V)
	}
	c.recent[k] = v
}

// Drop removes an entry.
func (c *Cache[K, V]) Drop(k K) {
	delete(c.recent, k)
	delete(c.older, k)
}
