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
	"callbackd/internal/clock"
	"callbackd/wire"
)

// Options holds the options of a simulation.
type Options struct {
	Sessions int
	// Speed is how much faster than real time to play; 0 does not wait at all.
	Speed float64
	Odds
	Seed uint64
	// Progress, when set, gets the number of sessions that have been played and
	// of events that they fired. It is called from many goroutines.
	Progress func(played, events int)
}

// Result holds the result of a simulation, as the API shows it.
type Result struct {
	Statuses   map[callbackd.SessionStatus]int
	Events     map[callbackd.EventType]int
	Deliveries map[callbackd.State]int
	Abandoned  int // sessions that were abandoned as planned; they expire
	Took       time.Duration
}

// readers is how many goroutines read the results from the API.
const readers = 16

// wait waits as long as a real inspection would, divided by the speed.
func wait(ctx context.Context, d time.Duration, speed float64) error {
	if speed == 0 {
		return ctx.Err()
	}
	if !clock.Sleep(ctx, time.Duration(float64(d)/speed)) {
		return ctx.Err()
	}
	return nil
}

// Play plays one inspection. report, when set, is called for each step with the change
// that it made.
func (p *Plan) Play(ctx context.Context, cl *client.Client, speed float64, report func(key, step string, c wire.SessionChange)) (key string, err error) {
	s, err := cl.CreateSession(ctx, p.Session)
	if err != nil {
		return "", fmt.Errorf("create a session: %w", err)
	}
	if report != nil {
		report(s.SessionKey, "create", wire.SessionChange{SessionKey: s.SessionKey, Status: s.Status})
	}
	for _, step := range p.Steps {
		if err := wait(ctx, step.Wait, speed); err != nil {
			return s.SessionKey, err
		}
		c, err := step.do(ctx, cl, s.SessionKey)
		if err != nil {
			return s.SessionKey, fmt.Errorf("session %s, %s: %w", s.SessionKey, step.Name, err)
		}
		if report != nil {
			report(s.SessionKey, step.Name, c)
		}
	}
	return s.SessionKey, nil
}

// Run plays all sessions and reads their results from the API. It ends with the first
// call that fails.
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
				keys[i], err = plan.Play(ctx, cl, o.Speed, func(_, _ string, c wire.SessionChange) {
					events.Add(int64(len(c.Events)))
				})
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

// gather reads every session with its events, and reads those again that have pending
// deliveries, until none has or five seconds have passed.
func (r *Result) gather(ctx context.Context, cl *client.Client, keys []string) error {
	const patience, pause = 5 * time.Second, 100 * time.Millisecond
	sessions := make([]outcome, len(keys))
	deadline := time.Now().Add(patience)
	for {
		if err := each(keys, func(i int) (err error) {
			if !sessions[i].done {
				sessions[i], err = read(ctx, cl, keys[i])
			}
			return err
		}); err != nil {
			return err
		}
		done := true
		for i := range sessions {
			done = done && sessions[i].done
		}
		if done || time.Now().After(deadline) {
			break
		}
		if err := wait(ctx, pause, 1); err != nil {
			return err
		}
	}
	for _, s := range sessions {
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

// outcome is the result of one session.
type outcome struct {
	status     callbackd.SessionStatus
	events     map[callbackd.EventType]int
	deliveries map[callbackd.State]int
	done       bool // no delivery is pending
}

func read(ctx context.Context, cl *client.Client, key string) (outcome, error) {
	out := outcome{events: map[callbackd.EventType]int{}, deliveries: map[callbackd.State]int{}, done: true}
	s, err := cl.Session(ctx, key)
	if err != nil {
		return out, fmt.Errorf("read session %s: %w", key, err)
	}
	out.status = callbackd.SessionStatus(s.Status)
	for cursor := ""; ; {
		page, err := cl.SessionEvents(ctx, key, cursor)
		if err != nil {
			return out, fmt.Errorf("read the events of session %s: %w", key, err)
		}
		for _, ev := range page.Data {
			out.events[callbackd.EventType(ev.Event)]++
			for _, d := range ev.Deliveries {
				out.deliveries[callbackd.State(d.State)]++
				out.done = out.done && d.State != string(callbackd.Pending)
			}
		}
		if page.Next == nil {
			return out, nil
		}
		cursor = *page.Next
	}
}

// each calls f for each key, from several goroutines, and returns the first error.
func each(keys []string, f func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, readers)
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
