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
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd/client"
	"callbackd/internal/clock"
	"callbackd/internal/safetext"
	"callbackd/internal/signature"
)

// maxReceived is the largest body that the receiver reads, in bytes.
const maxReceived = 4 << 20

// receive receives requests on a port until it is stopped.
func (c *listenCmd) receive(e *env) error {
	r := &receiver{listenCmd: *c, out: e.stdout, fails: c.Fail}
	switch {
	case c.SigningSecret != "":
		key, err := signature.ParseSecret(c.SigningSecret)
		if err != nil {
			return settingf("--signing-secret: %v; GET /v1/callbacks/:event/secret shows it", err)
		}
		r.keys = func(context.Context, string, string, bool) ([][]byte, error) { return [][]byte{key}, nil }
	case c.hasKey():
		api, err := c.client()
		if err != nil {
			return err
		}
		r.keys = (&foundKeys{api: api, keys: map[string][][]byte{}}).of
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(*c.Port)))
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

// foundKeys asks the server for the signing secrets of callbacks, and keeps them.
type foundKeys struct {
	api  *client.Client
	mu   sync.Mutex
	keys map[string][][]byte // by event and session
}

// of returns the keys of the callbacks that get an event of a session. With again, it asks
// the server also when it has asked before.
func (f *foundKeys) of(ctx context.Context, event, session string, again bool) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := event + " " + session
	if keys, ok := f.keys[at]; ok && !again {
		return keys, nil
	}
	all, err := f.api.Callbacks(ctx)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	add := func(secret string, err error) error {
		if err != nil {
			return err
		}
		if key, err := signature.ParseSecret(secret); err == nil { // the secret of another scheme is any text
			keys = append(keys, key)
		}
		return nil
	}
	for _, cb := range all.Data {
		if cb.Event == event {
			if err := add(f.api.SecretOf(ctx, cb.Event, cb.Name)); err != nil {
				return nil, err
			}
		}
	}
	if session != "" {
		own, err := f.api.SessionCallbacks(ctx, session)
		if err != nil {
			return nil, err
		}
		for _, cb := range own.Data {
			if err := add(f.api.Secret(ctx, strconv.FormatInt(cb.ID, 10))); err != nil {
				return nil, err
			}
		}
	}
	f.keys[at] = keys
	return keys, nil
}

// receiver prints the requests that it gets.
type receiver struct {
	listenCmd
	// keys returns the keys that may have signed an event of a session; nil when nothing is
	// verified.
	keys  func(ctx context.Context, event, session string, again bool) ([][]byte, error)
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
	var known struct {
		Event   string `json:"event"`
		Session string `json:"session_key"`
	}
	json.Unmarshal(body, &known) // missing members are printed as empty
	if len(body) == 0 {
		known.Event, known.Session = req.URL.Query().Get("event"), req.URL.Query().Get("session_key")
	}
	verified := r.verify(req, body, known.Event, known.Session)
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

// verify says whether a request is signed by callbackd.
func (r *receiver) verify(req *http.Request, body []byte, event, session string) string {
	if r.keys == nil {
		return "not checked (no API key and no --signing-secret)"
	}
	wrong := errors.New("the server has no callback for the event that signs by Standard Webhooks")
	for _, again := range []bool{false, true} { // a callback may be new, or have another secret by now
		keys, err := r.keys(req.Context(), event, session, again)
		if err != nil {
			return "not checked (the server does not tell the secret: " + err.Error() + ")"
		}
		for _, key := range keys {
			if wrong = signature.Verify(key, req.Header, body, time.Now()); wrong == nil {
				return "verified"
			}
		}
	}
	return "NOT VERIFIED: " + wrong.Error()
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
