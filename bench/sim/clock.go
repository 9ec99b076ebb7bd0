package sim

import (
	"context"
	"sync"
	"time"
)

// nodeClock is the clock of a node's machine, by which its member and its engine work.
// It is a cluster.Clock. Nothing that waits for it goes on while the node is frozen.
type nodeClock struct {
	n          *node
	rate       float64       // how fast it runs
	skew       time.Duration // how far the wall clock is ahead
	stoodStill time.Duration // how long the monotonic clock did so far
	stopped    bool          // the monotonic clock stands still
	stoppedAt  time.Duration
}

// monotonic returns the monotonic clock's time. The caller holds the world's mu.
func (c *nodeClock) monotonic() time.Time {
	now := c.n.w.now()
	if c.stopped {
		now = c.stoppedAt
	}
	return c.n.w.start.Add(time.Duration(float64(now-c.stoodStill) * c.rate))
}

// wall returns the wall clock's time. The caller holds the world's mu.
func (c *nodeClock) wall() time.Time {
	return c.n.w.start.Add(time.Duration(float64(c.n.w.now())*c.rate) + c.skew)
}

// stop makes the monotonic clock stand still. The caller holds the world's mu.
func (c *nodeClock) stop() { c.stopped, c.stoppedAt = true, c.n.w.now() }

// resume makes the monotonic clock run again. The caller holds the world's mu.
func (c *nodeClock) resume() {
	if c.stopped {
		c.stoodStill += c.n.w.now() - c.stoppedAt
		c.stopped = false
	}
}

// Now is part of cluster.Clock.
func (c *nodeClock) Now() time.Time {
	c.n.w.mu.Lock()
	defer c.n.w.mu.Unlock()
	return c.monotonic()
}

// Wall returns the wall clock's time.
func (c *nodeClock) Wall() time.Time {
	c.n.w.mu.Lock()
	defer c.n.w.mu.Unlock()
	return c.wall()
}

// Sleep is part of cluster.Clock.
func (c *nodeClock) Sleep(ctx context.Context, d time.Duration) bool {
	due, stop := c.Timer(d)
	defer stop()
	select {
	case <-due:
		return true
	case <-ctx.Done():
		return false
	}
}

// Timer is part of cluster.Clock.
func (c *nodeClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	due := make(chan time.Time, 1)
	stopped := make(chan struct{})
	end := c.Now().Add(d)
	c.n.w.work.Go(func() {
		for { // again when the clock stood still meanwhile
			left := end.Sub(c.Now())
			if left <= 0 {
				due <- end
				return
			}
			timer := time.NewTimer(time.Duration(float64(left)/c.rate) + 1)
			select {
			case <-timer.C:
				c.n.waitWhileFrozen()
			case <-stopped:
				timer.Stop()
				return
			}
		}
	})
	return due, sync.OnceFunc(func() { close(stopped) })
}

// WithTimeout is part of cluster.Clock.
func (c *nodeClock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(float64(d)/c.rate))
}
