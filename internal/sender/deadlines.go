package sender

import (
	"sync"
	"time"
)

// deadlines keeps attempts from timing out at the same time. When thousands do, those of
// receivers that answer wait until all have ended. So no more than perMilli attempts have
// their deadline in one millisecond, as long as none gets more than a tenth of its timeout
// in addition.
type deadlines struct {
	mu    sync.Mutex
	zero  time.Time       // the start of the first millisecond; set by the first attempt
	slots [1 << 17]uint16 // attempts by the millisecond of their deadline, modulo
}

// perMilli leaves most of a processor: an attempt that times out costs about 0.2 ms, with
// its record, its connection and the attempt that follows.
const perMilli = 2

// maxDelay is the part of a timeout by which it may be exceeded.
const maxDelay = 10

// take returns the deadline of an attempt that begins now, and its slot for free.
func (d *deadlines) take(begin time.Time, timeout time.Duration) (deadline time.Time, slot int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.zero.IsZero() {
		d.zero = begin
	}
	deadline = begin.Add(timeout)
	first := int(deadline.Sub(d.zero).Milliseconds())
	best, least := 0, ^uint16(0)
	for delay := range int(timeout.Milliseconds())/maxDelay + 1 {
		n := d.slots[uint(first+delay)%uint(len(d.slots))]
		if n < least {
			best, least = delay, n
		}
		if n < perMilli {
			break
		}
	}
	slot = int(uint(first+best) % uint(len(d.slots)))
	d.slots[slot]++
	return deadline.Add(time.Duration(best) * time.Millisecond), slot
}

// free gives the slot of an attempt that has ended to others.
func (d *deadlines) free(slot int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots[slot]--
}
