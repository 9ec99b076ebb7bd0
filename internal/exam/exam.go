// Package exam examines a receiver: it sends what a receiver must cope with, and says what
// to mend. It sees the receiver's answers only, so it names what a person must look up in
// the receiver's own store.
package exam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/sender"
	"callbackd/internal/signature"
)

// Options say whom to examine.
type Options struct {
	URL     string
	Secret  string // "whsec_…", the one that the receiver verifies with
	Headers []callbackd.Header
	Event   callbackd.EventType // of all requests but the one with an unknown event
	Timeout time.Duration       // of one request
	// Policy says which addresses may be called.
	Policy  *egress.Policy
	Version string // of callbackd, for the User-Agent
	// Pause waits between two pieces of a body that is sent slowly. It returns false when
	// ctx ended.
	Pause func(ctx context.Context) bool
}

// Outcome is how a case ended.
type Outcome string

// The outcomes of a case.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // because the good callback failed
)

// Report is the result of an exam.
type Report struct {
	URL     string  `json:"url"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
	Cases   []*Case `json:"cases"`
}

// Case is one case of an exam, with everything that was sent for it.
type Case struct {
	Name     string    `json:"name"`
	Outcome  Outcome   `json:"outcome"`
	Requests []Request `json:"requests"`
	// Remedy says what to mend; empty when the case passed.
	Remedy string `json:"remedy,omitempty"`
	// Check says what a person must look up, because no answer shows it; empty when
	// nothing.
	Check string `json:"check,omitempty"`
}

// Request is one request of a case and what the receiver made of it.
type Request struct {
	Text    string        `json:"request"` // what is special about it
	Event   string        `json:"webhook_id"`
	Session string        `json:"session_key"`
	Expect  Expectation   `json:"expected"`
	Status  int           `json:"status"` // 0 when there was no answer
	Error   string        `json:"error,omitempty"`
	Time    time.Duration `json:"time_ns"`
}

// Expectation is what a receiver should answer.
type Expectation string

// The answers that are expected.
const (
	Accept Expectation = "2xx"
	Refuse Expectation = "4xx" // because the request does not come from callbackd
)

// Met reports whether the answer is as expected.
func (r *Request) Met() bool {
	if r.Expect == Accept {
		return r.Status/100 == 2
	}
	return r.Status/100 == 4
}

// Run examines a receiver. An error means that it could not be examined: an option is
// invalid, or no connection could be opened. When the good callback fails, the other
// cases are skipped: a receiver that refuses everything would pass some of them.
func Run(ctx context.Context, o Options) (*Report, error) {
	e, err := newExaminer(o)
	if err != nil {
		return nil, err
	}
	defer e.transport.CloseIdleConnections()
	if err := e.reach(ctx); err != nil {
		return nil, err
	}
	report := &Report{URL: o.URL}
	for i := range cases {
		t := &cases[i]
		c := &Case{Name: t.name, Outcome: Skipped, Requests: []Request{}}
		report.Cases = append(report.Cases, c)
		if i > 0 && report.Cases[0].Outcome != Passed {
			report.Skipped++
			continue
		}
		c.Requests, c.Outcome = t.run(ctx, e), Passed
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("the exam was interrupted: %w", err)
		}
		for j := range c.Requests {
			if !c.Requests[j].Met() {
				c.Outcome, c.Remedy = Failed, t.remedy
			}
		}
		if c.Outcome == Failed {
			report.Failed++
			continue
		}
		report.Passed++
		c.Check = t.check
	}
	return report, nil
}

// examiner sends the requests of an exam.
type examiner struct {
	Options
	transport *egress.Transport
	sender    *sender.Sender
	mu        sync.Mutex
	last      callbackd.EventID
}

func newExaminer(o Options) (*examiner, error) {
	if _, err := egress.ParseURL(o.URL); err != nil {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the receiver's %v", err)
	}
	if _, err := signature.ParseSecret(o.Secret); err != nil {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the secret is invalid: %v; give the signing secret that the receiver verifies with", err)
	}
	if o.Timeout == 0 {
		o.Timeout = callbackd.Policy{}.WithDefaults().Timeout
	}
	t := egress.NewTransport(egress.Options{Policy: o.Policy})
	return &examiner{Options: o, transport: t, sender: sender.New(t, o.Version, slog.New(slog.DiscardHandler)),
		// A second exam at the same moment must not send the same ids.
		last: callbackd.FirstEventID(time.Now()) + callbackd.EventID(rand.IntN(1<<20))}, nil
}

// reach opens a connection and closes it, because a receiver that is not there has not
// failed an exam.
func (e *examiner) reach(ctx context.Context) error {
	target, err := egress.ParseURL(e.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	c, err := e.transport.Connect(ctx, &egress.Request{URL: target}, new(egress.Trace))
	if refused, ok := errors.AsType[*egress.RefusedError](err); ok {
		return callbackd.Errorf(callbackd.KindSetting, "an exam calls this machine only, and %s is at %s. To examine a receiver elsewhere that is yours, allow its range: --allow-target %s/%d", refused.Host, refused.Addr.Addr(), refused.Addr.Addr(), refused.Addr.Addr().BitLen())
	}
	if err != nil {
		return fmt.Errorf("the receiver cannot be reached: %w; is it running at %s?", err, e.URL)
	}
	return c.Close()
}

// event returns a new event of a session, numbered within it.
func (e *examiner) event(session string, sequence int64, data []byte) *callbackd.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = callbackd.NextEventID(e.last, time.Now())
	return &callbackd.Event{ID: e.last, Type: e.Event, Session: session, Sequence: sequence, Data: data}
}

// callback returns a callback to the receiver whose requests are signed with secrets.
func (e *examiner) callback(secrets ...string) *callbackd.Callback {
	cb := &callbackd.Callback{ID: 1, Version: 1, Event: e.Event, Name: callbackd.DefaultName, URL: e.URL, Method: http.MethodPost, Headers: e.Headers, Payload: []byte("{}"), Policy: callbackd.Policy{Timeout: e.Timeout}}
	for _, s := range secrets {
		cb.Secrets = append(cb.Secrets, callbackd.SigningSecret{Value: callbackd.Secret(s)})
	}
	return cb
}

// deliver sends an event as callbackd does. The receiver should accept it.
func (e *examiner) deliver(ctx context.Context, text string, ev *callbackd.Event, attempt int) Request {
	return e.deliverSigned(ctx, text, ev, attempt, e.Secret)
}

// deliverSigned sends an event that several secrets sign.
func (e *examiner) deliverSigned(ctx context.Context, text string, ev *callbackd.Event, attempt int, secrets ...string) Request {
	res := e.sender.Send(ctx, e.callback(secrets...), ev, attempt)
	out := request(text, ev, Accept)
	out.Status, out.Time = res.Status, res.Timings.Total
	if !res.Success() {
		out.Error = res.Error
	}
	return out
}

func request(text string, ev *callbackd.Event, expect Expectation) Request {
	return Request{Text: text, Event: ev.ID.String(), Session: ev.Session, Expect: expect}
}
