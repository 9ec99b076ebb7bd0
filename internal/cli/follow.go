package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
	"callbackd/internal/sender"
	"callbackd/internal/signature"
	"callbackd/wire"
)

// listenPurpose is what the signing secret of listen is derived for.
const listenPurpose = "callbackd listen"

// settingsFor is how long the setting of a callback is used before the server is asked again.
const settingsFor = 2 * time.Second

// follower sends the events of a server to a local program.
type follower struct {
	*listenCmd
	api     *client.Client
	sender  *sender.Sender
	secret  callbackd.Secret
	out     io.Writer
	colours bool

	mu       sync.Mutex // held while an event is sent
	last     *wire.Event
	attempt  int // of the last event
	settings map[string]localSetting
	noted    map[callbackd.CallbackID]bool
}

// localSetting is the callback for an event type, as a local program gets its requests.
type localSetting struct {
	callback *callbackd.Callback
	known    bool // the server has one; otherwise it has the defaults
	note     string
	at       time.Time
}

// follow follows the server until the command is stopped.
func (c *listenCmd) follow(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	since, err := pointInTime("--since", c.Since, time.Now())
	if err != nil {
		return err
	}
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	f := &follower{listenCmd: c, api: api, out: e.stdout, colours: !c.JSON && hasColours(e.stdout),
		secret:   callbackd.Secret(signature.DeriveSecret(c.Secret, listenPurpose)),
		sender:   sender.New(egress.NewTransport(egress.Options{Policy: egress.NewPolicy(everywhere)}), app.Version, slog.New(slog.DiscardHandler)),
		settings: map[string]localSetting{}, noted: map[callbackd.CallbackID]bool{}}
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	restore, keys := readKeys(func(key byte) {
		if key == 'r' {
			f.resend(ctx)
		}
	}, stop)
	defer restore()
	if keys && isTerminal(e.stdout) {
		f.out = rawLines{e.stdout}
	}
	q := client.Stream{After: cursorBefore(since), Open: f.opened(keys), Interrupted: f.interrupted}
	if len(c.Event) == 1 {
		q.Event = c.Event[0]
	}
	err = api.FollowEvents(ctx, q, func(m client.StreamMessage) error {
		if m.Event == nil {
			return f.say(yellow, "note: "+m.Text)
		}
		return f.take(ctx, m.Event)
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", c.Server, err)
	}
	return nil
}

// opened returns what is called when the stream is open: the first time, it says what happens.
func (f *follower) opened(keys bool) func() {
	first := true
	return func() {
		if !first {
			f.note("connected again")
			return
		}
		first = false
		to := "nowhere (give --forward to send to a program)"
		if f.Forward != "" {
			to = f.Forward
		}
		f.note(fmt.Sprintf("following %s, forwarding to %s", f.Server, to))
		f.note("signing secret, the same each time: " + f.secret.Reveal())
		if keys {
			f.note("press r to send the last event again, Ctrl-C to stop")
		}
	}
}

func (f *follower) interrupted(err error, wait time.Duration) {
	f.note(fmt.Sprintf("the stream of %s ended: %v; connecting again in %s, nothing is lost", f.Server, err, humanize.Duration(wait)))
}

// note prints what is not about one event. With --json there are only events on standard output.
func (f *follower) note(text string) {
	if !f.JSON {
		_ = f.say(grey, text) // the next line of an event meets the same error
	}
}

// say prints a line in a colour.
func (f *follower) say(colour, text string) error {
	if f.JSON {
		return nil
	}
	if !f.colours {
		colour = noColour
	}
	_, err := io.WriteString(f.out, coloured(colour, safetext.Replace(text))+"\n")
	return err
}

// take sends a new event, when it is wanted.
func (f *follower) take(ctx context.Context, ev *wire.Event) error {
	if !f.wants(ev.Event) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.attempt = ev, 1
	return f.forward(ctx, ev)
}

// resend sends the last event again.
func (f *follower) resend(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.note("there is no event yet")
		return
	}
	f.attempt++
	if err := f.forward(ctx, f.last); err != nil {
		f.note(err.Error())
	}
}

// forward sends an event by the setting of its callback, and prints a line each way.
func (f *follower) forward(ctx context.Context, ev *wire.Event) error {
	line := &wire.Forward{At: time.Now().UTC(), ID: ev.ID, Event: ev.Event, SessionKey: ev.SessionKey, Sequence: ev.Sequence, Test: ev.Test}
	set, err := f.setting(ctx, ev.Event)
	if err != nil {
		return f.notSent(line, fmt.Sprintf("--> %s %s", ev.Event, ev.ID), fmt.Errorf("the server does not tell its callback: %w", err))
	}
	if set.known {
		line.Callback = set.callback.Name
	}
	if set.note != "" && !f.noted[set.callback.ID] {
		f.noted[set.callback.ID] = true
		f.note(set.note)
	}
	title := fmt.Sprintf("--> %s %s", ev.Event, ev.ID)
	if ev.SessionKey != "" {
		title += fmt.Sprintf("  session %s", ev.SessionKey)
	}
	if ev.Sequence > 0 {
		title += fmt.Sprintf(" #%d", ev.Sequence)
	}
	if ev.Test {
		title += "  test"
	}
	if term, sent := f.passes(&set, ev); !sent {
		line.Withheld = term
		return f.print(line, func() error {
			return f.say(grey, title+"  not sent: the filter of the callback needs "+term)
		})
	}
	if f.attempt > 1 {
		title += "  attempt " + strconv.Itoa(f.attempt)
	}
	return f.exchange(ctx, set.callback, ev, line, title)
}

// exchange makes the request and prints what happened.
func (f *follower) exchange(ctx context.Context, cb *callbackd.Callback, ev *wire.Event, line *wire.Forward, title string) error {
	id, ok := callbackd.ParseEventID(ev.ID)
	if !ok {
		return fmt.Errorf("the server sent %q, which is not the ID of an event", ev.ID)
	}
	event := &callbackd.Event{ID: id, Type: callbackd.EventType(ev.Event), Session: ev.SessionKey, Sequence: ev.Sequence, Data: ev.Data, Test: ev.Test}
	req, err := f.sender.Request(cb, event, f.attempt, time.Now())
	if err != nil {
		return f.notSent(line, title, err)
	}
	line.Attempt, line.Request = f.attempt, requestOf(req)
	if err := f.print(nil, func() error { return f.sayMessage(noColour, title, line.Request.Headers, line.Request.Body) }); err != nil || f.Forward == "" {
		return errors.Join(err, f.print(line, nil))
	}
	res := f.sender.Send(ctx, cb, event, f.attempt)
	if ctx.Err() != nil {
		return nil // the command is stopped
	}
	line.Status, line.Took, line.Fault, line.Error, line.Response = res.Status, float64(res.Timings.Total.Microseconds())/1000, string(res.Fault), res.Error, string(res.Body)
	return f.print(line, func() error {
		took := humanize.Latency(res.Timings.Total)
		if res.Status == 0 {
			return f.say(red, fmt.Sprintf("<-- no answer, %s: %s", took, res.Error))
		}
		colour := green
		if !res.Success() {
			colour = red
		}
		return f.sayMessage(colour, fmt.Sprintf("<-- %d %s", res.Status, took), nil, string(res.Body))
	})
}

// notSent prints an event that could not be sent, and why.
func (f *follower) notSent(line *wire.Forward, title string, err error) error {
	line.Error = "not sent: " + err.Error()
	return f.print(line, func() error { return f.say(red, title+"  "+line.Error) })
}

// print prints a line as JSON when it is not nil, or by text.
func (f *follower) print(line *wire.Forward, text func() error) error {
	switch {
	case !f.JSON && text != nil:
		return text()
	case f.JSON && line != nil:
		return json.NewEncoder(f.out).Encode(line)
	}
	return nil
}

// sayMessage prints a line, and with --verbose the headers and the body below it.
func (f *follower) sayMessage(colour, title string, headers wire.Headers, body string) error {
	if err := f.say(colour, title); err != nil || !f.Verbose {
		return err
	}
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&b, "    %s: %s\n", h.Name, h.Value)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(body), "    ", "  ") == nil {
		body = pretty.String()
	}
	if body != "" {
		fmt.Fprintf(&b, "    %s\n", body)
	}
	if b.Len() == 0 {
		return nil
	}
	return f.say(grey, strings.TrimSuffix(b.String(), "\n"))
}

// requestOf returns a request as JSON shows it.
func requestOf(req *callbackd.Request) *wire.Request {
	out := &wire.Request{Method: req.Method, URL: req.URL.String(), Headers: wire.Headers{}, Body: string(req.Body)}
	for _, h := range req.Headers {
		out.Headers = append(out.Headers, wire.Header{Name: h.Name, Value: h.Value.Reveal()})
	}
	return out
}

// passes reports whether the callback's filter lets an event through, and if not, the term
// that did not match. The server's own decision counts, when it made one.
func (f *follower) passes(set *localSetting, ev *wire.Event) (term string, ok bool) {
	cb := set.callback
	if !set.known || cb.Policy.Filter == nil {
		return "", true
	}
	for _, w := range ev.Withheld {
		if callbackd.CallbackID(w.Callback) == cb.ID {
			return w.Term, false
		}
	}
	for _, text := range ev.Deliveries {
		if id, _ := callbackd.ParseDeliveryID(text); id.Callback == cb.ID {
			return "", true
		}
	}
	if ev.Test { // perhaps a test-send to another callback, which no filter judges
		return "", true
	}
	if cb.Policy.Filter.UsesSession() {
		return "", true // only the server knows the session as it was
	}
	return cb.Policy.Filter.Match(&callbackd.FilterInput{Data: ev.Data})
}

// setting returns how events of a type are sent.
func (f *follower) setting(ctx context.Context, event string) (localSetting, error) {
	if set, ok := f.settings[event]; ok && time.Since(set.at) < settingsFor {
		return set, nil
	}
	set := localSetting{at: time.Now(), callback: &callbackd.Callback{URL: f.Forward, Event: callbackd.EventType(event), Method: "POST", Payload: []byte("{}"),
		Secrets: []callbackd.SigningSecret{{Value: f.secret}}}}
	if f.Forward == "" {
		set.callback.URL = "http://localhost/" // the request is shown and not sent
	}
	all, err := f.api.Callbacks(ctx)
	if err != nil {
		return set, err
	}
	if shown := f.choose(all.Data, event); shown != nil {
		if err := f.adopt(ctx, &set, shown); err != nil {
			return set, err
		}
	}
	f.settings[event] = set
	return set, nil
}

// choose returns the callback of an event whose setting is used; nil when there is none.
func (f *follower) choose(all []wire.Callback, event string) *wire.Callback {
	name := f.Callback
	if name == callbackd.DefaultName {
		name = "" // the list has no name of a default callback
	}
	i := slices.IndexFunc(all, func(cb wire.Callback) bool { return cb.Event == event && cb.Name == name })
	if i < 0 && f.Callback == "" {
		i = slices.IndexFunc(all, func(cb wire.Callback) bool { return cb.Event == event })
	}
	if i < 0 {
		return nil
	}
	return &all[i]
}

// adopt takes over the setting of a callback that the server has.
func (f *follower) adopt(ctx context.Context, set *localSetting, shown *wire.Callback) error {
	policy, err := f.api.Policy(ctx, shown.Event, shown.Name)
	if err != nil {
		return err
	}
	cb := set.callback
	set.known = true
	cb.ID, cb.Name, cb.Method = callbackd.CallbackID(policy.Callback), policy.Name, shown.Method
	if isGiven(shown.Payload) {
		cb.Payload = shown.Payload
	}
	masked := false
	for _, h := range shown.Headers {
		masked = masked || h.Value == callbackd.Mask
		cb.Headers = append(cb.Headers, callbackd.Header{Name: h.Name, Value: callbackd.Secret(h.Value)})
	}
	if cb.Policy.Timeout, err = time.ParseDuration(policy.Timeout); err != nil {
		return fmt.Errorf("its timeout %q is not a duration", policy.Timeout)
	}
	cb.Policy.Format = callbackd.Format(policy.Format)
	for _, s := range policy.Signing {
		cb.Policy.Signing = append(cb.Policy.Signing, callbackd.SigningScheme(s))
	}
	if isGiven(policy.Fields) {
		if cb.Policy.Fields, err = callbackd.ParseFields("policy.fields", policy.Fields); err != nil {
			return err
		}
	}
	if isGiven(policy.Filter) {
		if cb.Policy.Filter, err = callbackd.ParseFilter("policy.filter", policy.Filter); err != nil {
			return err
		}
	}
	switch {
	case policy.Auth != (wire.Auth{}):
		set.note = fmt.Sprintf("note: callback %d signs in at its receiver (policy.auth); the requests here do not, because the server does not tell its credentials", cb.ID)
	case masked:
		set.note = fmt.Sprintf("note: the server masks the headers of callback %d, so they arrive as %s", cb.ID, callbackd.Mask)
	}
	return nil
}

// isGiven reports whether a member of JSON is there and not null.
func isGiven(value json.RawMessage) bool { return len(value) > 0 && string(value) != "null" }
