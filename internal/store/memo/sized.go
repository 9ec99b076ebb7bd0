package memo

// Sized holds as many entries as fit into a number of bytes. When there is no room, it
// drops entries at random: with a few more entries in use than fit, most of them stay,
// whatever the order in which they are used.
type Sized[K comparable, V any] struct {
	max, used int
	size      func(V) int
	entries   map[K]V
}

// NewSized returns a cache for at most max bytes. size returns the bytes of an entry, which
// must not change while the entry is in the cache.
func NewSized[K comparable, V any](max int, size func(V) int) *Sized[K, V] {
	return &Sized[K, V]{max: max, size: size, entries: map[K]V{}}
}

// Get returns an entry.
func (c *Sized[K, V]) Get(k K) (V, bool) {
	v, ok := c.entries[k]
	return v, ok
}

// Put adds or replaces an entry. One that is larger than the cache is not kept.
func (c *Sized[K, V]) Put(k K, v V) {
	c.Drop(k)
	n := c.size(v)
	if n > c.max {
		return
	}
	for other := range c.entries { // begins anywhere
		if c.used+n <= c.max {
			break
		}
		c.Drop(other)
	}
	c.entries[k] = v
	c.used += n
}

// Drop removes an entry.
func (c *Sized[K, V]) Drop(k K) {
	if v, ok := c.entries[k]; ok {
		c.used -= c.size(v)
		delete(c.entries, k)
	}
}
