package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/clock"
	"callbackd/internal/safetext"
	"callbackd/internal/signature"
)

type listenCmd struct {
	Port    int           `default:"9000" env:"CALLBACKD_PORT" help:"Port on 127.0.0.1. 0 chooses a free port."`
	Secret  string        `env:"CALLBACKD_WEBHOOK_SECRET" secret:"" placeholder:"whsec_…" help:"Signing secret of the callback. With it, signatures are verified. Also from a file: CALLBACKD_WEBHOOK_SECRET_FILE."`
	Status  int           `default:"200" help:"HTTP status to answer, from 200 to 599."`
	Fail    int           `placeholder:"N" help:"Answer 503 to the first N requests. Default: 0."`
	Delay   time.Duration `help:"Time to wait before each answer, such as 500ms. Default: 0s."`
	Forward string        `placeholder:"URL" help:"Forward each request to this URL, such as http://localhost:3000/hook, and return its answer."`
}

// maxReceived is the largest body that the receiver reads, in bytes.
const maxReceived = 4 << 20

// Run receives requests until it is stopped.
func (c *listenCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	r := &receiver{listenCmd: *c, out: e.stdout, fails: c.Fail}
	if c.Secret != "" {
		var err error
		if r.key, err = signature.ParseSecret(c.Secret); err != nil {
			return settingf("--secret: %v; GET /v1/callbacks/:event/secret shows it", err)
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("%w; choose another --port", err)
	}
	fmt.Fprintf(e.stdout, "receiving on http://%s\n", l.Addr())
	srv := &http.Server{Handler: r, ReadTimeout: 30 * time.Second}
	go func() {
		<-e.ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (c *listenCmd) check() error {
	u, err := url.Parse(c.Forward)
	switch {
	case c.Port < 0 || c.Port > 65535:
		return settingf("--port %d is invalid; give a port from 0 to 65535", c.Port)
	case c.Status < 200 || c.Status > 599:
		return settingf("--status %d is invalid; give a status from 200 to 599", c.Status)
	case c.Fail < 0:
		return settingf("--fail %d is negative; give the number of requests to refuse", c.Fail)
	case c.Delay < 0:
		return settingf("--delay %s is negative; give 0s or more", callbackd.FormatDuration(c.Delay))
	case c.Forward != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return settingf("--forward %q is not an http or https URL; write for example http://localhost:3000/hook", c.Forward)
	}
	return nil
}

// receiver prints the requests that it gets.
type receiver struct {
	listenCmd
	key   []byte
	mu    sync.Mutex
	out   io.Writer
	fails int
	n     int
}

// ServeHTTP answers and prints one request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxReceived))
	if err != nil {
		return
	}
	if !clock.Sleep(req.Context(), r.Delay) {
		return
	}
	status, answer, note := r.Status, []byte(nil), ""
	r.mu.Lock()
	r.n++
	if r.fails > 0 {
		r.fails--
		status, note = http.StatusServiceUnavailable, fmt.Sprintf(" (%d more will fail)", r.fails)
	}
	r.mu.Unlock()
	if r.Forward != "" && note == "" {
		status, answer, note = forward(req, r.Forward, body)
	}
	r.print(req, body, status, note)
	w.WriteHeader(status)
	w.Write(answer)
}

func (r *receiver) print(req *http.Request, body []byte, status int, note string) {
	verified := "not checked (no --secret)"
	if r.key != nil {
		verified = "verified"
		if err := signature.Verify(r.key, req.Header, body, time.Now()); err != nil {
			verified = "NOT VERIFIED: " + err.Error()
		}
	}
	var known struct {
		Event   string `json:"event"`
		Session string `json:"session_key"`
	}
	json.Unmarshal(body, &known) // missing members are printed as empty
	if len(body) == 0 {
		known.Event, known.Session = req.URL.Query().Get("event"), req.URL.Query().Get("session_key")
	}
	var b strings.Builder
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&b, "\n%s  %s %s → %d%s\n", time.Now().Format("15:04:05.000"), req.Method, req.URL.RequestURI(), status, note)
	h := req.Header
	fmt.Fprintf(&b, "  event      %s\n  session    %s\n  sequence   %s   attempt %s   id %s\n  signature  %s\n",
		known.Event, known.Session, h.Get("callback-sequence"), h.Get("callback-attempt"), h.Get("webhook-id"), verified)
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "  ", "  ") == nil {
		body = pretty.Bytes()
	}
	if parent := req.Header.Get("Traceparent"); parent != "" {
		fmt.Fprintf(&b, "  trace      %s\n", parent)
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "  %s\n", body)
	}
	io.WriteString(r.out, safetext.Replace(b.String()))
}

// forward sends a request to the URL of --forward and returns its answer.
func forward(req *http.Request, to string, body []byte) (int, []byte, string) {
	out, err := http.NewRequestWithContext(req.Context(), req.Method, to, bytes.NewReader(body))
	if err != nil {
		return http.StatusBadGateway, nil, " (" + err.Error() + ")"
	}
	out.Header = req.Header.Clone()
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		return http.StatusBadGateway, nil, " (" + err.Error() + ")"
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxReceived))
	return resp.StatusCode, answer, " from " + to
}
