package main

import (
	"context"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/signature"
	"callbackd/internal/store"
)

// own compares the CPU of an event of many sessions that share one callback with that of
// sessions that each have a callback of their own.
func (x *extremes) own() error {
	var s pair
	for i, each := range []bool{false, true} {
		f, err := x.fixture(fmt.Sprint("own", i))
		if err != nil {
			return err
		}
		step("%s sessions%s", humanize.Number(x.callbacks), map[bool]string{true: " with a callback each"}[each])
		if !each {
			err = f.callback(f.key.ID, callbackd.StatusChange, "default", x.sink.url)
		}
		if err == nil {
			err = f.firstOfSessions(x.callbacks, each, x.sink.url)
		}
		if err != nil {
			return err
		}
		p, cl, err := f.serve(x.server)
		if err != nil {
			return err
		}
		defer p.stop()
		step("an event of each session")
		if _, err := x.measure(p, x.callbacks, func() error {
			_, err := loadWith(x.callbacks, x.c, 0, singly(eventsPlace(cl), x.callbacks))
			return err
		}); err != nil {
			return err
		}
		s.p[i], s.to[i] = p, func() func(call) place { return singly(eventsPlace(cl), x.callbacks) }
	}
	return x.compareCPU(fmt.Sprintf("CPU an event of %s sessions, with one callback and with one for each session", humanize.Number(x.callbacks)), s)
}

// firstOfSessions stores the first event of n sessions, delivered. With each set, every
// event brings a callback for its session.
func (f *fixture) firstOfSessions(n int, each bool, url string) error {
	for i := 0; i < n; i += callbackd.MaxBatch {
		b := store.Batch{Key: f.key.ID, At: time.Now()}
		for j := i; j < min(n, i+callbackd.MaxBatch); j++ {
			ev := store.NewEvent{Type: callbackd.StatusChange, Session: sessionName(j), Data: []byte(`{"status":"PROCESS"}`)}
			if each {
				ev.Callback = &callbackd.Callback{URL: url, Method: "POST", Payload: []byte("{}"), Types: []callbackd.EventType{callbackd.StatusChange},
					Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}
			}
			b.Events = append(b.Events, ev)
		}
		evs, err := f.Accept(context.Background(), b)
		if err == nil {
			err = f.deliver(evs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
