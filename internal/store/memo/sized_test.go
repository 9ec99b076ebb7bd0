package memo_test

import (
	"testing"

	"callbackd/internal/store/memo"
)

// A cache of sizes never holds more than it may, and keeps most of what fits.
func TestSizedHoldsWhatFits(t *testing.T) {
	c := memo.NewSized[int](1000, func(size int) int { return size })
	held := func() (n, bytes int) {
		for k := range 500 {
			if v, ok := c.Get(k); ok {
				n, bytes = n+1, bytes+v
			}
		}
		return n, bytes
	}
	for k := range 100 {
		c.Put(k, 10)
	}
	if n, _ := held(); n != 100 {
		t.Errorf("%d entries are held, want all 100: they fit", n)
	}
	for k := range 500 {
		c.Put(k, 10)
	}
	if n, bytes := held(); n != 100 || bytes != 1000 {
		t.Errorf("%d entries with %d bytes are held, want 100 with 1000", n, bytes)
	}
	c.Put(1, 400)
	c.Put(1, 300)
	if n, bytes := held(); bytes > 1000 || n < 61 {
		t.Errorf("with a large entry, %d entries with %d bytes are held; want at least 61 with at most 1000", n, bytes)
	}
	if v, _ := c.Get(1); v != 300 {
		t.Errorf("the entry that was replaced is %d, want 300", v)
	}
	c.Put(2, 1001)
	if _, ok := c.Get(2); ok {
		t.Error("an entry that is larger than the cache is held")
	}
	for k := range 500 {
		c.Drop(k)
	}
	c.Put(3, 1000)
	if n, bytes := held(); n != 1 || bytes != 1000 {
		t.Errorf("after all others were dropped, %d entries with %d bytes are held; want 1 with 1000", n, bytes)
	}
}
