package store

import (
	"math"
	"time"
)

// Latency counts durations in buckets whose bounds grow by the square root
// of two, from a millisecond to some three hours.
type Latency [latencyBuckets]uint32

const latencyBuckets = 48

// Add counts one duration.
func (l *Latency) Add(d time.Duration) { l[bucket(d)]++ }

func bucket(d time.Duration) int {
	if d <= time.Millisecond {
		return 0
	}
	n := int(math.Ceil(2 * math.Log2(float64(d)/float64(time.Millisecond))))
	return min(n, latencyBuckets-1)
}

// Merge adds the counts of other.
func (l *Latency) Merge(other *Latency) {
	for i, n := range other {
		l[i] += n
	}
}

// Count returns the number of durations.
func (l *Latency) Count() (n int64) {
	for _, c := range l {
		n += int64(c)
	}
	return n
}

// Quantile returns the quantile q, from 0 to 1, or 0 when nothing was counted. The
// result is the upper bound of a bucket, at most √2 times the true value.
func (l *Latency) Quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(l.Count())))
	if rank == 0 {
		rank = 1
	}
	for i, c := range l {
		if rank -= int64(c); c > 0 && rank <= 0 {
			return time.Duration(float64(time.Millisecond) * math.Pow(2, float64(i)/2)).Round(10 * time.Microsecond)
		}
	}
	return 0
}

// Counts are numbers that a column holds together. They are the argument and the
// destination of such a column.
type Counts []uint32

// Trimmed returns the counts up to the last one that is not 0.
func (c Counts) Trimmed() Counts {
	for len(c) > 0 && c[len(c)-1] == 0 {
		c = c[:len(c)-1]
	}
	return c
}

// Merge adds other to s.
func (s *Counters) Merge(other *Counters) {
	s.Delivered += other.Delivered
	s.Failed += other.Failed
	s.Canceled += other.Canceled
	s.Expired += other.Expired
	s.Attempts += other.Attempts
	s.Faults += other.Faults
	s.Repeats += other.Repeats
	s.Latency.Merge(&other.Latency)
	for i, n := range other.ByFault {
		s.ByFault[i] += n
	}
}
