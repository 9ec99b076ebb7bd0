package cli

import (
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

type listenCmd struct {
	callFlags
	Forward  string   `placeholder:"URL" help:"Program to send each request to, such as localhost:3000/hook. Default: print only."`
	Event    []string `env:"CALLBACKD_LISTEN_EVENTS" placeholder:"TYPE" help:"Follow events of this type only, such as SESSION:COMPLETE. Repeat the option for several. Default: all."`
	Callback string   `placeholder:"NAME" help:"Name of the callbacks whose headers, payload and policy are used. Default: the default callback of each event, or else its first one."`
	Since    string   `help:"Begin with stored events that were accepted at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago. Default: with the next event."`
	Verbose  bool     `help:"Print headers and bodies too."`

	Port          *int          `env:"CALLBACKD_PORT" placeholder:"PORT" help:"Receive on this port of 127.0.0.1 instead of following the server, such as 9000. 0 chooses a free port."`
	SigningSecret string        `env:"CALLBACKD_WEBHOOK_SECRET" secret:"" placeholder:"whsec_…" help:"With --port: signing secret of the callback, to verify with. Default: with an API key, the server is asked. Also from a file: CALLBACKD_WEBHOOK_SECRET_FILE."`
	Status        int           `default:"200" help:"With --port: HTTP status to answer, from 200 to 599."`
	Fail          int           `placeholder:"N" help:"With --port: answer 503 to the first N requests. Default: 0."`
	Delay         time.Duration `help:"With --port: time to wait before each answer, such as 500ms. Default: 0s."`
}

// Help is shown below the options.
func (*listenCmd) Help() string {
	return "Without --port, the command follows the events of the server at --server and sends each one to your program as callbackd would: with the headers, payload, filter, fields and signing schemes of the callback for the event, when there is one. The server needs no public address of this machine, and no setting of it changes. The requests are signed with one secret, which is printed at the start and is always the same for an API key. What is not delivered is not repeated: press r on a terminal to send the last one again. Credentials of a callback (policy.auth) are not sent, because the server does not tell them."
}

// Run follows the server or receives on a port until it is stopped.
func (c *listenCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Port != nil {
		return c.receive(e)
	}
	return c.follow(e)
}

func (c *listenCmd) check() error {
	if c.Forward != "" {
		if !strings.Contains(c.Forward, "://") {
			c.Forward = "http://" + c.Forward
		}
		if _, err := egress.ParseURL(c.Forward); err != nil {
			return settingf("--forward %q: %v; write for example http://localhost:3000/hook", c.Forward, err)
		}
	}
	for _, t := range c.Event {
		if !callbackd.EventType(t).Valid() {
			return settingf("--event %q is not an event type; the types are %s", t, typeList())
		}
	}
	if c.Port == nil {
		if c.SigningSecret != "" || c.Status != 200 || c.Fail != 0 || c.Delay != 0 {
			return settingf("--signing-secret, --status, --fail and --delay need --port: without it, your own program answers")
		}
		return nil
	}
	return c.checkReceiver()
}

// checkReceiver checks the options of a receiver at --port, which answers by itself.
func (c *listenCmd) checkReceiver() error {
	switch {
	case len(c.Event) > 0 || c.Callback != "" || c.Since != "" || c.Verbose || c.JSON:
		return settingf("--event, --callback, --since, --verbose and --json do not go with --port: it receives what is sent to it")
	case *c.Port < 0 || *c.Port > 65535:
		return settingf("--port %d is invalid; give a port from 0 to 65535", *c.Port)
	case c.Status < 200 || c.Status > 599:
		return settingf("--status %d is invalid; give a status from 200 to 599", c.Status)
	case c.Fail < 0:
		return settingf("--fail %d is negative; give the number of requests to refuse", c.Fail)
	case c.Delay < 0:
		return settingf("--delay %s is negative; give 0s or more", callbackd.FormatDuration(c.Delay))
	}
	return nil
}

// typeList lists the event types for a message.
func typeList() string {
	var names []string
	for _, t := range callbackd.EventTypes {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// wants reports whether events of a type are followed.
func (c *listenCmd) wants(t string) bool {
	return len(c.Event) == 0 || slices.Contains(c.Event, t)
}
