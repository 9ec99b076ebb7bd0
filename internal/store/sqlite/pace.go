package sqlite

import "time"

// commitPace is how long after the beginning of a commit the next one begins at the
// earliest, when commands of several callers come one soon after the other. A commit costs
// about as much for three commands as for one.
const commitPace = 2 * time.Millisecond

// fullPace is how many commands are enough for a commit before its time.
const fullPace = 8

// pace has commits wait for more commands. One client that sends its commands one after
// the other gains nothing from it: when nothing came during a wait, the next waits are left
// out, more of them each time.
type pace struct {
	began   time.Time // the last commit
	without int       // how many commits begin without a wait
	vain    int       // how many that were after the last wait in vain
}

// gather waits until it is time to commit the first command of a group. It returns the
// group. An outcome that something waits for ends the wait.
func (q *queues) gather(group []*job) []*job {
	p := &q.pace
	first := group[0]
	wait := commitPace - time.Since(p.began)
	switch {
	case first.outcome, first.deferred, wait <= 0, len(q.jobs) >= fullPace:
	case p.without > 0:
		p.without--
	default:
		before := len(q.jobs)
		select {
		case <-time.After(wait):
		case j := <-q.outcomes:
			group = append(group, j)
		case <-q.full:
		case <-q.closing:
		}
		if len(q.jobs)+len(group) > before+1 {
			p.vain = 0
		} else {
			p.vain = min(2*p.vain+1, 63)
			p.without = p.vain
		}
	}
	p.began = time.Now()
	return group
}
