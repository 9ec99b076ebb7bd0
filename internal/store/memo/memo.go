// Package memo is the small cache of the drivers.
package memo

// Cache keeps the most recently used of its entries, at least half of max
// and at most max: when the young half is full, the old half is dropped.
type Cache[K comparable, V any] struct {
	max        int
	young, old map[K]V
}

// New makes a cache for at most max entries.
func New[K comparable, V any](max int) *Cache[K, V] {
	return &Cache[K, V]{max: max, young: map[K]V{}}
}

// Get returns an entry.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.Put(k, v)
	}
	return v, ok
}

// Put keeps an entry.
func (c *Cache[K, V]) Put(k K, v V) {
	if len(c.young) >= c.max/2 {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[k] = v
}

// Drop forgets an entry.
func (c *Cache[K, V]) Drop(k K) {
	delete(c.young, k)
	delete(c.old, k)
}
