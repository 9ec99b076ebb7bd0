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
	"unicode"

	"callbackd/internal/signature"
)

type listenCmd struct {
	Port    int           `default:"9000" env:"CALLBACKD_PORT" help:"Port on 127.0.0.1; 0 chooses a free one."`
	Secret  string        `env:"CALLBACKD_WEBHOOK_SECRET" secret:"" placeholder:"whsec_…" help:"Signing secret of the callback, to verify signatures. Also from a file: CALLBACKD_WEBHOOK_SECRET_FILE."`
	Status  int           `default:"200" help:"Status to answer."`
	Fail    int           `help:"Answer 503 to the first N requests."`
	Delay   time.Duration `help:"Wait before answering."`
	Forward string        `placeholder:"URL" help:"Pass each request on and answer what comes back."`
}

// maxReceived bounds a body the receiver reads, in bytes.
const maxReceived = 4 << 20

// Run receives until it is told to stop.
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
		return settingf("--port must be from 0 to 65535")
	case c.Status < 200 || c.Status > 599:
		return settingf("--status must be from 200 to 599")
	case c.Fail < 0:
		return settingf("--fail is negative; give how many requests to refuse")
	case c.Delay < 0:
		return settingf("--delay is negative; give 0s or more")
	case c.Forward != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return settingf("--forward is not a URL; write for example http://localhost:3000/hook")
	}
	return nil
}

// receiver prints what it gets.
type receiver struct {
	listenCmd
	key   []byte
	mu    sync.Mutex
	out   io.Writer
	fails int
	n     int
}

// ServeHTTP takes one callback.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxReceived))
	if err != nil {
		return
	}
	if r.Delay > 0 {
		select {
		case <-time.After(r.Delay):
		case <-req.Context().Done():
			return
		}
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
	json.Unmarshal(body, &known) // what is not there is printed as such
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
	if len(body) > 0 {
		fmt.Fprintf(&b, "  %s\n", body)
	}
	io.WriteString(r.out, printable(b.String()))
}

// printable keeps a sender from steering the terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || unicode.IsPrint(c) {
			return c
		}
		return '\ufffd'
	}, s)
}

// forward passes a request on to the person's own receiver.
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
