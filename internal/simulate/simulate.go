package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"
)

// Options of a simulation.
type Options struct {
	Sessions int
	// Speed is how much faster than real time it goes; 0: without waiting.
	Speed float64
	Odds
	Seed uint64
	// Progress, when set, is told how many sessions have been played, and how
	// many events the platform's calls fired. Calls come from many goroutines.
	Progress func(played, events int)
}

// Result is what a simulation left behind, as the API tells it.
type Result struct {
	Statuses   map[callbackd.SessionStatus]int
	Events     map[callbackd.EventType]int
	Deliveries map[callbackd.State]int
	Abandoned  int // planned to be; they expire
	Took       time.Duration
}

// atOnce bounds the calls under way when the API is asked what became of it.
const atOnce = 16

// wait passes the time of a real inspection.
func wait(ctx context.Context, d time.Duration, speed float64) error {
	if speed == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(float64(d) / speed))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Play plays one inspection. tell, when set, is told of each step and what it
// fired.
func (p *Plan) Play(ctx context.Context, cl *client.Client, speed float64, tell func(key, says string, c wire.SessionChange)) (key string, err error) {
	s, err := cl.CreateSession(ctx, p.Session)
	if err != nil {
		return "", fmt.Errorf("create a session: %w", err)
	}
	if tell != nil {
		tell(s.SessionKey, "create", wire.SessionChange{SessionKey: s.SessionKey, Status: s.Status})
	}
	for _, step := range p.Steps {
		if err := wait(ctx, step.Wait, speed); err != nil {
			return s.SessionKey, err
		}
		c, err := step.do(ctx, cl, s.SessionKey)
		if err != nil {
			return s.SessionKey, fmt.Errorf("session %s, %s: %w", s.SessionKey, step.Says, err)
		}
		if tell != nil {
			tell(s.SessionKey, step.Says, c)
		}
	}
	return s.SessionKey, nil
}

// Run plays all sessions and asks the API what became of them. The first
// call that fails ends it.
func Run(ctx context.Context, cl *client.Client, o Options) (*Result, error) {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keys := make([]string, o.Sessions)
	out := &Result{Statuses: map[callbackd.SessionStatus]int{}, Events: map[callbackd.EventType]int{}, Deliveries: map[callbackd.State]int{}}
	var played, events atomic.Int64
	var wg sync.WaitGroup
	for i := range keys {
		plan := New(rand.New(rand.NewPCG(o.Seed, uint64(i))), i, o.Odds)
		if plan.Abandoned {
			out.Abandoned++
		}
		wg.Go(func() {
			err := wait(ctx, plan.Arrives, o.Speed)
			if err == nil {
				keys[i], err = plan.Play(ctx, cl, o.Speed, func(_, _ string, c wire.SessionChange) { events.Add(int64(len(c.Events))) })
			}
			if err != nil {
				cancel(err)
				return
			}
			n := played.Add(1)
			if o.Progress != nil {
				o.Progress(int(n), int(events.Load()))
			}
		})
	}
	wg.Wait()
	out.Took = time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return out, out.gather(ctx, cl, keys)
}

// gather asks for every session and its story, and again for those whose
// deliveries are under way, until they are still.
func (r *Result) gather(ctx context.Context, cl *client.Client, keys []string) error {
	const patience, pause = 5 * time.Second, 100 * time.Millisecond
	stories := make([]story, len(keys))
	deadline := time.Now().Add(patience)
	for {
		if err := each(keys, func(i int) (err error) {
			if !stories[i].still {
				stories[i], err = tell(ctx, cl, keys[i])
			}
			return err
		}); err != nil {
			return err
		}
		still := true
		for i := range stories {
			still = still && stories[i].still
		}
		if still || time.Now().After(deadline) {
			break
		}
		if err := wait(ctx, pause, 1); err != nil {
			return err
		}
	}
	for _, s := range stories {
		r.Statuses[s.status]++
		for t, n := range s.events {
			r.Events[t] += n
		}
		for st, n := range s.deliveries {
			r.Deliveries[st] += n
		}
	}
	return nil
}

type story struct {
	status     callbackd.SessionStatus
	events     map[callbackd.EventType]int
	deliveries map[callbackd.State]int
	still      bool // nothing waits for its first attempt
}

func tell(ctx context.Context, cl *client.Client, key string) (story, error) {
	out := story{events: map[callbackd.EventType]int{}, deliveries: map[callbackd.State]int{}, still: true}
	s, err := cl.Session(ctx, key)
	if err != nil {
		return out, fmt.Errorf("read session %s: %w", key, err)
	}
	out.status = callbackd.SessionStatus(s.Status)
	for cursor := ""; ; {
		page, err := cl.SessionEvents(ctx, key, cursor)
		if err != nil {
			return out, fmt.Errorf("read the story of session %s: %w", key, err)
		}
		for _, ev := range page.Data {
			out.events[callbackd.EventType(ev.Event)]++
			for _, d := range ev.Deliveries {
				out.deliveries[callbackd.State(d.State)]++
				out.still = out.still && d.State != string(callbackd.Pending)
			}
		}
		if page.Next == nil {
			return out, nil
		}
		cursor = *page.Next
	}
}

// each calls f for each key, a few at once, and returns the first error.
func each(keys []string, f func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, atOnce)
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(keys) {
					return
				}
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
