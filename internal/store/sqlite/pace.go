package sqlite

import "time"

// commitPace is the shortest time between the beginnings of two commits while several
// callers send commands in quick succession. A commit of three commands costs about as
// much as one of a single command.
const commitPace = 2 * time.Millisecond

// fullPace is how many waiting commands make a commit begin earlier.
const fullPace = 8

// pace delays commits so that more commands can join. A single client that sends its
// commands one after the other gains nothing from the delay. So after a wait in which no
// command came, the next commits do not wait: more of them after each such wait.
type pace struct {
	began   time.Time // the last commit
	without int       // how many of the next commits begin without a wait
	vain    int       // the value of without after the last wait in which no command came
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
