package sqlite

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxGroup bounds the commands that share a commit, and with it the time a
// command waits and the memory a group holds.
const maxGroup = 512

// minOutcomes is how many outcomes a group takes whatever else is in it. More join only
// when there are half as many other commands. So a thousand attempts that time out at
// once do not keep an event waiting until all of them are recorded.
const minOutcomes = 64

// outcomeWait is how long an outcome that can wait stays in its queue for another command
// whose commit it can share.
const outcomeWait = 5 * time.Millisecond

// queues brings commands to the writer. They are channels, which need no lock.
type queues struct {
	jobs     chan *job
	outcomes chan *job     // outcomes that something waits for
	patient  chan *job     // outcomes that can wait
	full     chan struct{} // takes a value when the writer waits and many jobs have come
	wake     chan struct{} // gets a value when the patient outcomes have waited long enough
	timed    atomic.Bool   // a timer runs that will wake the writer

	pace pace // used by the writer only

	closing    chan struct{} // closed by Close
	closeOnce  sync.Once
	writerDone chan struct{} // closed when the writer has ended
}

func newQueues() queues {
	return queues{
		jobs: make(chan *job, maxGroup), outcomes: make(chan *job, maxGroup), patient: make(chan *job, maxGroup),
		wake: make(chan struct{}, 1), full: make(chan struct{}), closing: make(chan struct{}), writerDone: make(chan struct{}),
	}
}

// of returns the queue that a job belongs in.
func (q *queues) of(j *job) chan *job {
	switch {
	case !j.outcome:
		return q.jobs
	case j.canWait:
		return q.patient
	}
	return q.outcomes
}

// queued is called after a job was added to its queue. It wakes the writer when the
// waiting jobs must not wait longer.
func (q *queues) queued(j *job) {
	switch {
	case !j.outcome && len(q.jobs) == fullPace:
		select {
		case q.full <- struct{}{}:
		default:
		}
	case !j.canWait:
	case len(q.patient) >= minOutcomes:
		q.wakeWriter()
	case !q.timed.Swap(true):
		time.AfterFunc(outcomeWait, func() {
			q.timed.Store(false)
			q.wakeWriter()
		})
	}
}

// rest wakes the writer for patient jobs that the last group had no room for.
func (q *queues) rest() {
	if len(q.patient) > 0 && !q.timed.Load() {
		q.wakeWriter()
	}
}

func (q *queues) wakeWriter() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next returns a waiting job, if there is one. It first lets goroutines run that
// are about to bring one, because a commit costs the same for one as for many.
// On an idle machine that costs nothing.
func (q *queues) next(group []*job) *job {
	outcomes := 0
	for _, j := range group {
		if j.outcome {
			outcomes++
		}
	}
	order := [3]chan *job{q.jobs, q.outcomes, q.patient}
	switch others := len(group) - outcomes; {
	case outcomes >= max(minOutcomes, 2*others):
		order[1], order[2] = nil, nil
	case outcomes < others/2: // outcomes come first when the group has few of them
		order = [3]chan *job{q.outcomes, q.patient, q.jobs}
	}
	for range 2 {
		for _, queue := range order {
			select {
			case j := <-queue:
				return j
			default:
			}
		}
		runtime.Gosched()
	}
	return nil
}
