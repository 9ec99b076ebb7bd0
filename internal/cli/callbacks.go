package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"

	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
	"callbackd/wire"
)

type callbacksCmd struct {
	List   callbacksListCmd   `cmd:"" help:"List the callbacks of the API key, or those of one session."`
	Create callbacksCreateCmd `cmd:"" help:"Register a callback."`
	Show   callbacksShowCmd   `cmd:"" help:"Show a callback and its policy."`
	Test   callbacksTestCmd   `cmd:"" help:"Send a marked sample to a callback. Exit code 0 when the receiver took it, 1 when it did not."`
	Pause  callbacksPauseCmd  `cmd:"" help:"Hold the deliveries of a callback until it is resumed."`
	Resume callbacksResumeCmd `cmd:"" help:"End the pause of a callback."`
	Secret callbacksSecretCmd `cmd:"" help:"Print the signing secret of a callback."`
	Delete callbacksDeleteCmd `cmd:"" help:"Delete a callback. Its pending deliveries are canceled."`
}

// printed prints an answer of the server, as JSON or by text. What text writes is cleaned of
// characters that control a terminal.
func (f *callFlags) printed(w io.Writer, answer any, text func(io.Writer)) error {
	if f.JSON {
		return json.NewEncoder(w).Encode(answer)
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	text(table)
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, safetext.Replace(b.String()))
	return err
}

// callbackFlags are the options of commands for one callback.
type callbackFlags struct {
	callFlags
	Event    string `arg:"" help:"Event type of the callback, such as SESSION:COMPLETE, or the ID of a callback for one session."`
	Callback string `placeholder:"NAME" help:"Name of the callback. Default: the default callback of the event."`
}

type callbacksListCmd struct {
	callFlags
	Session string `placeholder:"SESSION-KEY" help:"List the callbacks that are for this session only. Without the option they are left out."`
}

// Run lists the callbacks.
func (c *callbacksListCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.Session != "" {
		return c.ofSession(e, api)
	}
	all, err := api.Callbacks(e.ctx)
	if err != nil {
		return err
	}
	return c.printed(e.stdout, all, func(w io.Writer) {
		fmt.Fprintln(w, "EVENT\tNAME\tMETHOD\tURL")
		for _, cb := range all.Data {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", cb.Event, cb.Name, cb.Method, cb.URL)
		}
	})
}

// ofSession lists the callbacks of the session.
func (c *callbacksListCmd) ofSession(e *env, api *client.Client) error {
	all, err := api.SessionCallbacks(e.ctx, c.Session)
	if err != nil {
		return err
	}
	return c.printed(e.stdout, all, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tMETHOD\tURL\tEVENTS")
		for _, cb := range all.Data {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", cb.ID, cb.Method, cb.URL, strings.Join(cb.Events, ", "))
		}
	})
}

type callbacksCreateCmd struct {
	callFlags
	Event    string   `arg:"" help:"Event type, such as SESSION:COMPLETE."`
	To       string   `arg:"" name:"receiver" help:"URL of the receiver."`
	Callback string   `placeholder:"NAME" help:"Name of the callback. Default: the default callback of the event."`
	Method   string   `default:"POST" help:"Method: POST, PUT, PATCH, GET or DELETE."`
	Header   []string `sep:"none" placeholder:"NAME:VALUE" help:"Header of every request. Repeat the option for more."`
	Payload  string   `placeholder:"JSON" help:"JSON object with members that are added to every body, or the name of a file after @."`
	Policy   string   `placeholder:"JSON" help:"Policy of the callback as the API takes it, such as {\"timeout\": \"5s\", \"ttl\": \"15m\"}, or the name of a file after @. docs/api.md has its members. Default: the policy that the API key has for new callbacks."`
}

// newCallback is the body of a call that registers a callback, with a policy as it was given.
type newCallback struct {
	client.NewCallback
	Policy json.RawMessage `json:"policy,omitempty"`
}

// Run registers the callback.
func (c *callbacksCreateCmd) Run(e *env) error {
	n := newCallback{NewCallback: client.NewCallback{Event: c.Event, URL: c.To, Name: c.Callback, Method: c.Method, Headers: map[string]string{}}}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return settingf("--header %q has no colon; write for example X-Tenant:acme", h)
		}
		n.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if c.Payload != "" {
		raw, err := jsonOption("--payload", c.Payload)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &n.Payload); err != nil {
			return settingf("--payload is not a JSON object: %v", err)
		}
	}
	var err error
	if c.Policy != "" {
		if n.Policy, err = jsonOption("--policy", c.Policy); err != nil {
			return err
		}
		if n.Policy = bytes.TrimSpace(n.Policy); n.Policy[0] != '{' { // the API takes null and [] for none, as PAVE's clients write it
			return settingf("--policy %q is not a JSON object; write for example '{\"timeout\": \"5s\"}'", safetext.Clip(string(n.Policy), 80))
		}
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	var cb wire.Callback
	if err := api.Do(e.ctx, http.MethodPost, "/v1/callbacks", n, &cb); err != nil {
		return err
	}
	return c.printed(e.stdout, cb, func(w io.Writer) {
		fmt.Fprintf(w, "%s goes to %s\n", cb.Event, cb.URL)
	})
}

// jsonOption reads JSON from an option, or from the file that it names after @.
func jsonOption(name, value string) (json.RawMessage, error) {
	raw := []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if raw, err = os.ReadFile(file); err != nil {
			return nil, settingf("%s: %v", name, err)
		}
	}
	if !json.Valid(raw) {
		return nil, settingf("%s %q is not JSON; write for example '{\"a\": 1}', or @ and the name of a file", name, safetext.Clip(value, 80))
	}
	return raw, nil
}

// call makes one call about the callback.
func call[T any](c *callbackFlags, e *env, f func(*client.Client, context.Context, string, string) (T, error), text func(io.Writer, T)) (out T, err error) {
	api, err := c.client()
	if err != nil {
		return out, err
	}
	if out, err = f(api, e.ctx, c.Event, c.Callback); err != nil {
		return out, err
	}
	return out, c.printed(e.stdout, out, func(w io.Writer) { text(w, out) })
}

type callbacksShowCmd struct{ callbackFlags }

// Run shows the callback. Its JSON has the callback and the policy.
func (c *callbacksShowCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	cb, err := api.Callback(e.ctx, c.Event, c.Callback)
	if err != nil {
		return err
	}
	p, err := api.Policy(e.ctx, c.Event, c.Callback)
	if err != nil {
		return err
	}
	both := struct {
		Callback wire.Callback `json:"callback"`
		Policy   wire.Policy   `json:"policy"`
	}{cb.Data, p}
	return c.printed(e.stdout, both, func(w io.Writer) {
		if s := cb.Data.SessionKey; s != "" {
			fmt.Fprintf(w, "callback\t%d\nsession\t%s\nevents\t%s\n", cb.Data.ID, s, strings.Join(cb.Data.Events, ", "))
		} else {
			fmt.Fprintf(w, "event\t%s\nname\t%s\n", cb.Data.Event, p.Name)
		}
		fmt.Fprintf(w, "request\t%s %s\n", cb.Data.Method, cb.Data.URL)
		for _, h := range cb.Data.Headers {
			fmt.Fprintf(w, "header\t%s: %s\n", h.Name, h.Value)
		}
		fmt.Fprintf(w, "payload\t%s\ntimeout\t%s\nretry\t%s\norder\t%s\nsigning\t%s\n", cb.Data.Payload, p.Timeout, strings.Join(p.Retry, ", "), p.Order, strings.Join(p.Signing, ", "))
		printPolicy(w, &p)
		fmt.Fprintf(w, "state\t%s\n", pauseText(p))
	})
}

// printPolicy shows those members of a policy that most callbacks do not have.
func printPolicy(w io.Writer, p *wire.Policy) {
	rate, concurrency := "", ""
	if p.Rate > 0 {
		rate = fmt.Sprintf("%g attempts a second", p.Rate)
	}
	if p.Concurrency > 0 {
		concurrency = humanize.Number(p.Concurrency)
	}
	for _, m := range []struct{ name, value string }{
		{"rate", rate}, {"concurrency", concurrency}, {"ttl", p.TTL}, {"expect", p.Expect}, {"order group", p.OrderGroup},
		{"filter", string(p.Filter)}, {"fields", string(p.Fields)}, {"auth", authKind(p.Auth)},
	} {
		if m.value != "" && m.value != "null" {
			fmt.Fprintf(w, "%s\t%s\n", m.name, m.value)
		}
	}
	if !p.KeepAlive {
		fmt.Fprintln(w, "keep alive\tno: a connection for each attempt")
	}
	if !p.StoreResponse {
		fmt.Fprintln(w, "store response\tno: of an answer only status and size are stored")
	}
	if p.Format != "" && p.Format != "json" {
		fmt.Fprintf(w, "format\t%s\n", p.Format)
	}
}

// authKind names how a callback signs in at its receiver; empty when it does not.
func authKind(a wire.Auth) string {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"oauth2", a.OAuth2 != nil}, {"basic", a.Basic != nil}, {"bearer", a.Bearer != nil}, {"tls", a.TLS != nil}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	return strings.Join(kinds, ", ")
}

// pauseText says whether a callback is paused.
func pauseText(p wire.Policy) string {
	if !p.Paused {
		return "not paused"
	}
	return "paused: " + p.PauseReason
}

type callbacksTestCmd struct{ callbackFlags }

// Run sends the sample and shows what came back.
func (c *callbacksTestCmd) Run(e *env) error {
	d, err := call(&c.callbackFlags, e, (*client.Client).TestCallback, printDelivery)
	if err == nil && d.State != "delivered" {
		return exit(exitFailed)
	}
	return err
}

type callbacksPauseCmd struct{ callbackFlags }

// Run pauses the callback.
func (c *callbacksPauseCmd) Run(e *env) error {
	_, err := call(&c.callbackFlags, e, (*client.Client).PauseCallback, printPause)
	return err
}

type callbacksResumeCmd struct{ callbackFlags }

// Run resumes the callback.
func (c *callbacksResumeCmd) Run(e *env) error {
	_, err := call(&c.callbackFlags, e, (*client.Client).ResumeCallback, printPause)
	return err
}

func printPause(w io.Writer, p wire.Policy) { fmt.Fprintln(w, pauseText(p)) }

type callbacksSecretCmd struct{ callbackFlags }

// Run prints the secret. Its JSON is an object with the member secret.
func (c *callbacksSecretCmd) Run(e *env) error {
	secret := func(api *client.Client, ctx context.Context, event, name string) (wire.Secret, error) {
		text, err := api.SecretOf(ctx, event, name)
		return wire.Secret{APIKey: c.Key, Event: event, Secret: text}, err
	}
	_, err := call(&c.callbackFlags, e, secret, func(w io.Writer, s wire.Secret) { fmt.Fprintln(w, s.Secret) })
	return err
}

type callbacksDeleteCmd struct{ callbackFlags }

// Run deletes the callback.
func (c *callbacksDeleteCmd) Run(e *env) error {
	_, err := call(&c.callbackFlags, e, (*client.Client).DeleteCallback, func(w io.Writer, m wire.Message) { fmt.Fprintln(w, m.Message) })
	return err
}

// printDelivery shows a delivery with its attempts.
func printDelivery(w io.Writer, d wire.Delivery) {
	fmt.Fprintf(w, "%s  %s  %s  session %s #%d\n", d.ID, d.State, d.Event, d.SessionKey, d.Sequence)
	for _, a := range d.History {
		result := a.Error
		if a.Response != nil {
			result = strings.TrimSuffix(fmt.Sprintf("%d: %s", a.Response.Status, a.Error), ": ")
		}
		fmt.Fprintf(w, "  attempt %d\t%s\t%s\t%s\n", a.Number, humanize.Time(a.StartedAt), result, a.Why)
	}
}
