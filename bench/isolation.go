package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
)

// isolation compares the latency of a healthy receiver alone with that while other
// receivers hang. The others have answered before, so callbackd has no reason to expect
// that they hang.
func (x *extremes) isolation() error {
	f, err := x.fixture("isolation")
	if err != nil {
		return err
	}
	bad, err := startSelf("sink", "-hosts", fmt.Sprint(x.hanging))
	if err != nil {
		return err
	}
	defer bad.stop()
	h := &hanging{x: x, f: f, sink: bad.url}
	err = f.callback(f.key.ID, callbackd.StatusChange, "default", x.sink.url)
	if err := errors.Join(err, h.callbacks()); err != nil {
		return err
	}
	p, cl, err := f.serve(x.server)
	if err != nil {
		return err
	}
	defer p.stop()
	h.p = p
	const rate = 500
	n := int(rate * x.isolationFor.Seconds())
	steady := func() (measured, error) {
		return x.measure(p, n, func() error {
			_, err := load(eventsPlace(cl), n, x.c, x.sessions, rate)
			return err
		})
	}
	if err := h.answer(); err != nil {
		return err
	}
	var alone, hung []measured
	for round := range rounds(x.rounds) {
		step("round %d of %d, alone", round+1, x.rounds)
		m, err := steady()
		if err != nil {
			return err
		}
		alone = append(alone, m)
		in, err := h.hang()
		if err != nil {
			return err
		}
		step("round %d of %d, with %d attempts that hang", round+1, x.rounds, in)
		if m, err = steady(); err != nil {
			return err
		}
		hung = append(hung, m)
		if err := h.release(); err != nil {
			return err
		}
	}
	figure := fmt.Sprintf("at %d/s, with %s receivers that hang: ", rate, humanize.Number(x.hanging))
	for _, r := range []struct {
		name string
		get  func(measured) time.Duration
	}{{"publish to arrival, p50", func(m measured) time.Duration { return m.p50 }}, {"publish to arrival, p99", func(m measured) time.Duration { return m.p99 }}} {
		a, b := of(alone, r.get), of(hung, r.get)
		printRow(figure+r.name, spread(a, humanize.Latency), spread(b, humanize.Latency), spread(ratios(b, a), ratioText))
	}
	return nil
}

// hanging has receivers that hang when they are told to, each with a host of its own.
type hanging struct {
	x    *extremes
	f    *fixture
	p    *process
	sink string
}

func hangingKey(i int) string { return fmt.Sprint("hanging", i) }

// keys returns the number of API keys that the callbacks take.
func (h *hanging) keys() int {
	return (h.x.hanging + callbackd.MaxCallbacks - 1) / callbackd.MaxCallbacks
}

// callbacks makes a callback for each receiver.
func (h *hanging) callbacks() error {
	left := h.x.hanging
	for k := range h.keys() {
		key, err := h.f.newKey(hangingKey(k))
		if err != nil {
			return err
		}
		for i := range min(left, callbackd.MaxCallbacks) {
			if err := h.f.callback(key.ID, callbackd.Complete, fmt.Sprint("c", i), hostURL(h.sink, k*callbackd.MaxCallbacks+i)); err != nil {
				return err
			}
		}
		left -= callbackd.MaxCallbacks
	}
	return nil
}

// publish publishes n events for each of the receivers.
func (h *hanging) publish(n int) error {
	return atOnce(n*h.keys(), h.x.c, func(i int) error {
		_, err := h.f.client(h.p, hangingKey(i/n)).Publish(context.Background(), client.NewEvent{Event: string(callbackd.Complete), SessionKey: sessionName(i % n), Data: json.RawMessage(`{}`)})
		return err
	})
}

// answer has each receiver answer once.
func (h *hanging) answer() error {
	if err := h.publish(1); err != nil {
		return err
	}
	return awaitArrivals(h.sink, h.x.hanging)
}

// hang makes the receivers hang, publishes 20 events for each, and returns the number
// of attempts that hang when there are no more of them.
func (h *hanging) hang() (int, error) {
	if _, err := asked(h.sink, "/?reset=1&hang=1"); err != nil {
		return 0, err
	}
	if err := errors.Join(h.command("resume"), h.publish(20)); err != nil {
		return 0, err
	}
	return h.awaitHanging(func(now, before int) bool { return now > 0 && now == before })
}

// release pauses the callbacks and has the receivers answer again.
func (h *hanging) release() error {
	if err := h.command("pause"); err != nil {
		return err
	}
	if _, err := asked(h.sink, "/?reset=1"); err != nil {
		return err
	}
	_, err := h.awaitHanging(func(now, before int) bool { return now == 0 && before == 0 })
	return err
}

// command pauses or resumes each callback.
func (h *hanging) command(name string) error {
	return atOnce(h.x.hanging, h.x.c, func(i int) error {
		path := fmt.Sprintf("/v1/callbacks/%s/%s?name=c%d", callbackd.Complete, name, i%callbackd.MaxCallbacks)
		return h.f.client(h.p, hangingKey(i/callbackd.MaxCallbacks)).Do(context.Background(), http.MethodPost, path, nil, nil)
	})
}

// awaitHanging waits until is returns true for the number of attempts that hang now and
// 500 ms before.
func (h *hanging) awaitHanging(is func(now, before int) bool) (int, error) {
	for before, deadline := -1, time.Now().Add(arrivalLimit); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		a, err := asked(h.sink, "/")
		if err != nil || is(a.Hanging, before) {
			return a.Hanging, err
		}
		before = a.Hanging
	}
	return 0, fmt.Errorf("the number of hanging attempts is not as expected within %v", arrivalLimit)
}
